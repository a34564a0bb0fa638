"""Area resampling of whole pictures and of many boxes at once, by one table of running sums per picture.

Each output pixel is the plain mean of the input pixels that it touches (``floor(i n / m)`` up to
``ceil((i + 1) n / m)``), which is what ``torch.nn.functional.interpolate(mode="area")`` computes and the
networks of the detector were released with. OpenCV's INTER_AREA weighs border pixels by their overlap
instead and moves boxes by up to two pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.arrays import F32, I64, U8

I32 = NDArray[np.int32]

CENTER, SCALE = 127.5, 0.0078125
"""What the detector's networks were trained to read: (value - 127.5) / 128."""


@dataclass(frozen=True)
class SumTable:
    """Running sums of one RGB picture, from which any box is resampled in the same time."""

    sums: I32  # [H + 1, W + 1, 3]

    def __post_init__(self) -> None:
        if self.sums.dtype != np.int32 or self.sums.ndim != 3 or self.sums.shape[2] != 3:
            raise ValueError(f"sums are int32 [H + 1, W + 1, 3], not {self.sums.dtype} {self.sums.shape}")

    @property
    def height(self) -> int:
        """Height of the picture in pixels."""
        return self.sums.shape[0] - 1

    @property
    def width(self) -> int:
        """Width of the picture in pixels."""
        return self.sums.shape[1] - 1


def shrink_by(rgb: U8, step: int) -> U8:
    """Shrink a uint8 [H, W, 3] picture to a ``step``-th of its sides, rounded down."""
    if step == 1:
        return rgb
    size = max(1, rgb.shape[1] // step), max(1, rgb.shape[0] // step)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def sum_table(rgb: U8) -> SumTable:
    """Build the running sums of a uint8 [H, W, 3] picture.

    The sums wrap around above 8.4 million pixels; differences stay right as long as one output pixel
    covers fewer than that, because the arithmetic is modular.
    """
    return SumTable(np.asarray(cv2.integral(np.ascontiguousarray(rgb), sdepth=cv2.CV_32S), np.int32))


def shrink_pictures(tables: Sequence[SumTable], height: int, width: int) -> F32:
    """Resample whole pictures of one size to float32 [n, 3, height, width], normalised for the detector."""
    rows, columns = np.arange(height + 1) * tables[0].height, np.arange(width + 1) * tables[0].width
    top, bottom = rows[:-1] // height, -(-rows[1:] // height)
    left, right = columns[:-1] // width, -(-columns[1:] // width)
    pictures = np.empty((len(tables), 3, height, width), np.float32)
    for picture, table in zip(pictures, tables, strict=True):
        # numpy.take is three times as fast as the same by indexing
        bands = np.take(table.sums, bottom, axis=0)
        bands -= np.take(table.sums, top, axis=0)
        sums = np.take(bands, right, axis=1)
        sums -= np.take(bands, left, axis=1)
        picture[...] = sums.transpose(2, 0, 1)
    return _normalise(pictures, bottom - top, right - left)


def shrink_boxes(table: SumTable, boxes: I64, size: int) -> F32:
    """Resample boxes ``left, top, right, bottom`` [n, 4] (right and bottom exclusive) to [n, 3, size, size].

    The boxes lie within the picture and hold at least one pixel.
    """
    left, top, right, bottom = boxes.T[:, :, None]
    steps = np.arange(size)
    before, after = left + steps * (right - left) // size, left - (-(steps + 1) * (right - left) // size)
    above, below = top + steps * (bottom - top) // size, top - (-(steps + 1) * (bottom - top) // size)
    corners = table.sums.reshape(-1, 3)
    row_above, row_below = (table.width + 1) * above[:, :, None], (table.width + 1) * below[:, :, None]
    sums = np.take(corners, row_below + after[:, None], axis=0)
    sums -= np.take(corners, row_below + before[:, None], axis=0)
    sums -= np.take(corners, row_above + after[:, None], axis=0)
    sums += np.take(corners, row_above + before[:, None], axis=0)
    means = np.empty((len(boxes), 3, size, size), np.float32)
    means[...] = sums.transpose(0, 3, 1, 2)
    return _normalise(means, below - above, after - before)


def _normalise(sums: F32, heights: I64, widths: I64) -> F32:
    """Turn sums [n, 3, h, w] over areas heights [h] or [n, h] by widths into normalised means, in place."""
    sums *= (SCALE / heights[..., :, None] / widths[..., None, :]).astype(np.float32)[..., None, :, :]
    sums -= np.float32(CENTER * SCALE)
    return sums
