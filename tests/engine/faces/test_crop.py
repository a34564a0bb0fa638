"""The crop rule, and the way back to the frame."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.faces.crop import CROP_MARGIN, crop_affine, crop_face, crop_square
from tests.engine.faces.pictures import noise
from tests.tolerance import CROP_PX

WIDTH, HEIGHT = 60, 40
SIDES = st.floats(2, 50, width=32)
# The centre lies in the picture, as it does for every face that the detector returns.
BOXES = st.tuples(st.floats(0, WIDTH - 1, width=32), st.floats(0, HEIGHT - 1, width=32), SIDES, SIDES).map(
    lambda box: (box[0] - box[2] / 2, box[1] - box[3] / 2, box[2], box[3])
)


@given(BOXES)
def test_square_is_centred_on_the_box_and_as_wide_as_the_rule_says(box):
    x, y, width, height = box
    square = crop_square(box)
    assert abs(square.side - CROP_MARGIN * max(width, height)) <= 0.5 + CROP_PX
    assert abs(square.left + square.side / 2 - (x + width / 2)) <= 0.5 + CROP_PX
    assert abs(square.top + square.side / 2 - (y + height / 2)) <= 0.5 + CROP_PX


@given(BOXES)
def test_crop_at_its_own_size_is_the_picture_with_its_edge_repeated(box):
    rgb = noise(1, height=HEIGHT, width=WIDTH)[0]
    square = crop_square(box)
    crop, _ = crop_face(rgb, box, square.side)
    rows = np.clip(np.arange(square.top, square.top + square.side), 0, HEIGHT - 1)
    columns = np.clip(np.arange(square.left, square.left + square.side), 0, WIDTH - 1)
    assert np.array_equal(crop, rgb[rows][:, columns])


@given(BOXES, st.integers(8, 300), st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_affine_maps_the_crop_onto_its_square_and_back(box, size, place):
    square, affine = crop_square(box), crop_affine(box, size).astype(float)
    share = np.array(place)
    frame = affine[:, :2] @ (share * size) + affine[:, 2]
    assert np.allclose(frame, np.array([square.left, square.top]) + share * square.side, atol=CROP_PX)
    back = np.linalg.solve(affine[:, :2], frame - affine[:, 2])
    assert np.allclose(back, share * size, atol=CROP_PX)


@given(BOXES, st.integers(8, 64))
def test_crop_and_affine_come_from_the_same_square(box, size):
    rgb = noise(1, height=HEIGHT, width=WIDTH)[0]
    crop, affine = crop_face(rgb, box, size)
    assert crop.shape == (size, size, 3)
    assert np.array_equal(affine, crop_affine(box, size))


def test_shrinking_averages_areas():
    rgb = noise(1, height=26, width=26)[0]
    crop, affine = crop_face(rgb, (3, 3, 20, 20), 13)
    means = rgb.astype(float).reshape(13, 2, 13, 2, 3).mean(axis=(1, 3))
    assert np.abs(crop - means).max() <= 0.5
    assert affine.tolist() == [[2, 0, 0], [0, 2, 0]]


def test_growing_interpolates_between_pixels():
    ramp = np.repeat(np.arange(0, 130, 10, dtype=np.uint8)[None, :, None], 13, axis=0).repeat(3, axis=2)
    crop, _ = crop_face(ramp, (1.5, 1.5, 10, 10), 26)
    steps = np.diff(crop[13, 1:-1, 0].astype(int))
    assert steps.min() >= 4
    assert steps.max() <= 6


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (0, 0, 5, -1), (np.nan, 0, 5, 5), (0, 0, np.inf, 5)])
def test_box_without_place_or_size_is_refused(box):
    with pytest.raises(ValueError, match="positive size"):
        crop_square(box)


def test_box_far_outside_of_the_picture_is_refused():
    with pytest.raises(ValueError, match="outside"):
        crop_face(noise(1)[0], (500, 500, 20, 20), 32)


@pytest.mark.parametrize(
    ("box", "share"),
    [((10, 10, 20, 10), 1.0), ((-10, 7, 20, 20), 0.5), ((50, 30, 20, 20), 0.25), ((900, 0, 20, 20), 0.0)],
)
def test_visible_share_is_that_of_the_squares_area(box, share):
    assert crop_square(box).visible_share(WIDTH, HEIGHT) == pytest.approx(share, abs=0.01)
