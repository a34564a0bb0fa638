"""Where a file was really forged, cell by cell of a face's patch map, and how well the map agrees.

A cell counts as forged when the mask covers at least half of its square on the crop; the map calls it forged
from P = 0.5 on. The overlap of one frame is the intersection over the union of both sets of cells, on that
face whose crop holds most of the mask. A frame in which no cell is forged is left out.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from engine.arrays import F32, I64, Bool
from engine.errors import MediaRejected
from engine.evaluation.frames import decode_picture
from engine.evidence import ShardEvidence
from engine.limits import Limits
from engine.probe import Probe
from engine.regions import hot_cells
from engine.sandbox.handle import Sandbox

CELL_SHARE = 0.5
MAP_THRESHOLD = 0.5
FARTHEST_FRAMES = 3
"""A mask stands for frames up to this far from its own; masks are often stored for every sixth frame."""


class MaskInvalid(ValueError):
    """A mask cannot be read: says which and why."""


@dataclass(frozen=True)
class MaskSeries:
    """Forged regions of some frames of a video, or of a picture (one mask, index 0)."""

    frame_index: I64  # [n] in order of presentation, increasing
    mask: Bool  # [n, h, w]

    def __post_init__(self) -> None:
        if self.mask.ndim != 3 or len(self.mask) != len(self.frame_index) or not len(self.mask):
            raise ValueError(f"masks are [n, h, w] with n indices, not {self.mask.shape}")
        if (np.diff(self.frame_index) <= 0).any() or self.frame_index[0] < 0:
            raise ValueError("frame indices increase from 0")

    def near(self, index: int) -> Bool | None:
        """Return the mask of the frame nearest to ``index``, or None if all are too far away."""
        place = int(np.abs(self.frame_index - index).argmin())
        return self.mask[place] if abs(int(self.frame_index[place]) - index) <= FARTHEST_FRAMES else None


def read_masks(path: Path, sandbox: Sandbox, limits: Limits | None = None) -> MaskSeries:
    """Read the masks of a video or picture: ``.npz`` or a picture.

    An ``.npz`` holds ``frame_index`` [n] and ``mask`` [n, h, w], true where forged. In a picture all is
    forged that is brighter than half of its brightest place. Raises MaskInvalid with the path if it is
    neither.
    """
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as held:
                return MaskSeries(held["frame_index"].astype(np.int64), held["mask"].astype(bool))
        luma = decode_picture(path, sandbox, limits=limits).max(axis=2)
        return MaskSeries(np.zeros(1, np.int64), (luma > max(1, int(luma.max())) / 2)[None])
    except (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, MediaRejected) as error:
        raise MaskInvalid(f"the mask {path} cannot be read: {error}") from error


def forged_cells(
    mask: Bool, to_frame: F32, frame_size: tuple[int, int], crop_size: int, grid: int
) -> tuple[Bool, float]:
    """Bring a mask onto a face's map: [grid, grid] forged cells, and the mask's share of the crop.

    ``mask`` [h, w] covers the displayed frame of ``frame_size`` (width, height), in whatever resolution;
    ``to_frame`` [2, 3] leads from crop pixels to its pixels.
    """
    scale = np.array([mask.shape[1] / frame_size[0], mask.shape[0] / frame_size[1]], np.float64)
    linear = to_frame[:, :2].astype(np.float64) * scale[:, None]
    # OpenCV counts from pixel centres, the affine from pixel corners.
    shift = to_frame[:, 2] * scale + linear @ np.array([0.5, 0.5]) - 0.5
    affine = np.concatenate([linear, shift[:, None]], axis=1)
    crop = cv2.warpAffine(
        mask.astype(np.float32), affine, (crop_size, crop_size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    cells = np.asarray(cv2.resize(crop, (grid, grid), interpolation=cv2.INTER_AREA), np.float32)
    return cells >= CELL_SHARE, float(np.asarray(crop).mean())


def map_overlaps(evidence: ShardEvidence, probe: Probe, masks: MaskSeries) -> tuple[float, ...]:
    """Return the overlap of map and mask for every scored frame that has a mask with a forged cell."""
    overlaps: list[float] = []
    scored = evidence.is_scored
    for time in np.unique(evidence.pts_us[scored]).tolist():
        mask = masks.near(frame_index_at(probe, time))
        if mask is None:
            continue
        rows = np.flatnonzero(scored & (evidence.pts_us == time))
        overlap = _frame_overlap(evidence, rows, mask)
        if overlap is not None:
            overlaps.append(overlap)
    return tuple(overlaps)


def _frame_overlap(evidence: ShardEvidence, rows: I64, mask: Bool) -> float | None:
    size = (evidence.frame_width, evidence.frame_height)
    grid = evidence.patches.shape[1]
    faces = [forged_cells(mask, evidence.to_frame[row], size, evidence.crop_size, grid) for row in rows]
    best = max(range(len(rows)), key=lambda i: faces[i][1])
    forged = faces[best][0]
    if not forged.any():
        return None
    hot = hot_cells(evidence.patches[rows[best]], MAP_THRESHOLD)
    return float((forged & hot).sum() / (forged | hot).sum())


def frame_index_at(probe: Probe, pts_us: int) -> int:
    """Return which frame, in order of presentation, is shown at a time."""
    if len(probe.frames_us):
        return int(np.searchsorted(probe.frames_us, pts_us, side="right")) - 1
    if not probe.duration_us:
        return 0
    return round(pts_us * probe.frame_count / probe.duration_us)
