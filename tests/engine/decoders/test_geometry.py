"""From the coded to the displayed picture."""

import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.decoders.geometry import (
    Orientation,
    orientation_from_exif,
    orientation_from_matrix,
    square_size,
)

CODED = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def test_a_quarter_turn_is_clockwise() -> None:
    turned = Orientation(90).apply(CODED)
    assert turned.shape == (3, 2, 3)
    assert turned[0, 1].tolist() == CODED[0, 0].tolist()  # top left goes to the top right


def test_a_picture_is_mirrored_before_it_is_turned() -> None:
    turned = Orientation(90, is_mirrored=True).apply(CODED)
    assert turned[0, 1].tolist() == CODED[0, 2].tolist()


# Where the first row and the first column of the coded picture are, seen upright: the EXIF standard's words.
EXIF_FIRST_PIXEL = {
    1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
    5: ("top", "left"), 6: ("top", "right"), 7: ("bottom", "right"), 8: ("bottom", "left"),
}  # fmt: skip


@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientations_put_the_first_pixel_where_the_standard_says(value: int) -> None:
    shown = orientation_from_exif(value).apply(CODED)
    row, column = EXIF_FIRST_PIXEL[value]
    corner = shown[0 if row == "top" else -1, 0 if column == "left" else -1]
    assert corner.tolist() == CODED[0, 0].tolist()
    assert shown.shape[:2] == ((2, 3) if value <= 4 else (3, 2))


def test_unknown_exif_values_are_upright() -> None:
    assert orientation_from_exif(0) == orientation_from_exif(9) == Orientation()


def matrix(a: float, b: float, c: float, d: float) -> bytes:
    one = 1 << 16
    return struct.pack("=9i", int(a * one), int(b * one), 0, int(c * one), int(d * one), 0, 0, 0, 1 << 30)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ((1, 0, 0, 1), Orientation(0)),
        ((0, 1, -1, 0), Orientation(90)),
        ((-1, 0, 0, -1), Orientation(180)),
        ((0, -1, 1, 0), Orientation(270)),
        ((-1, 0, 0, 1), Orientation(0, is_mirrored=True)),
        ((1, 0, 0, -1), Orientation(180, is_mirrored=True)),
        ((0.05, 0.99, -0.99, 0.05), Orientation(90)),
        ((0, 0, 0, 0), Orientation(0)),
    ],
)
def test_a_display_matrix_gives_the_nearest_quarter_turn(
    entries: tuple[float, float, float, float], expected: Orientation
) -> None:
    assert orientation_from_matrix(matrix(*entries)) == expected


def test_a_cut_matrix_is_upright() -> None:
    assert orientation_from_matrix(b"\x00" * 20) == Orientation()


@given(st.integers(1, 8000), st.integers(1, 8000), st.integers(1, 64), st.integers(1, 64))
def test_square_pixels_keep_the_shape_and_shrink_nothing(w: int, h: int, n: int, d: int) -> None:
    width, height = square_size(w, h, n, d)
    assert width >= w
    assert height >= h
    if max(n, d) <= 4 * min(n, d):
        shape = Fraction(w * n, h * d)
        assert abs(width - shape * height) <= 1 or abs(height - width / shape) <= 1
    else:
        assert (width, height) == (w, h)


def test_pal_on_a_wide_screen_is_1024_wide() -> None:
    assert square_size(720, 576, 64, 45) == (1024, 576)
