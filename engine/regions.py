"""Where on the face the patch map is hot: cells of the map named by the five points, and their shares.

The face is described in its own frame: origin between the eyes, x along them to the picture's right, y
towards the mouth, in units of the face's size. So the names hold for tilted heads, and for turned ones as
far as five points tell. Left and right are the picture's.
"""

import numpy as np

from engine.arrays import F32, F64, I64, U8, Bool
from engine.results import FaceRegion

REGIONS = tuple(FaceRegion)
"""Region of index i in the arrays of this module."""

EYES_OVER_MOUTH = 0.9  # distance between the eyes over that from eyes to mouth, in a face seen from the front


def cell_centers(grid: int, crop_size: int) -> F64:
    """Return [grid * grid, 2] centres x, y of the map's cells in crop pixels, row by row."""
    middle: F64 = (np.arange(grid, dtype=np.float64) + 0.5) * (crop_size / grid)
    return np.stack([np.tile(middle, grid), np.repeat(middle, grid)], axis=1)


def to_crop(points_px: F64, to_frame: F32) -> F64:
    """Map [n, p, 2] points of the displayed frame, in pixels, back into the pixels of n crops."""
    linear, shift = to_frame[..., :2].astype(np.float64), to_frame[..., 2].astype(np.float64)
    moved = (points_px - shift[:, None]).swapaxes(1, 2)
    return np.asarray(np.linalg.solve(linear, moved).swapaxes(1, 2), np.float64)


def label_cells(landmarks_crop: F64, grid: int, crop_size: int) -> I64:
    """Name every cell of the maps of n faces: [n, grid, grid] indices into ``REGIONS``.

    ``landmarks_crop`` [n, 5, 2] are eyes, nose and mouth corners in crop pixels. Points that coincide, as a
    detector may give for a face that is no face, make all cells background.
    """
    labels = np.full((len(landmarks_crop), grid * grid), REGIONS.index(FaceRegion.BACKGROUND), np.int64)
    finite = np.flatnonzero(np.isfinite(landmarks_crop).all(axis=(1, 2)))
    points = landmarks_crop[finite]
    eyes, mouth = points[:, :2].mean(axis=1), points[:, 3:].mean(axis=1)
    along = points[:, 1] - points[:, 0]
    apart = np.hypot(along[:, 0], along[:, 1])
    # A turned head brings the eyes together and a nodding one eyes and mouth: the larger one tells the size.
    size = np.maximum(apart, EYES_OVER_MOUTH * np.hypot(*(mouth - eyes).T))
    known = size >= 1e-6
    level = np.where((apart < 1e-6)[:, None], np.array([1.0, 0.0]), along)
    right = (level / np.hypot(level[:, 0], level[:, 1])[:, None])[known] / size[known, None]
    offsets = cell_centers(grid, crop_size) - eyes[known, None]
    parts = np.concatenate([points, mouth[:, None]], axis=1)[known] - eyes[known, None]
    labels[finite[known]] = _assign(*_turn(offsets, right), *_turn(parts, right))
    return labels.reshape(-1, grid, grid)


def _turn(offsets: F64, right: F64) -> tuple[F64, F64]:
    """Give x and y [n, c] of offsets [n, c, 2] along axes ``right`` [n, 2] and at right angles to them."""
    xs, ys, along, across = offsets[..., 0], offsets[..., 1], right[:, :1], right[:, 1:]
    return xs * along + ys * across, ys * along - xs * across


def _assign(xs: F64, ys: F64, parts_x: F64, parts_y: F64) -> I64:
    """Give each place [n, c] its region, later rules before earlier ones; in units of the face's size.

    ``parts_x`` and ``parts_y`` [n, 6] are the five points and the middle of the mouth.
    """

    def in_ellipse(x: F64, y: F64, half_width: F64 | float, half_height: F64 | float) -> Bool:
        return np.square((xs - x) / half_width) + np.square((ys - y) / half_height) <= 1.0

    # Columns, so that each face's numbers meet those of its own places.
    left_eye, right_eye, nose, left_mouth, right_mouth, mouth = (
        (parts_x[:, i : i + 1], parts_y[:, i : i + 1]) for i in range(6)
    )
    down = np.maximum(mouth[1], 0.5)  # eyes to mouth; a detector's upside-down mouth must not fold the face
    half_mouth = np.abs(right_mouth[0] - left_mouth[0]) / 2
    inside = in_ellipse(mouth[0] / 2, 0.25 * down, 1.15, 1.5 * down)
    region = np.full(xs.shape, REGIONS.index(FaceRegion.BACKGROUND), np.int64)
    region[inside] = REGIONS.index(FaceRegion.CHEEKS_JAW)
    region[inside & (ys < -0.3)] = REGIONS.index(FaceRegion.FOREHEAD)
    region[in_ellipse(*mouth, half_mouth + 0.15, 0.32)] = REGIONS.index(FaceRegion.MOUTH)
    bridge = (np.abs(xs - nose[0] / 2) < 0.2) & (ys > -0.1) & (ys < nose[1])
    region[bridge | in_ellipse(*nose, 0.32, 0.25)] = REGIONS.index(FaceRegion.NOSE)
    for eye, name in ((left_eye, FaceRegion.LEFT_EYE), (right_eye, FaceRegion.RIGHT_EYE)):
        region[in_ellipse(*eye, 0.36, 0.26)] = REGIONS.index(name)
    return region


def region_shares(hot: Bool, labels: I64) -> F64:
    """Return [n, R]: the share of hot cells in each region, for maps ``hot`` and names [n, g, g].

    A region without a cell, such as an eye outside of the crop, has share 0.
    """
    count = len(hot)
    keys = (labels + np.arange(count)[:, None, None] * len(REGIONS)).ravel()
    cells = np.bincount(keys, minlength=count * len(REGIONS))
    hits = np.bincount(keys, weights=hot.ravel().astype(np.float64), minlength=count * len(REGIONS))
    return (hits / np.maximum(cells, 1)).reshape(count, len(REGIONS))


def label_faces(landmarks: F32, to_frame: F32, frame_size: tuple[int, int], grid: int, crop_size: int) -> I64:
    """Name the cells of many faces: [n, g, g].

    ``landmarks`` [n, 5, 2] are fractions of the displayed frame of ``frame_size`` (width, height),
    ``to_frame`` [n, 2, 3] leads from crop pixels to its pixels.
    """
    points = landmarks.astype(np.float64) * np.array(frame_size, np.float64)
    return label_cells(to_crop(points, to_frame), grid, crop_size)


def hot_cells(patches: U8, threshold: float) -> Bool:
    """Return where P(patch manipulated), stored as 0 to 255, is at or above ``threshold``."""
    return patches >= round(255 * threshold)


def map_persistence(hot: Bool) -> float | None:
    """Return the mean overlap (intersection over union) of the maps of neighbouring frames of one track.

    Pairs in which both maps are cold say nothing and are left out; None when no pair is left.
    """
    both = np.logical_and(hot[1:], hot[:-1]).sum(axis=(1, 2))
    either = np.logical_or(hot[1:], hot[:-1]).sum(axis=(1, 2))
    told = either > 0
    return float((both[told] / either[told]).mean()) if told.any() else None
