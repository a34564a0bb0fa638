"""The real facenet-pytorch detector, imported beside a torch that its metadata does not allow.

The package needs two functions of torchvision, whose wheel does not load beside torch's CPU build, and
imports two packages for downloads that never happen here. Both are stood in for by modules made below; the
suppression runs in OpenCV's C++ and so costs no more than torchvision's.
"""

import sys
from types import ModuleType
from typing import Protocol

import cv2
import numpy as np
import torch

from engine.arrays import F32, U8


class Detector(Protocol):
    """The part of ``facenet_pytorch.MTCNN`` that the peers use."""

    def detect(self, img: U8) -> tuple[object, object]:
        """Find faces in one uint8 [H, W, 3] RGB picture; boxes [n, 4] as corners, or None, and scores."""
        ...


def load_mtcnn(*, min_face_px: int = 20) -> Detector:
    """Build facenet-pytorch's detector with its own defaults, on the CPU."""
    for name, members in _stand_ins().items():
        if name not in sys.modules:
            module = ModuleType(name)
            vars(module).update(members)
            sys.modules[name] = module
    # Importable only after the modules above exist.
    from facenet_pytorch import MTCNN

    return MTCNN(keep_all=True, min_face_size=min_face_px, device="cpu", post_process=False).eval()


def find_boxes(detector: Detector, rgb: U8) -> F32:
    """Return float32 [n, 4] boxes ``x, y, w, h`` in pixels of one picture."""
    corners = detector.detect(rgb)[0]
    if corners is None:
        return np.zeros((0, 4), np.float32)
    boxes = np.array([list(map(float, box)) for box in corners], np.float32).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes[(boxes[:, 2:] > 1).all(axis=1)]


def batched_nms(
    boxes: torch.Tensor, scores: torch.Tensor, idxs: torch.Tensor, overlap: float
) -> torch.Tensor:
    """Keep the best of overlapping boxes [n, 4] (corners) within each group; indices by falling score."""
    if len(boxes) == 0:
        return torch.zeros(0, dtype=torch.int64)
    shifted = boxes + (idxs.to(boxes) * (boxes.max() + 1))[:, None]
    sides = torch.cat([shifted[:, :2], shifted[:, 2:] - shifted[:, :2]], dim=1)
    kept = cv2.dnn.NMSBoxes(sides.tolist(), scores.tolist(), 0.0, overlap)
    return torch.as_tensor(np.asarray(kept).reshape(-1), dtype=torch.int64)


def _stand_ins() -> dict[str, dict[str, object]]:
    functional = ModuleType("torchvision.transforms.functional")
    boxes = ModuleType("torchvision.ops.boxes")
    return {
        "torchvision": {},
        "torchvision.transforms": {"functional": functional},
        "torchvision.transforms.functional": vars(functional),
        "torchvision.ops": {"boxes": boxes},
        "torchvision.ops.boxes": {"batched_nms": batched_nms},
        "requests": {},
        "requests.adapters": {"HTTPAdapter": object},
        "tqdm": {},
        "tqdm.auto": {"tqdm": object},
    }
