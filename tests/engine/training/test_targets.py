"""Patch targets lie on the same cells as the network's patches."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.training.targets import flip_crop, patch_targets, warp_to_crop


def test_a_forged_block_marks_exactly_its_cells() -> None:
    mask = np.zeros((224, 224), np.float32)
    mask[32:64, 208:224] = 1.0
    expected = np.zeros((14, 14))
    expected[2:4, 13] = 1.0
    np.testing.assert_allclose(patch_targets(mask, 14), expected, atol=1e-6)


def test_the_last_rows_and_columns_count() -> None:
    """The reference's pooling never sees the last 14 rows and columns."""
    mask = np.zeros((224, 224), np.float32)
    mask[-8:, -8:] = 1.0
    target = patch_targets(mask, 14)
    assert target[13, 13] == np.float32(0.25)
    assert target.sum() == np.float32(0.25)


@given(st.integers(0, 223), st.integers(0, 223))
def test_a_single_pixel_falls_in_the_cell_that_covers_it(row: int, column: int) -> None:
    mask = np.zeros((224, 224), np.float32)
    mask[row, column] = 1.0
    target = patch_targets(mask, 14)
    assert np.argwhere(target > 0).tolist() == [[row // 16, column // 16]]


def test_faint_traces_do_not_count_as_forged() -> None:
    assert patch_targets(np.full((224, 224), 0.1, np.float32), 14).max() == 0.0


def test_the_mask_follows_the_crop() -> None:
    """Crop pixel (x, y) shows picture pixel (2x + 10, 2y + 20)."""
    mask = np.zeros((100, 100), np.float32)
    mask[40:60, 30:50] = 1.0
    warped = warp_to_crop(mask, np.array([[2, 0, 10], [0, 2, 20]], np.float32), 32)
    ys, xs = np.nonzero(warped > 0.5)
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (10, 19, 10, 19)


def test_flipping_moves_the_mask_with_the_crop() -> None:
    crop = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    mask = np.zeros((4, 4), np.float32)
    mask[1, 0] = 1.0
    flipped, moved = flip_crop(crop, mask)
    np.testing.assert_array_equal(flipped[1, 3], crop[1, 0])
    assert moved[1, 3] == 1.0
