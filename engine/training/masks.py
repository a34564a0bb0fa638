"""Regions of a face in which a forgery is blended: hulls of landmarks, deformed and feathered."""

from enum import StrEnum

import cv2
import numpy as np

from engine.arrays import F32, F64, U8

_JAW = list(range(17))
_BROWS = list(range(17, 27))
_NOSE = list(range(27, 36))
_RIGHT_EYE = list(range(36, 42))  # the person's right, left in the picture
_LEFT_EYE = list(range(42, 48))
_MOUTH = list(range(48, 68))


class MaskShape(StrEnum):
    """Which part of the face a forgery replaces."""

    FACE = "face"  # jaw to brows
    FACE_AND_FOREHEAD = "face_and_forehead"
    INNER = "inner"  # brows, eyes, nose, mouth, without the jaw line
    LOWER = "lower"  # nose tip, mouth and jaw
    EYES = "eyes"
    NOSE = "nose"
    MOUTH = "mouth"


WHOLE_FACE = (MaskShape.FACE, MaskShape.FACE_AND_FOREHEAD, MaskShape.INNER)
PARTS = (MaskShape.EYES, MaskShape.NOSE, MaskShape.MOUTH, MaskShape.LOWER)

_POINTS: dict[MaskShape, list[int]] = {
    MaskShape.FACE: _JAW + _BROWS,
    MaskShape.FACE_AND_FOREHEAD: _JAW + _BROWS,
    MaskShape.INNER: _BROWS + _RIGHT_EYE + _LEFT_EYE + _NOSE + _MOUTH,
    MaskShape.LOWER: _JAW[2:15] + _NOSE[3:] + _MOUTH,
    MaskShape.EYES: _BROWS + _RIGHT_EYE + _LEFT_EYE,
    MaskShape.NOSE: [*_NOSE, 21, 22],
    MaskShape.MOUTH: _MOUTH,
}


def hull_mask(landmarks: F32, shape: MaskShape, height: int, width: int, rng: np.random.Generator) -> U8:
    """Convex hull of the part's landmarks, [height, width] of 0 or 1; points are jittered slightly."""
    points: F64 = landmarks[_POINTS[shape]].astype(np.float64)
    if shape is MaskShape.FACE_AND_FOREHEAD:
        points = np.concatenate([points, _raised_brows(landmarks, rng.uniform(0.3, 0.9))])
    size = float(np.ptp(landmarks[:, 1]))
    points = points + rng.normal(0.0, 0.015 * size, points.shape)
    grown = rng.uniform(0.92, 1.08) if shape in WHOLE_FACE else rng.uniform(1.05, 1.4)
    centre = points.mean(0)
    points = centre + (points - centre) * grown
    corners = np.asarray(np.round(points), np.int32)
    hull = np.asarray(cv2.convexHull(corners), np.int32)
    return np.asarray(cv2.fillConvexPoly(np.zeros((height, width), np.uint8), hull, (1,)), np.uint8)


def _raised_brows(landmarks: F32, share: float) -> F64:
    """The brow points moved away from the nose by ``share`` of the brow-to-nose-tip distance."""
    brows = landmarks[_BROWS].astype(np.float64)
    up = landmarks[[19, 24]].mean(0) - landmarks[30]
    return brows + share * up.astype(np.float64)


def random_displacement(height: int, width: int, strength_px: float, rng: np.random.Generator) -> F32:
    """A smooth random field of shifts, [height, width, 2] pixels: a coarse grid of normals, enlarged."""
    coarse = rng.normal(0.0, strength_px, (rng.integers(4, 9), rng.integers(4, 9), 2)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def displace(picture: np.ndarray, field: F32, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """Move the pixels of a picture [H, W] or [H, W, 3] by a field of shifts [H, W, 2]; edges are repeated."""
    height, width = picture.shape[:2]
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(
        picture, xs + field[..., 0], ys + field[..., 1], interpolation, borderMode=cv2.BORDER_REPLICATE
    )


def feather(mask: U8, face_px: float, rng: np.random.Generator) -> F32:
    """Deform the mask's outline, grow or shrink it, and blur its border; [H, W] in 0 to 1."""
    height, width = mask.shape
    soft = mask.astype(np.float32)
    if rng.random() < 0.8:
        soft = displace(soft, random_displacement(height, width, 0.03 * face_px, rng))
    reach = max(1, round(rng.uniform(0.0, 0.06) * face_px))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    soft = cv2.erode(soft, kernel) if rng.random() < 0.6 else cv2.dilate(soft, kernel)
    sigma = rng.uniform(0.004, 0.07) * face_px
    blurred = cv2.GaussianBlur(np.asarray(soft, np.float32), (0, 0), max(0.6, sigma))
    return np.clip(np.asarray(blurred, np.float32), 0.0, 1.0)
