"""Finds the faces of the training pictures with the detector of screening, once per run folder."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from engine.arrays import F32, U8
from engine.faces.detect import load_detector
from engine.faces.link import overlap
from engine.output.files import make_folder
from engine.training.faces import FaceRecord, read_faces, refuse_picture
from engine.training.index import Box, IndexRow, read_index, refuse_list

_MIN_OVERLAP = 0.3  # intersection over union from which a detection is the face of the index
_GROUP = 16  # pictures of one size at a time


def detect_boxes(directory: Path, out: Path) -> Path:
    """Write ``out`` (npz: path, found, box_px) with the detector's box of every indexed face.

    Training crops by the boxes that screening will see. A file that is already there is kept: about 250 s
    for 12,911 pictures on one core. Raises DataInvalid for a list or a picture that cannot be read,
    Unavailable if ``out`` cannot be written.
    """
    if out.exists():
        return out
    rows = read_index(directory)
    make_folder(out.parent)
    boxes = np.full((len(rows), 4), np.nan, np.float32)
    detector = load_detector()
    for group in _same_size_groups(directory, rows):
        pictures = np.stack([picture for _, picture in group])
        height, width = pictures.shape[1:3]
        for (index, _), found in zip(group, detector.detect(pictures), strict=True):
            pixels = found.boxes * np.array([width, height, width, height], np.float32)
            boxes[index] = _best(pixels, rows[index].box)
    partial = out.with_suffix(".partial.npz")
    paths = np.array([row.path for row in rows])
    np.savez(partial, path=paths, found=np.isfinite(boxes[:, 0]), box_px=boxes)
    partial.replace(out)
    return out


def read_split(directory: Path, boxes: Path, split: str, least: int = 1) -> list[FaceRecord]:
    """Return the faces of one split that the detector finds. Raises DataInvalid for fewer than ``least``."""
    faces = [face for face in read_faces(directory, detect_boxes(directory, boxes)) if face.split == split]
    if len(faces) < least:
        seen = f"{directory}: the detector finds {len(faces)} faces of split {split!r}, {least} are needed"
        raise refuse_list(seen, f"add rows of split {split}; boxes.npz is made again once it is removed")
    return faces


def _same_size_groups(directory: Path, rows: list[IndexRow]) -> Iterator[list[tuple[int, U8]]]:
    """Pictures with their row numbers, in groups of one size: the detector takes stacked pictures."""
    waiting: defaultdict[tuple[int, ...], list[tuple[int, U8]]] = defaultdict(list)
    for index, row in enumerate(rows):
        bgr = cv2.imread(str(directory / row.path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise refuse_picture(directory / row.path)
        group = waiting[bgr.shape]
        group.append((index, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)))
        if len(group) == _GROUP:
            yield waiting.pop(bgr.shape)
    yield from waiting.values()


def _best(boxes: F32, wanted: Box) -> F32:
    """The detection that overlaps the indexed face most, or NaN where none overlaps enough."""
    nothing = np.full(4, np.nan, np.float32)
    if not len(boxes):
        return nothing
    shared = overlap(boxes, np.array([wanted], np.float32))[:, 0]
    best = int(shared.argmax())
    return boxes[best] if shared[best] > _MIN_OVERLAP else nothing
