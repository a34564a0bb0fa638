"""Real faces for training: pictures, people, landmarks, and the detector's box of each face."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from engine.arrays import F32, U8
from engine.errors import DataInvalid
from engine.results import RejectReason
from engine.training.index import INDEX_NAME, SPLITS, Box, open_arrays, read_index, refuse_list

LANDMARKS_NAME = "landmarks68.npz"
LANDMARKS = 68  # iBUG order: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, mouth 48-67
CONTEXT = 2.1  # side of the stored surroundings over the longer side of the face box
MAX_CONTEXT_PX = 448  # larger surroundings are shrunk to this: the network sees 224 pixels


@dataclass(frozen=True)
class FaceRecord:
    """One real face in one picture. Pixels are those of the picture file, origin top left."""

    path: Path
    source: str  # the collection that the picture comes from
    identity: str
    split: str  # "train" or "val", divided by identity
    box: Box  # x, y, w, h of the detector's box
    landmarks: F32  # [68, 2] x, y

    def __post_init__(self) -> None:
        if self.landmarks.shape != (LANDMARKS, 2):
            raise ValueError(f"{self.path}: landmarks have shape {self.landmarks.shape}, expected (68, 2)")
        if self.box[2] <= 0 or self.box[3] <= 0:
            raise ValueError(f"{self.path}: face box {self.box} is empty")
        if self.split not in SPLITS:
            raise ValueError(f"{self.path}: split {self.split!r} is neither train nor val")


@dataclass(frozen=True)
class FaceContext:
    """A face with its surroundings, cut from its picture at close to native resolution."""

    picture: U8  # [H, W, 3] RGB
    box: Box  # x, y, w, h in pixels of ``picture``
    landmarks: F32  # [68, 2] x, y in pixels of ``picture``


def read_faces(directory: Path, boxes_file: Path | None = None) -> list[FaceRecord]:
    """Read ``index.csv`` and ``landmarks68.npz`` of a face folder.

    ``boxes_file`` (npz: path, found, box_px) gives the boxes of the detector that screening uses;
    faces that it did not find are left out, as screening would leave them out. Without it the boxes of
    the index are taken. Raises DataInvalid when a file is missing or wrong, or a person is in both splits.
    """
    rows = read_index(directory)
    landmarks = _read_landmarks(directory / LANDMARKS_NAME, len(rows))
    detected = _read_boxes(boxes_file) if boxes_file else {row.path: row.box for row in rows}
    return [
        FaceRecord(directory / row.path, row.source, row.identity, row.split, detected[row.path], points)
        for row, points in zip(rows, landmarks, strict=True)
        if row.path in detected
    ]


def _read_landmarks(file: Path, count: int) -> F32:
    with open_arrays(file, "see docs/howto/train.md for what it holds") as stored:
        landmarks = stored["lm"].astype(np.float32)
    if landmarks.shape != (count, LANDMARKS, 2):
        seen = (
            f"{file} has shape {landmarks.shape}; {count} rows in {INDEX_NAME} need {(count, LANDMARKS, 2)}"
        )
        raise refuse_list(seen)
    return landmarks


def _read_boxes(file: Path) -> dict[str, Box]:
    with open_arrays(file, "remove it: it is made again") as stored:
        paths, found, boxes = stored["path"], stored["found"], stored["box_px"]
        return {
            str(p): (float(b[0]), float(b[1]), float(b[2]), float(b[3]))
            for p, ok, b in zip(paths, found, boxes, strict=True)
            if ok
        }


def load_context(record: FaceRecord) -> FaceContext:
    """Read the face with its surroundings. Raises DataInvalid when the picture cannot be decoded.

    The window is cut without padding: the crop rule's own edge replication must act where the real
    picture ends, exactly as it does in screening.
    """
    bgr = cv2.imread(str(record.path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise refuse_picture(record.path)
    x, y, w, h = record.box
    half = CONTEXT * max(w, h) / 2
    cx, cy = x + w / 2, y + h / 2
    left, top = max(0, int(cx - half)), max(0, int(cy - half))
    right, bottom = min(bgr.shape[1], int(cx + half) + 1), min(bgr.shape[0], int(cy + half) + 1)
    window = np.ascontiguousarray(bgr[top:bottom, left:right, ::-1])
    scale = min(1.0, MAX_CONTEXT_PX / max(window.shape[:2]))
    if scale < 1.0:
        window = cv2.resize(window, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    offset = np.array([left, top], np.float32)
    moved = (x - left, y - top, w, h)
    box = (moved[0] * scale, moved[1] * scale, moved[2] * scale, moved[3] * scale)
    return FaceContext(np.asarray(window, np.uint8), box, (record.landmarks - offset) * np.float32(scale))


def refuse_picture(path: Path) -> DataInvalid:
    """Return the refusal of a picture that cannot be decoded."""
    reason = RejectReason.CORRUPT if path.exists() else RejectReason.SOURCE_NOT_FOUND
    return DataInvalid(reason, f"{path} is not a readable picture", "restore the file or drop its row")


def sampling_weights(records: list[FaceRecord], weights: dict[str, float]) -> F32:
    """Probability of drawing each record: ``weights`` by source (1 if unnamed), even within a source.

    Collections differ in size by two orders; frames of real video are few but closest to the target.
    """
    raw = np.array([weights.get(r.source, 1.0) for r in records], np.float64)
    return (raw / raw.sum()).astype(np.float32)
