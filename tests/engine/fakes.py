"""Stand-ins for network and detector: quick, and known to the last digit."""

from pathlib import Path

import numpy as np

from engine.arrays import F32, U8
from engine.bundle import GRAPH, WEIGHTS, ModelBundle
from engine.faces.detect import FaceBoxes
from engine.sandbox.handle import Sandbox
from engine.screen import ScanTools

SIDE, GRID = 64, 4
FAKE_BUNDLE = ModelBundle(
    Path("shades"), "shades", "lv-compact", SIDE, GRID, False, {WEIGHTS: "0" * 64, GRAPH: "1" * 64}
)
BOX = (0.3, 0.3, 0.3, 0.4)
POINTS = ((0.4, 0.45), (0.5, 0.45), (0.45, 0.53), (0.41, 0.6), (0.49, 0.6))


class ShadeBackend:
    """Takes bright faces for forged ones; the batches that it was given are kept."""

    name, precision, input_size, grid = "shades", "f32", SIDE, GRID

    def __init__(self, ladder: tuple[int, ...] = (4, 2, 1)) -> None:
        self.ladder = ladder
        self.batches: list[int] = []

    def infer(self, crops: U8) -> tuple[F32, F32]:
        """Score each crop by its brightness; the map is hot where the crop is bright."""
        self.batches.append(len(crops))
        shade = (crops.mean((1, 2, 3)) - 128) / 20
        logits = np.stack([np.zeros_like(shade), shade], axis=1).astype(np.float32)
        return logits, np.broadcast_to(logits[:, :, None, None], (*logits.shape, GRID, GRID)).copy()


class OneFaceDetector:
    """Finds one face, in the same place of every frame that is not black."""

    name, sha256 = "one-face", "2" * 64
    parameters: dict[str, float | int] = {}  # noqa: RUF012 - a constant of the fake

    def __init__(self) -> None:
        self.groups: list[int] = []

    def detect(self, rgb: U8) -> list[FaceBoxes]:
        """Find the face; groups are counted."""
        self.groups.append(len(rgb))
        return [_face() if frame[60:].mean() > 20 else _nothing() for frame in rgb]


def _face() -> FaceBoxes:
    return FaceBoxes(
        np.array([BOX], np.float32), np.array([0.99], np.float32), np.array([POINTS], np.float32)
    )


def _nothing() -> FaceBoxes:
    return FaceBoxes(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32))


def fake_tools(sandbox: Sandbox) -> ScanTools:
    """Tools that need no weights."""
    return ScanTools(FAKE_BUNDLE, ShadeBackend(), OneFaceDetector(), sandbox)
