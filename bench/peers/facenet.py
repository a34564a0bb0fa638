"""The real facenet-pytorch detector at its full speed."""

from typing import Protocol

import cv2
import numpy as np
import torch

from engine.arrays import F32, U8
from tests.engine.faces import facenet


class Detector(Protocol):
    """The part of ``facenet_pytorch.MTCNN`` that the peers use."""

    def detect(self, img: U8) -> tuple[object, object]:
        """Find faces in one uint8 [H, W, 3] RGB picture; boxes [n, 4] as corners, or None, and scores."""
        ...


def load_mtcnn() -> Detector:
    """Build facenet-pytorch's detector with its own defaults, on the CPU."""
    return facenet.load_mtcnn(20, suppress_fast)


def find_boxes(detector: Detector, rgb: U8) -> F32:
    """Return float32 [n, 4] boxes ``x, y, w, h`` in pixels of one picture."""
    corners = detector.detect(rgb)[0]
    if corners is None:
        return np.zeros((0, 4), np.float32)
    boxes = np.array([list(map(float, box)) for box in corners], np.float32).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes[(boxes[:, 2:] > 1).all(axis=1)]


def suppress_fast(
    boxes: torch.Tensor, scores: torch.Tensor, group: torch.Tensor, overlap: float
) -> torch.Tensor:
    """Keep the best of overlapping boxes [n, 4] (corners) within each group; indices by falling score.

    In OpenCV's C++, so that the peers pay no more for it than with torchvision's.
    """
    if len(boxes) == 0:
        return torch.zeros(0, dtype=torch.int64)
    shifted = boxes + (group.to(boxes) * (boxes.max() + 1))[:, None]
    sides = torch.cat([shifted[:, :2], shifted[:, 2:] - shifted[:, :2]], dim=1)
    kept = cv2.dnn.NMSBoxes(sides.tolist(), scores.tolist(), 0.0, overlap)
    return torch.as_tensor(np.asarray(kept).reshape(-1), dtype=torch.int64)
