"""Area resampling of whole pictures and of many boxes at once, by one table of running sums per picture.

Each output pixel is the plain mean of the input pixels that it touches (``floor(i n / m)`` up to
``ceil((i + 1) n / m)``), which is what ``torch.nn.functional.interpolate(mode="area")`` computes and the
networks of the detector were released with. OpenCV's INTER_AREA weighs border pixels by their overlap
instead and moves boxes by up to two pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from engine.arrays import F32, I64, U8

CENTER, SCALE = 127.5, 0.0078125
"""What the detector's networks were trained to read: (value - 127.5) / 128."""


@dataclass(frozen=True)
class SumTable:
    """Running sums of one RGB picture, from which any box is resampled in the same time."""

    sums: np.ndarray[tuple[int, ...], np.dtype[np.int32]]  # [H + 1, W + 1, 3]

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


def sum_table(rgb: U8) -> SumTable:
    """Build the running sums of a uint8 [H, W, 3] picture.

    The sums wrap around above 8.4 million pixels; differences stay right as long as one output pixel
    covers fewer than that, because the arithmetic is modular.
    """
    return SumTable(np.asarray(cv2.integral(np.ascontiguousarray(rgb), sdepth=cv2.CV_32S), np.int32))


def shrink_picture(table: SumTable, height: int, width: int) -> F32:
    """Resample the whole picture to float32 [3, height, width], normalised for the detector."""
    rows = np.arange(height + 1) * table.height
    columns = np.arange(width + 1) * table.width
    top, bottom = rows[:-1] // height, -(-rows[1:] // height)
    left, right = columns[:-1] // width, -(-columns[1:] // width)
    bands = table.sums[bottom] - table.sums[top]
    sums = bands[:, right] - bands[:, left]
    area = (bottom - top)[:, None] * (right - left)[None, :]
    weight = (SCALE / area).astype(np.float32)
    return (sums.astype(np.float32) * weight[:, :, None] - np.float32(CENTER * SCALE)).transpose(2, 0, 1)


def shrink_boxes(table: SumTable, boxes: I64, size: int) -> F32:
    """Resample boxes ``left, top, right, bottom`` [n, 4] (right and bottom exclusive) to [n, 3, size, size].

    The boxes lie within the picture and hold at least one pixel.
    """
    left, top, right, bottom = boxes.T[:, :, None]
    steps = np.arange(size)
    starts_x, ends_x = left + steps * (right - left) // size, left - (-(steps + 1) * (right - left) // size)
    starts_y, ends_y = top + steps * (bottom - top) // size, top - (-(steps + 1) * (bottom - top) // size)
    sums = table.sums
    above, below = starts_y[:, :, None], ends_y[:, :, None]
    before, after = starts_x[:, None, :], ends_x[:, None, :]
    total = sums[below, after] - sums[below, before] - sums[above, after] + sums[above, before]
    weight = (SCALE / ((below - above) * (after - before))).astype(np.float32)
    return (total.astype(np.float32) * weight[..., None] - np.float32(CENTER * SCALE)).transpose(0, 3, 1, 2)
