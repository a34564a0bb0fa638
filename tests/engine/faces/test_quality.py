"""What is measured of a face, and why one is not scored."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.faces.quality import (
    MOUTH_DOWN,
    MOUTH_FORWARD,
    NOSE_DOWN,
    NOSE_FORWARD,
    FaceQuality,
    estimate_pose,
    exclude_reason,
    measure_quality,
)
from engine.results import EvidenceReason
from tests.assets import astronaut
from tests.engine.faces.pictures import detector, second_by_second
from tests.tolerance import POSE_DEGREES

GOOD = FaceQuality(
    size_px=90,
    sharpness=100,
    brightness=120,
    yaw=5,
    pitch=5,
    roll=5,
    visible=1,
    area_share=0.05,
    confidence=1,
)


def quality_in(rgb):
    """Quality of the largest face that the detector finds."""
    (faces,) = detector().detect(rgb[None])
    return measure_quality(rgb, faces.boxes[0], faces.landmarks[0], float(faces.confidence[0]))


def turned_head(yaw, pitch, roll):
    """Five points of the model's head, turned and seen from far away, in pixels."""
    head = np.array(
        [
            [-0.5, 0, 0],
            [0.5, 0, 0],
            [0, NOSE_DOWN, NOSE_FORWARD],
            [-0.4, MOUTH_DOWN, MOUTH_FORWARD],
            [0.4, MOUTH_DOWN, MOUTH_FORWARD],
        ]
    )
    y, p, r = np.radians([yaw, pitch, roll])
    nod = [[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]]
    turn = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    tilt = [[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]]
    seen = head @ np.array(nod).T @ np.array(turn).T @ np.array(tilt).T
    return (100 + 60 * seen[:, :2]).astype(np.float32)


ANGLES = st.floats(-50, 50)


@given(ANGLES, ANGLES)
def test_yaw_and_roll_are_read_back_from_a_turned_head(yaw, roll):
    seen = estimate_pose(turned_head(yaw, 0, roll))
    assert seen[0] == pytest.approx(yaw, abs=POSE_DEGREES)
    assert seen[2] == pytest.approx(roll, abs=POSE_DEGREES)


@given(ANGLES, ANGLES)
def test_pitch_and_roll_are_read_back_from_a_nodding_head(pitch, roll):
    seen = estimate_pose(turned_head(0, pitch, roll))
    assert seen[1] == pytest.approx(pitch, abs=POSE_DEGREES)
    assert seen[2] == pytest.approx(roll, abs=POSE_DEGREES)


def test_signs_are_as_a_viewer_sees_them():
    yaw, pitch, roll = estimate_pose(turned_head(30, 20, 10))
    nose, eyes = turned_head(30, 20, 10)[2], turned_head(30, 20, 10)[:2]
    assert nose[0] > eyes[:, 0].mean(), "to the picture's right"
    assert eyes[1, 1] > eyes[0, 1], "clockwise"
    assert min(yaw, pitch, roll) > 5


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=5, max_size=5))
def test_any_five_points_have_a_finite_pose(points):
    assert np.isfinite(estimate_pose(np.array(points, np.float32))).all()


def test_portrait_is_good_to_score():
    quality = quality_in(astronaut())
    assert exclude_reason(quality) is None
    assert quality.size_px == pytest.approx(87, abs=2)
    assert quality.visible == 1
    assert quality.sharpness > 30
    assert 60 < quality.brightness < 180


def test_every_second_of_a_speaking_woman_is_good_to_score():
    reasons = [exclude_reason(quality_in(rgb)) for rgb in second_by_second("WolfgangLanger_Pexels.mp4")]
    assert reasons == [None] * len(reasons)


def test_face_at_the_smallest_size_is_not_taken_for_blurred():
    small = cv2.resize(astronaut(), None, fx=0.58, fy=0.58, interpolation=cv2.INTER_AREA)
    quality = quality_in(small)
    assert quality.size_px == pytest.approx(50, abs=2)
    assert exclude_reason(quality) is None


@pytest.mark.parametrize("sigma", [5, 12])
def test_blurred_face_is_named_so(sigma):
    large = cv2.resize(astronaut(), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    assert exclude_reason(quality_in(cv2.GaussianBlur(large, (0, 0), sigma))) is EvidenceReason.TOO_BLURRED


def test_dark_and_bright_faces_are_named_so():
    dark = (astronaut() * 0.15).astype(np.uint8)
    assert exclude_reason(quality_in(dark)) is EvidenceReason.TOO_DARK
    bright = (255 - (255 - astronaut().astype(float)) * 0.15).astype(np.uint8)
    (faces,) = detector().detect(astronaut()[None])
    quality = measure_quality(bright, faces.boxes[0], faces.landmarks[0], 1.0)
    assert exclude_reason(quality) is EvidenceReason.TOO_BRIGHT


def test_face_at_the_edge_is_cut_off():
    cut = astronaut()[:, 215:].copy()  # a third of the face is gone
    (faces,) = detector().detect(astronaut()[None])
    box, points = faces.boxes[0].copy(), faces.landmarks[0].copy()
    for values in (box[:1], points[:, 0]):
        values[:] = (values * 512 - 215) / cut.shape[1]
    box[2] *= 512 / cut.shape[1]
    quality = measure_quality(cut, box, points, 1.0)
    assert quality.visible < 0.75
    assert exclude_reason(quality) is EvidenceReason.CUT_OFF


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"size_px": 47.9}, EvidenceReason.FACE_TOO_SMALL),
        ({"area_share": 0.0019}, EvidenceReason.FACE_TOO_SMALL),
        ({"visible": 0.7}, EvidenceReason.CUT_OFF),
        ({"brightness": 20}, EvidenceReason.TOO_DARK),
        ({"brightness": 240}, EvidenceReason.TOO_BRIGHT),
        ({"sharpness": 5}, EvidenceReason.TOO_BLURRED),
        ({"confidence": 0.85}, EvidenceReason.LOW_CONFIDENCE),
        ({"yaw": -70}, EvidenceReason.EXTREME_POSE),
        ({"pitch": 60}, EvidenceReason.EXTREME_POSE),
        ({"roll": 100}, EvidenceReason.EXTREME_POSE),
        ({"size_px": 20, "brightness": 20, "sharpness": 1, "yaw": 70}, EvidenceReason.FACE_TOO_SMALL),
        ({"brightness": 20, "sharpness": 1, "confidence": 0.8}, EvidenceReason.TOO_DARK),
        ({"sharpness": 1, "confidence": 0.8, "yaw": 70}, EvidenceReason.TOO_BLURRED),
    ],
)
def test_first_cause_is_the_reason(changes, reason):
    assert exclude_reason(GOOD) is None
    assert exclude_reason(replace(GOOD, **changes)) is reason
