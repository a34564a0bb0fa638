"""The one crop rule of training and screening, and the way back from a crop to the displayed frame.

The crop is the square whose side is ``CROP_MARGIN`` times the longer side of the face's box, centred on
the box and set on whole pixels; what lies outside of the picture repeats the picture's edge. Real and
forged faces go through the same function, because a network learns any difference in framing as its label.

Coordinates are continuous: pixel ``i`` covers ``[i, i + 1)``, a picture of width W spans 0 to W.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from engine.arrays import F32, U8

CROP_MARGIN = 1.3
"""Side of the crop over the longer side of the box: brings in the face's outline, where blending shows."""


@dataclass(frozen=True)
class CropSquare:
    """A square on whole pixels of the displayed frame; it may reach outside of the picture."""

    left: int
    top: int
    side: int

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError(f"crop side is {self.side} px")

    def visible_share(self, width: int, height: int) -> float:
        """Return the share of the square's area that lies inside a picture of that size, 0 to 1."""
        across = min(self.left + self.side, width) - max(self.left, 0)
        down = min(self.top + self.side, height) - max(self.top, 0)
        return max(0, across) * max(0, down) / self.side**2


def crop_square(box_px: Sequence[float] | F32) -> CropSquare:
    """Return the square that the rule crops for a box ``x, y, w, h`` in pixels of the displayed frame."""
    x, y, width, height = (float(v) for v in box_px)
    longer = max(width, height)
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(longer) and min(width, height) > 0):
        raise ValueError(f"a face box needs a finite place and a positive size, not {(x, y, width, height)}")
    side = max(1, math.floor(CROP_MARGIN * longer + 0.5))
    left = math.floor(x + width / 2 - side / 2 + 0.5)
    top = math.floor(y + height / 2 - side / 2 + 0.5)
    return CropSquare(left, top, side)


def crop_affine(box_px: Sequence[float] | F32, size: int) -> F32:
    """Return the [2, 3] map from crop pixels to displayed-frame pixels for a box ``x, y, w, h`` in pixels.

    Both in continuous coordinates: (0, 0) maps to the square's corner, (size, size) to the opposite one.
    """
    square = crop_square(box_px)
    scale = square.side / size
    return np.array([[scale, 0.0, square.left], [0.0, scale, square.top]], np.float32)


def crop_face(rgb: U8, box_px: Sequence[float] | F32, size: int) -> tuple[U8, F32]:
    """Cut one face out of a picture by the crop rule.

    ``rgb`` is uint8 [H, W, 3], ``box_px`` is ``x, y, w, h`` in its pixels. Returns the crop uint8
    [size, size, 3] and the affine of ``crop_affine``. Raises ValueError if the square misses the picture.
    """
    square = crop_square(box_px)
    height, width = rgb.shape[:2]
    left, top = max(square.left, 0), max(square.top, 0)
    right, bottom = min(square.left + square.side, width), min(square.top + square.side, height)
    if left >= right or top >= bottom:
        raise ValueError(f"the crop {square} lies outside of the {width}x{height} picture")
    seen = rgb[top:bottom, left:right]
    if seen.shape[:2] != (square.side, square.side):
        seen = cv2.copyMakeBorder(
            seen,
            top - square.top,
            square.top + square.side - bottom,
            left - square.left,
            square.left + square.side - right,
            cv2.BORDER_REPLICATE,
        )
    # Area averages when shrinking, so that no aliasing stands in for high frequencies; linear when growing.
    how = cv2.INTER_AREA if square.side > size else cv2.INTER_LINEAR
    crop = cv2.resize(np.ascontiguousarray(seen), (size, size), interpolation=how)
    return np.asarray(crop, np.uint8), crop_affine(box_px, size)
