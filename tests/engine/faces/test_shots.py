"""Cuts between samples a second apart."""

import itertools

import cv2
import numpy as np
import pytest
from skimage import data

from engine.faces.shots import (
    THUMB_HEIGHT,
    THUMB_WIDTH,
    VIEW_SIZE,
    ShotCutter,
    ShotRules,
    is_cut,
    view_frame,
)
from tests.assets import astronaut
from tests.engine.faces.pictures import read_picture, second_by_second


def cuts_in(frames):
    """Indices of the frames before which a cut lies."""
    cutter = ShotCutter()
    return [index for index, rgb in enumerate(frames) if cutter.starts_shot(rgb)]


@pytest.mark.parametrize(
    ("name", "cuts"),
    [
        ("WolfgangLanger_Pexels.mp4", []),
        ("single_face.mp4", []),
        ("no_face.mp4", []),
        ("face_noface.mov", [3]),
        ("noface_face.mov", [4]),
    ],
)
def test_cuts_of_real_clips_are_found_and_talking_heads_are_not_cut(name, cuts):
    assert cuts_in(second_by_second(name)) == cuts


@pytest.mark.parametrize("step", [0.02, 0.08, 0.2])
def test_pan_is_no_cut(step):
    wide = read_picture("multi_face.jpg")
    width = wide.shape[1] // 2
    places = np.arange(0, width, int(step * width))
    assert cuts_in([wide[:, at : at + width] for at in places]) == []


def test_zoom_is_no_cut():
    picture = astronaut()
    assert cuts_in([picture[edge : 512 - edge, edge : 512 - edge] for edge in range(0, 120, 12)]) == []


def test_each_picture_of_a_slide_show_is_a_shot():
    slides = [astronaut(), data.coffee(), data.rocket(), read_picture("multi_face.jpg"), data.chelsea()]
    slides += [read_picture("single_face.jpg"), read_picture("free-mountain-vector-01.jpg")]
    assert cuts_in(slides) == list(range(1, len(slides)))
    views = [view_frame(slide) for slide in slides]
    assert all(is_cut(one, other) for one, other in itertools.permutations(views, 2))


def test_change_of_light_is_no_cut():
    lights = [1.0, 0.75, 0.5, 0.7, 1.0]
    assert cuts_in([(astronaut() * light).astype(np.uint8) for light in lights]) == []


def test_compression_and_noise_are_no_cut():
    coded = cv2.imdecode(cv2.imencode(".jpg", astronaut(), [cv2.IMWRITE_JPEG_QUALITY, 5])[1], 1)
    noisy = np.random.default_rng(0).normal(0, 20, astronaut().shape) + astronaut()
    assert cuts_in([astronaut(), coded, noisy.clip(0, 255).astype(np.uint8)]) == []


def test_black_is_one_shot_and_leaving_it_is_a_cut():
    black = np.zeros((90, 160, 3), np.uint8)
    assert cuts_in([black, black, np.array(astronaut()), black + 255, black + 255]) == [2, 3]


def test_view_does_not_depend_on_the_pictures_size():
    large = cv2.resize(astronaut(), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    assert view_frame(large).shape == (VIEW_SIZE,)
    assert view_frame(large).dtype == np.uint8
    assert not is_cut(view_frame(large), view_frame(astronaut()))


def test_border_views_are_those_of_the_first_and_last_frame():
    cutter = ShotCutter()
    assert cutter.border_views is None
    for rgb in second_by_second("face_noface.mov"):
        cutter.starts_shot(rgb)
    first, last = cutter.border_views
    assert np.array_equal(first, view_frame(second_by_second("face_noface.mov")[0]))
    assert np.array_equal(last, view_frame(second_by_second("face_noface.mov")[-1]))
    assert is_cut(first, last)


def best_correlation(before, after, rules):
    """The highest correlation over all shifts, by numpy's own formula."""
    best = -1.0
    for down, across in itertools.product(
        range(-rules.shift_down, rules.shift_down + 1), range(-rules.shift_across, rules.shift_across + 1)
    ):
        rows, columns = THUMB_HEIGHT - abs(down), THUMB_WIDTH - abs(across)
        first = before[max(0, down) :, max(0, across) :][:rows, :columns]
        second = after[max(0, -down) :, max(0, -across) :][:rows, :columns]
        best = max(best, float(np.corrcoef(first.ravel(), second.ravel())[0, 1]))
    return best


def test_a_shift_of_the_camera_is_searched_for_as_numpy_would():
    rules, random = ShotRules(), np.random.default_rng(3)
    scenes = [astronaut(), data.coffee(), read_picture("multi_face.jpg")]
    pairs = []
    for _ in range(60):
        scene, other = (scenes[i] for i in random.integers(0, 3, 2))
        top, left = random.integers(0, 60, 2)
        moved = np.roll(other, (top, left), (0, 1)) if random.random() < 0.5 else other[top:, left:]
        pairs.append((view_frame(np.array(scene)), view_frame(np.ascontiguousarray(moved))))
    found = []
    for before, after in pairs:
        colours = [view[THUMB_HEIGHT * THUMB_WIDTH :].astype(np.float64) for view in (before, after)]
        changed = 1 - np.minimum(*(counts / counts.sum() for counts in colours)).sum()
        thumbs = [
            view[: THUMB_HEIGHT * THUMB_WIDTH].reshape(THUMB_HEIGHT, -1).astype(np.float64)
            for view in (before, after)
        ]
        structure = best_correlation(*thumbs, rules)
        is_new = changed >= rules.same_colours and structure < rules.same_structure
        found.append(is_new and changed + rules.structure_weight * (1 - structure) > rules.change)
    assert [is_cut(*pair) for pair in pairs] == found
    assert 10 < sum(found) < 50
