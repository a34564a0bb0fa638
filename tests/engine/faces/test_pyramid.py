"""Area resampling against the definition, pixel by pixel."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.faces.pyramid import shrink_boxes, shrink_by, shrink_pictures, sum_table
from tests.engine.faces.pictures import noise
from tests.tolerance import AREA_F32


def area_means(rgb, height, width):
    """Mean of the input pixels that each output pixel touches, normalised, [3, height, width]."""
    rows = [(i * len(rgb) // height, math.ceil((i + 1) * len(rgb) / height)) for i in range(height)]
    columns = [(i * rgb.shape[1] // width, math.ceil((i + 1) * rgb.shape[1] / width)) for i in range(width)]
    means = [[rgb[a:b, c:d].astype(float).mean(axis=(0, 1)) for c, d in columns] for a, b in rows]
    return (np.array(means).transpose(2, 0, 1) - 127.5) / 128


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 20), st.integers(1, 20))
def test_picture_is_resampled_to_the_means_of_its_areas(height, width, to_height, to_width):
    rgb = noise(1, height=height, width=width)[0]
    small = shrink_pictures([sum_table(rgb)], to_height, to_width)[0]
    assert small.dtype == np.float32
    assert np.abs(small - area_means(rgb, to_height, to_width)).max() < AREA_F32


@given(st.lists(st.tuples(*[st.integers(0, 29)] * 4), max_size=4), st.integers(1, 12))
def test_boxes_are_resampled_like_pictures_of_their_own(corners, size):
    rgb = noise(1, height=30, width=30)[0]
    boxes = [(min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d in corners]
    small = shrink_boxes(sum_table(rgb), np.array(boxes, np.int64).reshape(-1, 4), size)
    assert small.shape == (len(boxes), 3, size, size)
    for pixels, (left, top, right, bottom) in zip(small, boxes, strict=True):
        assert np.abs(pixels - area_means(rgb[top:bottom, left:right], size, size)).max() < AREA_F32


def test_sums_that_wrap_around_still_give_means():
    rgb = np.full((3000, 3000, 3), 255, np.uint8)  # 2.3e9 in the last corner, above int32
    small = shrink_pictures([sum_table(rgb)], 4, 4)[0]
    assert np.abs(small - (255 - 127.5) / 128).max() < AREA_F32


def test_whole_step_of_one_leaves_the_picture_alone():
    rgb = noise(1)[0]
    assert shrink_by(rgb, 1) is rgb


def test_whole_step_averages_blocks():
    rgb = noise(1, height=31, width=40)[0]
    assert shrink_by(rgb, 3).shape == (10, 13, 3)
    assert (
        np.abs(shrink_by(rgb[:30, :39], 3) - rgb[:30, :39].reshape(10, 3, 13, 3, 3).mean((1, 3))).max() <= 0.5
    )
