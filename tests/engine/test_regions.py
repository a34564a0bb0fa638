"""Names of the cells of a patch map."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.regions import REGIONS, hot_cells, label_cells, label_faces, map_persistence, region_shares
from engine.results import FaceRegion
from tests.engine.made_evidence import CROP, FRAME, LANDMARKS, TO_FRAME

# An upright face in a crop of 224: eyes 60 px apart.
POINTS = np.array([[82.0, 92], [142, 92], [112, 128], [88, 158], [136, 158]])


def name_at(labels: np.ndarray, x: float, y: float) -> FaceRegion:
    grid = len(labels)
    return REGIONS[labels[int(y / 224 * grid), int(x / 224 * grid)]]


def test_parts_of_an_upright_face_are_named_where_they_are() -> None:
    labels = label_cells(POINTS[None], 28, 224)[0]
    assert name_at(labels, 82, 92) is FaceRegion.LEFT_EYE
    assert name_at(labels, 142, 92) is FaceRegion.RIGHT_EYE
    assert name_at(labels, 112, 125) is FaceRegion.NOSE
    assert name_at(labels, 112, 158) is FaceRegion.MOUTH
    assert name_at(labels, 112, 50) is FaceRegion.FOREHEAD
    assert name_at(labels, 65, 140) is FaceRegion.CHEEKS_JAW
    assert name_at(labels, 112, 190) is FaceRegion.CHEEKS_JAW
    assert name_at(labels, 5, 5) is FaceRegion.BACKGROUND
    assert name_at(labels, 218, 218) is FaceRegion.BACKGROUND


def test_every_region_has_cells_on_the_grids_of_both_networks() -> None:
    for grid in (14, 19):
        assert {REGIONS[i] for i in np.unique(label_cells(POINTS[None], grid, 224)[0])} == set(REGIONS)


@given(st.floats(-math.pi, math.pi), st.floats(0.5, 1.1))
def test_names_turn_and_grow_with_the_face(angle: float, scale: float) -> None:
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    middle = np.array([112.0, 112.0])
    labels = label_cells(((POINTS - middle) @ turn.T + middle)[None], 56, 224)[0]
    mouth = np.array([112.0, 158.0])
    x, y = (mouth - middle) @ turn.T + middle
    assert name_at(labels, x, y) is FaceRegion.MOUTH
    x, y = (POINTS[0] - middle) @ turn.T + middle
    assert name_at(labels, x, y) is FaceRegion.LEFT_EYE


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.full((5, 2), 1e-9)])
def test_points_that_form_no_face_make_all_background(points: np.ndarray) -> None:
    assert (label_cells(points[None], 7, 224) == REGIONS.index(FaceRegion.BACKGROUND)).all()


def test_points_of_the_frame_are_brought_into_the_crop() -> None:
    landmarks = np.array([LANDMARKS], np.float32)
    labels = label_faces(landmarks, np.array([TO_FRAME], np.float32), FRAME, 28, CROP)
    eye_px = (np.array(LANDMARKS[0]) * FRAME - [234, 56]) / 0.625
    assert name_at(labels[0], *eye_px) is FaceRegion.LEFT_EYE
    assert label_faces(landmarks[:0], np.zeros((0, 2, 3), np.float32), FRAME, 28, CROP).shape == (0, 28, 28)


def test_region_share_is_the_hot_part_of_its_cells() -> None:
    labels = np.zeros((1, 2, 2), np.int64)
    labels[0, 1] = 3
    hot = np.array([[[True, False], [True, True]]])
    shares = region_shares(hot, labels)
    assert shares[0, 0] == 0.5
    assert shares[0, 3] == 1.0
    assert shares[0, 1] == 0.0


def test_threshold_of_the_map_is_a_probability() -> None:
    assert hot_cells(np.array([127, 128, 255], np.uint8), 0.5).tolist() == [False, True, True]


def test_persistence_is_the_overlap_of_neighbouring_maps() -> None:
    hot = np.zeros((4, 2, 2), bool)
    assert map_persistence(hot) is None
    hot[0, 0, 0] = hot[1, 0, 0] = hot[1, 1, 1] = True
    # Frames 0-1 share one of two cells, 1-2 none of two, 2-3 are both cold and say nothing.
    assert map_persistence(hot) == pytest.approx((0.5 + 0.0) / 2)
