"""How a coded picture becomes the displayed one: pixel shape, mirroring, rotation."""

import struct
from dataclasses import dataclass

import numpy as np

from engine.arrays import U8

_EXTREME_ASPECT = 4  # real pixel shapes lie between 0.4 and 2.2; beyond this the figure is a mistake


@dataclass(frozen=True)
class Orientation:
    """Mirror left to right first, then turn clockwise by ``rotation`` degrees."""

    rotation: int = 0
    is_mirrored: bool = False

    def __post_init__(self) -> None:
        if self.rotation not in (0, 90, 180, 270):
            raise ValueError(f"rotation by {self.rotation} degrees")

    @property
    def swaps_sides(self) -> bool:
        return self.rotation in (90, 270)

    def apply(self, rgb: U8) -> U8:
        """A view of ``rgb`` [H, W, 3] in displayed orientation."""
        if self.is_mirrored:
            rgb = rgb[:, ::-1]
        return np.rot90(rgb, -self.rotation // 90)


# EXIF orientation 1 to 8: https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf, table of tag 0x0112.
_EXIF: dict[int, Orientation] = {
    1: Orientation(),
    2: Orientation(0, is_mirrored=True),
    3: Orientation(180),
    4: Orientation(180, is_mirrored=True),
    5: Orientation(270, is_mirrored=True),
    6: Orientation(90),
    7: Orientation(90, is_mirrored=True),
    8: Orientation(270),
}


def orientation_from_exif(value: int) -> Orientation:
    """The orientation of an EXIF tag; values outside 1 to 8 count as upright."""
    return _EXIF.get(value, Orientation())


def orientation_from_matrix(matrix: bytes) -> Orientation:
    """The orientation of a display matrix of nine 32-bit integers, to the nearest quarter turn.

    A point moves as x' = a x + c y, y' = b x + d y with the first, second, fourth and fifth entry.
    """
    if len(matrix) < 36:
        return Orientation()
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    is_mirrored = a * d - b * c < 0
    if is_mirrored:
        a, b = -a, -b
    if abs(a) >= abs(b):
        return Orientation(0 if a >= 0 else 180, is_mirrored)
    return Orientation(90 if b > 0 else 270, is_mirrored)


def square_size(width: int, height: int, numerator: int, denominator: int) -> tuple[int, int]:
    """Size with square pixels for pixels of shape numerator:denominator. Grows one side, shrinks none."""
    if numerator < 1 or denominator < 1:
        return width, height
    if max(numerator, denominator) > _EXTREME_ASPECT * min(numerator, denominator):
        return width, height
    if numerator >= denominator:
        return (width * numerator + denominator // 2) // denominator, height
    return width, (height * denominator + numerator // 2) // numerator
