"""Light and tilt alter a picture as they would before a camera, and move the mask with it."""

import numpy as np
import pytest

from engine.arrays import F32, U8
from engine.training.scene import Scene, draw_scene

BOX = (40.0, 40.0, 60.0, 60.0)


@pytest.fixture
def picture() -> U8:
    rng = np.random.default_rng(5)
    return np.repeat(np.repeat(rng.integers(60, 180, (14, 14, 3)), 10, 0), 10, 1).astype(np.uint8)


@pytest.fixture
def mask() -> F32:
    square = np.zeros((140, 140), np.float32)
    square[50:70, 90:110] = 1.0
    return square


def test_strength_zero_leaves_picture_and_mask(picture: U8, mask: F32) -> None:
    for seed in range(8):
        scene = draw_scene(np.random.default_rng(seed), strength=0.0)
        held, moved = scene.hold(scene.light(picture), mask, BOX)
        np.testing.assert_array_equal(held, picture)
        np.testing.assert_array_equal(moved, mask)


def test_a_lamp_colours_its_own_side_most(picture: U8) -> None:
    lit = Scene(lamp=(1.4, 1.0, 1.0), lamp_angle=0.0).light(picture).astype(float)
    gain = lit[..., 0] / picture[..., 0]
    assert gain[:, 130:].mean() == pytest.approx(1.4, abs=0.03)
    assert gain[:, :10].mean() == pytest.approx(1.0, abs=0.03)
    np.testing.assert_allclose(lit[..., 1:], picture[..., 1:], atol=1)


def test_no_saturation_is_grey(picture: U8) -> None:
    lit = Scene(saturation=0.0).light(picture).astype(int)
    assert np.ptp(lit, axis=2).max() <= 1


def test_the_mask_turns_with_the_picture(picture: U8, mask: F32) -> None:
    marked = picture // 4
    marked[mask > 0] = 255
    held, moved = Scene(tilt_deg=25.0, stretch=1.1).hold(marked, mask, BOX)
    assert held[moved > 0.9].min() > 200
    assert moved[50:70, 90:110].mean() < 0.7


def test_tilt_keeps_the_middle_of_the_face(mask: F32) -> None:
    dot = np.zeros((140, 140, 3), np.uint8)
    dot[66:75, 66:75] = 255
    held, _ = Scene(tilt_deg=30.0, stretch=0.9).hold(dot, mask, BOX)
    ys, xs = np.nonzero(held[..., 0] > 128)
    assert (xs.mean(), ys.mean()) == pytest.approx((70.0, 70.0), abs=0.6)


def test_scenes_differ_and_repeat_with_their_seed() -> None:
    scenes = [draw_scene(np.random.default_rng(seed)) for seed in range(40)]
    assert scenes[3] == draw_scene(np.random.default_rng(3))
    assert len({scene.tilt_deg for scene in scenes}) > 15
    assert max(abs(scene.tilt_deg) for scene in scenes) < 45
