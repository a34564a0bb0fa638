"""Where on the face the patch map is hot: cells of the map named by the five points, and their shares.

The face is described in its own frame: origin between the eyes, x along them to the picture's right, y
towards the mouth, in units of the face's size. So the names hold for tilted heads, and for turned ones as
far as five points tell. Left and right are the picture's.
"""

import math

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
    """Map [n, 2] points of the displayed frame, in pixels, back into crop pixels."""
    linear, shift = to_frame[:, :2].astype(np.float64), to_frame[:, 2].astype(np.float64)
    return np.asarray(np.linalg.solve(linear, (points_px - shift).T).T, np.float64)


def label_cells(landmarks_crop: F64, grid: int, crop_size: int) -> I64:
    """Name every cell of a face's map: [grid, grid] indices into ``REGIONS``.

    ``landmarks_crop`` [5, 2] are eyes, nose and mouth corners in crop pixels. Points that coincide, as a
    detector may give for a face that is no face, make all cells background.
    """
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks_crop
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    along = right_eye - left_eye
    # A turned head brings the eyes together and a nodding one eyes and mouth: the larger one tells the size.
    size = max(math.hypot(*along), EYES_OVER_MOUTH * math.hypot(*(mouth - eyes)))
    if size < 1e-6 or not np.isfinite(landmarks_crop).all():
        return np.full((grid, grid), REGIONS.index(FaceRegion.BACKGROUND), np.int64)
    if math.hypot(*along) < 1e-6:
        along = np.array([1.0, 0.0])
    right = along / math.hypot(*along)
    down = np.array([-right[1], right[0]])
    axes = np.stack([right, down], axis=1) / size

    def face_frame(points: F64) -> F64:
        return (points - eyes) @ axes

    places = face_frame(cell_centers(grid, crop_size))
    parts = face_frame(np.stack([left_eye, right_eye, nose, left_mouth, right_mouth, mouth]))
    return _assign(places, parts).reshape(grid, grid)


def _assign(places: F64, parts: F64) -> I64:
    """Give each place [n, 2] its region, later rules before earlier ones; in units of the face's size."""
    left_eye, right_eye, nose, left_mouth, right_mouth, mouth = parts
    down = max(float(mouth[1]), 0.5)  # eyes to mouth; a detector's upside-down mouth must not fold the face
    half_mouth = abs(float(right_mouth[0] - left_mouth[0])) / 2
    inside = _in_ellipse(places, np.array([mouth[0] / 2, 0.25 * down]), 1.15, 1.5 * down)
    region = np.full(len(places), REGIONS.index(FaceRegion.BACKGROUND), np.int64)
    region[inside] = REGIONS.index(FaceRegion.CHEEKS_JAW)
    region[inside & (places[:, 1] < -0.3)] = REGIONS.index(FaceRegion.FOREHEAD)
    region[_in_ellipse(places, mouth, half_mouth + 0.15, 0.32)] = REGIONS.index(FaceRegion.MOUTH)
    bridge = (np.abs(places[:, 0] - nose[0] / 2) < 0.2) & (places[:, 1] > -0.1) & (places[:, 1] < nose[1])
    region[bridge | _in_ellipse(places, nose, 0.32, 0.25)] = REGIONS.index(FaceRegion.NOSE)
    for eye, name in ((left_eye, FaceRegion.LEFT_EYE), (right_eye, FaceRegion.RIGHT_EYE)):
        region[_in_ellipse(places, eye, 0.36, 0.26)] = REGIONS.index(name)
    return region


def _in_ellipse(places: F64, center: F64, half_width: float, half_height: float) -> Bool:
    scaled = (places - center) / np.array([half_width, half_height])
    return np.square(scaled).sum(axis=1) <= 1.0


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
    labels = [
        label_cells(to_crop(face, affine), grid, crop_size)
        for face, affine in zip(points, to_frame, strict=True)
    ]
    return np.stack(labels) if labels else np.empty((0, grid, grid), np.int64)


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
