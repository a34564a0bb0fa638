"""What the detector finds in real and in awkward pictures."""

import cv2
import numpy as np
import pytest

from engine.faces.detect import FaceBoxes, MtcnnDetector, MtcnnParameters, detect_faces
from tests.assets import astronaut
from tests.engine.faces.pictures import detector, faces_at, noise, read_picture, sampled, second_by_second
from tests.tolerance import DETECTION_SHARE


def paste(picture, *, height, width, at):
    """A grey frame with a picture in it, its corner at ``x, y``."""
    frame = np.full((height, width, 3), 110, np.uint8)
    x, y = at
    frame[y : y + len(picture), x : x + picture.shape[1]] = picture
    return frame


def head(side):
    """The astronaut's head, with the face's longer side about this many pixels."""
    cut = astronaut()[30:210, 150:300]  # the face is 110 px high there
    scale = side / 110
    return cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def test_astronauts_face_is_found_with_its_points_in_order():
    (faces,) = detector().detect(astronaut()[None])
    assert len(faces.boxes) == 1
    x, y, width, height = faces.boxes[0] * 512
    assert (x, y, x + width, y + height) == pytest.approx((181, 62, 268, 172), abs=2)
    assert faces.confidence[0] > 0.999
    left_eye, right_eye, nose, left_mouth, right_mouth = faces.landmarks[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_five_people_are_found_largest_first():
    (faces,) = detector().detect(read_picture("multi_face.jpg")[None])
    areas = faces.boxes[:, 2] * faces.boxes[:, 3]
    assert len(areas) == 5
    assert areas.tolist() == sorted(areas, reverse=True)
    assert faces.capped == 0


def test_no_face_is_found_where_there_is_none():
    group = second_by_second("no_face.mp4")
    assert [len(faces.boxes) for faces in detector().detect(group)] == [0] * len(group)
    assert len(detector().detect(noise(1, height=240, width=320))[0].boxes) == 0


def test_each_frame_of_a_group_is_answered_as_if_alone():
    frames = sampled(second_by_second("face_noface.mov")[1:6])
    together = detect_faces(frames, detector())
    assert [len(faces.boxes) for faces in together] == [1, 1, 0, 0, 0]
    for rgb, faces in zip(frames.rgb, together, strict=True):
        (alone,) = detector().detect(rgb[None])
        assert np.allclose(faces.boxes, alone.boxes, atol=DETECTION_SHARE)
        assert np.allclose(faces.landmarks, alone.landmarks, atol=DETECTION_SHARE)


def test_group_larger_than_the_sums_held_at_a_time_is_answered_whole():
    places = [(100, 100), (900, 500), (1500, 200)]  # 1080p: two frames at a time
    group = np.stack([paste(head(150), height=1080, width=1920, at=at) for at in places])
    found = detector().detect(group)
    lefts = [float(faces.boxes[0, 0] * 1920 - at[0]) for faces, at in zip(found, places, strict=True)]
    assert [len(faces.boxes) for faces in found] == [1, 1, 1]
    assert max(lefts) - min(lefts) < 6


def test_answers_do_not_depend_on_threads_or_time():
    picture = read_picture("multi_face.jpg")[None]
    (once,), (again,) = detector().detect(picture), MtcnnDetector(threads=2).detect(picture)
    assert np.allclose(once.boxes, again.boxes, atol=DETECTION_SHARE)
    (repeated,) = detector().detect(picture)
    assert np.array_equal(once.boxes, repeated.boxes)
    assert np.array_equal(once.landmarks, repeated.landmarks)


@pytest.mark.parametrize(
    ("width", "height", "side"), [(320, 240, 20), (640, 360, 20), (1280, 720, 38), (1920, 1080, 56)]
)
def test_face_is_seen_before_it_is_large_enough_to_score(width, height, side):
    (faces,) = detector().detect(paste(head(side), height=height, width=width, at=(90, 80))[None])
    assert len(faces.boxes) == 1
    assert faces.boxes[0, 3] * height == pytest.approx(side, rel=0.2)


@pytest.mark.parametrize("factor", [2, 4])
def test_larger_picture_of_the_same_gives_the_same_shares(factor):
    large = cv2.resize(astronaut(), None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    (faces,), (small,) = detector().detect(large[None]), detector().detect(astronaut()[None])
    assert np.allclose(faces.boxes, small.boxes, atol=0.02)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 3000), (16, 16), (2160, 21)])
def test_thin_and_tiny_pictures_have_no_faces(height, width):
    (faces,) = detector().detect(noise(1, height=height, width=width))
    assert faces.boxes.shape == (0, 4)
    assert faces.landmarks.shape == (0, 5, 2)


def test_empty_group_gives_no_answers():
    assert detector().detect(np.empty((0, 90, 160, 3), np.uint8)) == []


def test_crowd_is_cut_to_the_largest_64_and_the_rest_counted():
    tile = head(56)[:76, :64]
    crowd = np.tile(tile, (9, 15, 1))
    (faces,) = detector().detect(crowd[None])
    assert len(faces.boxes) == 64
    assert faces.capped > 20
    everyone = MtcnnDetector(parameters=MtcnnParameters(max_faces=1000)).detect(crowd[None])[0].boxes
    areas = np.sort(everyone[:, 2] * everyone[:, 3])[::-1]
    assert np.array_equal(faces.boxes[:, 2] * faces.boxes[:, 3], areas[:64])
    assert faces.capped == len(areas) - 64


def test_noise_cannot_make_more_than_a_bounded_number_of_candidates():
    few = MtcnnDetector(parameters=MtcnnParameters(max_candidates=1))
    (faces,) = few.detect(read_picture("multi_face.jpg")[None])
    assert len(faces.boxes) <= 1


def test_smallest_face_follows_the_picture():
    sizes = [MtcnnParameters().smallest_face_px(*size) for size in ((320, 240), (1280, 720), (3840, 2160))]
    assert sizes[0] == 20
    assert sizes[1] == pytest.approx(43.6, abs=0.1)
    assert sizes[2] == pytest.approx(3 * sizes[1])


def test_digest_and_parameters_tell_every_difference(tmp_path):
    assert len(detector().sha256) == 64
    assert detector().parameters["first_threshold"] == 0.6
    assert MtcnnDetector(threads=2).sha256 == detector().sha256
    assert "threads" not in detector().parameters


@pytest.mark.parametrize("wrong", [np.zeros((2, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8)])
def test_frames_of_another_form_are_refused(wrong):
    with pytest.raises(ValueError, match="uint8"):
        detector().detect(wrong)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("boxes", np.zeros((2, 4), np.float32)),
        ("boxes", np.array([[0, 0, 0, 1]], np.float32)),
        ("boxes", np.array([[0, 0, np.nan, 1]], np.float32)),
        ("confidence", np.array([1.5], np.float32)),
        ("landmarks", np.zeros((1, 4, 2), np.float32)),
        ("capped", -1),
    ],
)
def test_inconsistent_faces_are_refused(field, value):
    one = faces_at((0.1, 0.1, 0.2, 0.3))
    columns = {"boxes": one.boxes, "confidence": one.confidence, "landmarks": one.landmarks, "capped": 0}
    with pytest.raises(ValueError, match=r"disagree|area|finite|outside|capped"):
        FaceBoxes(**(columns | {field: value}))
