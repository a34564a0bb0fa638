"""The demonstration's forgery changes what its mask says and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.demo.forge import (
    FRONT,
    UPPER_FACE,
    WHOLE_FACE,
    Donor,
    choose_steady,
    draw_mask,
    fit_affine,
    follow_points,
    match_colours,
    swap_face,
)
from tests.assets import astronaut
from tests.tolerance import FLOAT64_SUMS

EYES = 60.0  # px between the eyes
POINTS = FRONT * EYES + np.array([160.0, 100.0])
ASTRONAUT_POINTS = np.array([(208.0, 100), (243, 104), (222, 122), (203, 138), (238, 141)])

coordinates = st.floats(-200, 200)


@given(st.lists(coordinates, min_size=6, max_size=6))
def test_an_affine_map_is_found_again(numbers: list[float]) -> None:
    true = np.array(numbers).reshape(2, 3)
    found = fit_affine(FRONT, FRONT @ true[:, :2].T + true[:, 2])
    assert found == pytest.approx(true, abs=1000 * FLOAT64_SUMS)


def target() -> np.ndarray:
    """A skin-coloured picture with fine structure."""
    noise = np.random.default_rng(3).integers(-12, 13, (260, 320, 1))
    return np.clip(np.array([150, 110, 90]) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("outline", [WHOLE_FACE, UPPER_FACE], ids=["whole", "upper"])
def test_only_what_the_mask_covers_is_changed(outline: np.ndarray) -> None:
    forgery = swap_face(target(), POINTS, Donor(astronaut(), ASTRONAUT_POINTS), outline)
    changed = (forgery.rgb != target()).any(axis=2)
    assert not changed[forgery.mask == 0].any()
    assert changed[forgery.mask > 0.9].mean() > 0.9


def test_the_mask_lies_inside_its_outline_and_covers_the_features() -> None:
    mask = draw_mask(POINTS, WHOLE_FACE, 320, 260)
    assert mask.dtype == np.float32
    assert all(mask[round(y), round(x)] > 0.99 for x, y in POINTS)
    left, top = WHOLE_FACE.min(axis=0) * EYES + [160, 100]
    right, bottom = WHOLE_FACE.max(axis=0) * EYES + [160, 100]
    ys, xs = np.nonzero(mask > 0.02)
    assert xs.min() >= left - 1
    assert xs.max() <= right + 1
    assert ys.min() >= top - 1
    assert ys.max() <= bottom + 1


def test_the_upper_part_leaves_the_mouth_alone() -> None:
    mask = draw_mask(POINTS, UPPER_FACE, 320, 260)
    assert all(mask[round(y), round(x)] > 0.9 for x, y in POINTS[:2])
    assert all(mask[round(y), round(x)] == 0 for x, y in POINTS[3:])


def test_edges_are_soft() -> None:
    mask = draw_mask(POINTS, WHOLE_FACE, 320, 260)
    assert ((mask > 0.05) & (mask < 0.95)).sum() > 500
    assert np.abs(np.diff(mask, axis=1)).max() < 0.3


def test_the_pasted_face_takes_the_colours_of_the_covered_one() -> None:
    mask = np.ones((260, 320), np.float32)
    source = np.random.default_rng(1).integers(60, 200, (260, 320, 3)).astype(np.uint8)
    matched = match_colours(source, target(), mask)
    assert matched.reshape(-1, 3).mean(axis=0) == pytest.approx(target().reshape(-1, 3).mean(axis=0), abs=4)


def test_of_two_findings_the_one_that_moved_least_is_taken() -> None:
    steady = np.zeros((6, 5, 2)) + np.arange(6)[:, None, None]
    candidates = np.stack([steady, steady + 15], axis=1)
    candidates[3:] = candidates[3:, ::-1]
    candidates[0] = 0
    chosen = choose_steady(candidates)
    assert chosen.tolist() == steady.tolist()


def test_points_are_followed_between_findings() -> None:
    seen_us = list(range(0, 2_000_001, 200_000))
    seen = np.zeros((len(seen_us), 5, 2)) + np.array(seen_us)[:, None, None] / 1e4  # 100 px a second
    times = list(range(0, 2_000_001, 40_000))
    found = follow_points(times, seen_us, seen)
    inner = found[10:-10, 0, 0]  # at the ends there is nothing beyond to smooth with
    assert inner == pytest.approx(np.array(times[10:-10]) / 1e4, abs=0.01)


def test_donors_need_five_points() -> None:
    with pytest.raises(ValueError, match="five points"):
        Donor(astronaut(), ASTRONAUT_POINTS[:4])
