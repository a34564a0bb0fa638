"""Patch maps are drawn as flat blocks, exactly where their affine says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.output.drawing import (
    HOT,
    PatchMap,
    draw_box,
    draw_patch_map,
    draw_tag,
    hatch,
    outline_hot,
    track_colour,
)

GRAY = 128


def blank(width: int = 200, height: int = 160) -> np.ndarray:
    return np.full((height, width, 3), GRAY, np.uint8)


def placed(patches: np.ndarray, left: float, top: float, cell: float) -> PatchMap:
    """A map whose cells are ``cell`` px wide in the frame; crop of 10 px a cell."""
    scale = cell / 10
    return PatchMap(patches, np.array([[scale, 0, left], [0, scale, top]], np.float32), 10 * len(patches))


def one_hot(grid: int, row: int, column: int, value: int = 255) -> np.ndarray:
    patches = np.zeros((grid, grid), np.uint8)
    patches[row, column] = value
    return patches


def test_a_cell_covers_its_square_and_nothing_else() -> None:
    rgb = blank()
    draw_patch_map(rgb, placed(one_hot(7, 2, 4, 120), 30, 20, 12))  # below the outline's threshold
    changed = (rgb != GRAY).any(axis=2)
    expected = np.zeros_like(changed)
    expected[20 + 24 : 20 + 36, 30 + 48 : 30 + 60] = True
    assert (changed == expected).all()


def test_blocks_are_flat_not_smoothed() -> None:
    rgb = blank()
    draw_patch_map(rgb, placed(np.arange(60, 60 + 9, dtype=np.uint8).reshape(3, 3), 10, 10, 20))
    for row in range(3):
        for column in range(3):
            block = rgb[10 + 20 * row : 30 + 20 * row, 10 + 20 * column : 30 + 20 * column]
            assert len(np.unique(block.reshape(-1, 3), axis=0)) == 1


def test_likelier_cells_are_more_opaque_and_cold_ones_clear() -> None:
    rgb = blank()
    draw_patch_map(rgb, placed(np.array([[0, 30], [60, 120]], np.uint8), 0, 0, 20))
    distance = [float(np.abs(rgb[y, x].astype(int) - HOT).sum()) for y, x in ((30, 10), (30, 30))]
    assert distance[1] < distance[0]
    assert (rgb[:20] == GRAY).all()


def test_a_faded_map_is_less_opaque() -> None:
    strong, weak = blank(), blank()
    shown = placed(one_hot(4, 1, 1, 120), 10, 10, 20)
    draw_patch_map(strong, shown)
    draw_patch_map(weak, shown, 0.5)
    assert np.abs(weak.astype(int) - GRAY).sum() < np.abs(strong.astype(int) - GRAY).sum()


def test_maps_may_reach_out_of_the_frame() -> None:
    rgb = blank()
    draw_patch_map(rgb, placed(np.full((5, 5), 200, np.uint8), -40, -30, 15))
    assert (rgb[0, 0] != GRAY).any()
    outside = blank()
    draw_patch_map(outside, placed(np.full((5, 5), 100, np.uint8), 500, 500, 15))
    assert (outside == GRAY).all()


def test_the_outline_goes_around_neighbouring_hot_cells_once() -> None:
    patches = np.zeros((4, 4), np.uint8)
    patches[1, 1:3] = 255
    lines = outline_hot(placed(patches, 0, 0, 10))
    assert len(lines) == 6  # two cells side by side: the line between them is left out
    assert {end for line in lines for end in line} == {
        (10, 10), (20, 10), (30, 10), (10, 20), (20, 20), (30, 20)
    }  # fmt: skip


@given(
    st.integers(2, 19),
    st.floats(-50, 150),
    st.floats(-50, 120),
    st.floats(2, 30),
    st.randoms(use_true_random=False),
)
def test_only_pixels_of_the_map_change(grid: int, left: float, top: float, cell: float, random) -> None:
    patches = np.array([[random.randrange(126) for _ in range(grid)] for _ in range(grid)], np.uint8)
    rgb = blank()
    draw_patch_map(rgb, placed(patches, left, top, cell))
    ys, xs = np.nonzero((rgb != GRAY).any(axis=2))
    side = grid * cell
    assert ((xs + 0.5 >= left - 0.1) & (xs + 0.5 <= left + side + 0.1)).all()
    assert ((ys + 0.5 >= top - 0.1) & (ys + 0.5 <= top + side + 0.1)).all()


def test_sampled_boxes_are_solid_and_interpolated_ones_dashed() -> None:
    solid, dashed = blank(), blank()
    draw_box(solid, np.array([20.0, 20, 100, 80]), track_colour(0))
    draw_box(dashed, np.array([20.0, 20, 100, 80]), track_colour(0), is_between=True)
    assert (solid[20, 20:120] != GRAY).any(axis=1).all()
    gaps = (dashed[20, 20:120] == GRAY).all(axis=1)
    assert 0.3 < gaps.mean() < 0.7


@pytest.mark.parametrize("corner", [(-50, -50), (190, 5), (500, 500)])
def test_tags_stay_inside_the_frame(corner: tuple[int, int]) -> None:
    rgb = blank()
    draw_tag(rgb, "#0 0.97", corner, (255, 255, 255))
    assert 400 < (rgb != GRAY).any(axis=2).sum() < 4000


def test_hatching_leaves_stripes() -> None:
    rgb = blank()
    hatch(rgb, 20, 20, 100, 60)
    share = (rgb[20:60, 20:100] != GRAY).any(axis=2).mean()
    assert 0.15 < share < 0.35
    assert (rgb[:20] == GRAY).all()
