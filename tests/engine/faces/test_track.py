"""Following faces frame by frame."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.faces.detect import FaceBoxes
from engine.faces.link import TrackRules
from engine.faces.quality import QualityRules
from engine.faces.track import FaceTracker, FaceTracks, track_faces
from engine.results import EvidenceReason
from tests.engine.faces.pictures import (
    SECOND_US,
    detector,
    faces_at,
    noise,
    read_picture,
    sampled,
    second_by_second,
)

ANY_FACE = QualityRules(min_size_px=0, min_area_share=0, min_visible=0)
"""In these small frames every face is scored."""
PLACES = st.tuples(st.floats(0, 0.8), st.floats(0, 0.8), st.floats(0.05, 0.2), st.floats(0.05, 0.2))
CROWDS = st.lists(st.lists(PLACES, max_size=4), min_size=1, max_size=6)


def tracker(**rules):
    return FaceTracker(TrackRules(**rules), ANY_FACE)


def follow(faces, *, frames=None, step_us=SECOND_US, **rules):
    """Tracks of faces in frames without a cut, or in the frames given."""
    frames = noise(len(faces)) if frames is None else frames
    return tracker(**rules).update(sampled(frames, step_us=step_us), faces)


def ordinals(tracks):
    """For each frame the ordinals of its faces."""
    return [tracks.track[tracks.frame == frame].tolist() for frame in range(len(tracks.capped))]


def paths(tracks):
    """For each track, by ordinal, the frames and boxes it went through."""
    return {
        int(ordinal): [
            (int(frame), tuple(box))
            for frame, box in zip(
                tracks.frame[tracks.track == ordinal],
                tracks.boxes[tracks.track == ordinal].tolist(),
                strict=True,
            )
        ]
        for ordinal in np.unique(tracks.track)
    }


def test_face_that_moves_little_is_one_track():
    faces = [faces_at((0.3 + 0.02 * step, 0.3, 0.2, 0.3)) for step in range(8)]
    assert ordinals(follow(faces)) == [[0]] * 8


def test_face_elsewhere_is_another_track_where_there_are_others():
    beside = (0.4, 0.4, 0.1, 0.1)
    faces = [faces_at((0.1, 0.1, 0.1, 0.1), beside), faces_at((0.7, 0.7, 0.1, 0.1), beside)]
    tracks = follow(faces)
    assert ordinals(tracks) in ([[0, 1], [0, 2]], [[0, 1], [1, 2]])
    assert {len(path) for path in paths(tracks).values()} == {1, 2}


def test_only_face_of_a_shot_is_one_track_however_far_it_moves():
    faces = [faces_at((0.1 + 0.6 * (step % 2), 0.7 - 0.1 * step, 0.1, 0.1)) for step in range(6)]
    assert ordinals(follow(faces)) == [[0]] * 6
    assert ordinals(follow([*faces[:1], faces_at((0.7, 0.7, 0.15, 0.14))])) == [[0], [1]]


def test_face_of_another_size_in_the_same_place_is_another_track():
    faces = [faces_at((0.2, 0.2, 0.4, 0.5)), faces_at((0.35, 0.4, 0.1, 0.12))]
    assert ordinals(follow(faces)) == [[0], [1]]


@given(CROWDS, st.randoms(use_true_random=False))
def test_order_of_the_detectors_faces_changes_nothing(crowds, random):
    shuffled = []
    for boxes in crowds:
        mixed = list(boxes)
        random.shuffle(mixed)
        shuffled.append(faces_at(*mixed))
    first, second = follow([faces_at(*boxes) for boxes in crowds]), follow(shuffled)
    for field in dataclasses.fields(FaceTracks):
        assert np.array_equal(getattr(first, field.name), getattr(second, field.name)), field.name


@given(CROWDS, st.integers(1, 5))
def test_size_of_the_groups_changes_nothing(crowds, size):
    faces = [faces_at(*boxes) for boxes in crowds]
    whole = follow(faces)
    parts, following = [], tracker()
    for start in range(0, len(faces), size):
        part = faces[start : start + size]
        frames = sampled(noise(len(part)), start_us=start * SECOND_US)
        parts += ordinals(following.update(frames, part))
    assert parts == ordinals(whole)


@given(CROWDS)
def test_every_face_has_one_track_and_ordinals_leave_no_gap(crowds):
    tracks = follow([faces_at(*boxes) for boxes in crowds])
    assert len(tracks.track) == sum(len(boxes) for boxes in crowds)
    assert sorted(set(tracks.track.tolist())) == list(range(len(set(tracks.track.tolist()))))
    starts = [frames[0][0] for _, frames in sorted(paths(tracks).items())]
    assert starts == sorted(starts), "ordinals in order of first appearance"


@given(CROWDS)
def test_boxes_come_back_as_they_were(crowds):
    tracks = follow([faces_at(*boxes) for boxes in crowds])
    for frame, boxes in enumerate(crowds):
        assert sorted(tracks.boxes[tracks.frame == frame].tolist()) == sorted(faces_at(*boxes).boxes.tolist())


@given(st.floats(0.02, 0.1), st.floats(0.3, 0.6), st.integers(6, 12))
def test_two_people_who_cross_without_overlap_keep_their_tracks(step, apart, count):
    # Steps are shorter than half of their smallest distance, so that each is nearest to itself.
    faces = [
        faces_at((0.1 + step * n, 0.05, 0.12, 0.2), (0.8 - step * n, 0.05 + apart, 0.12, 0.2))
        for n in range(count)
        if 0.1 + step * n < 0.9 and 0.8 - step * n > -0.1
    ]
    tracks = follow(faces, frames=noise(len(faces), height=120, width=120))
    by_height = [tracks.track[tracks.boxes[:, 1] < 0.2], tracks.track[tracks.boxes[:, 1] > 0.2]]
    assert [len(set(each.tolist())) for each in by_height] == [1, 1]
    assert by_height[0][0] != by_height[1][0]


@given(st.lists(st.booleans(), min_size=2, max_size=8))
def test_no_track_crosses_a_cut(is_other_scene):
    scenes = noise(1)[0] // 4, 255 - noise(1, seed=1)[0] // 4  # a dark and a bright one
    frames = np.stack([scenes[int(other)] for other in is_other_scene])
    tracks = follow([faces_at((0.3, 0.3, 0.2, 0.3))] * len(frames), frames=frames)
    changes = [n for n in range(1, len(frames)) if is_other_scene[n] != is_other_scene[n - 1]]
    assert tracks.cuts_us == tuple(n * SECOND_US for n in changes)
    assert tracks.track.tolist() == np.cumsum([n in changes for n in range(len(frames))]).tolist()


def test_short_absence_is_bridged_and_a_long_one_is_not():
    here, nobody = faces_at((0.3, 0.3, 0.2, 0.3)), faces_at()
    assert ordinals(follow([here, nobody, nobody, here])) == [[0], [], [], [0]]
    assert ordinals(follow([here, nobody, nobody, nobody, here])) == [[0], [], [], [], [1]]


def test_sample_before_is_near_whatever_the_rate_of_sampling():
    here, nobody = faces_at((0.3, 0.3, 0.2, 0.3)), faces_at()
    assert ordinals(follow([here, here], step_us=24 * SECOND_US)) == [[0], [0]]
    assert ordinals(follow([here, nobody, here], step_us=24 * SECOND_US)) == [[0], [], [1]]
    assert ordinals(follow([here, here], step_us=31 * SECOND_US)) == [[0], [1]]


def grid(count):
    return [(0.01 + 0.14 * (n % 7), 0.01 + 0.14 * (n // 7), 0.1, 0.1) for n in range(count)]


def test_at_most_twenty_tracks_are_scored_and_the_rest_says_why():
    tracks = follow([faces_at(*grid(30))] * 3, frames=noise(3, height=280, width=280))
    for frame in range(3):
        reasons = [tracks.exclude[row] for row in np.flatnonzero(tracks.frame == frame)]
        assert reasons.count(None) == 20
        assert reasons.count(EvidenceReason.FACE_CAP) == 10
    scored = [{track for track, why in zip(tracks.track, tracks.exclude, strict=True) if why is None}]
    assert len(scored[0]) == 20, "the same twenty in every frame"


def test_place_of_a_track_that_ended_goes_to_one_that_waits():
    places = [faces_at(*grid(3)), *[faces_at(grid(3)[2])] * 5]
    tracks = follow(places, frames=noise(6, height=280, width=280), max_tracks=2)
    reasons = [tracks.exclude[row] for row in np.flatnonzero(tracks.track == tracks.track[-1])]
    assert reasons == [EvidenceReason.FACE_CAP] * 4 + [None] * 2


def test_faces_that_cannot_be_scored_take_no_place():
    small, large = [(0.9, 0.9, 0.01, 0.01), (0.8, 0.9, 0.01, 0.01)], (0.2, 0.2, 0.4, 0.4)
    following = FaceTracker(TrackRules(max_tracks=1), QualityRules(min_area_share=0))
    frames = sampled(noise(1, height=280, width=280))
    tracks = following.update(frames, [faces_at(*small, large)])
    assert sorted(map(str, tracks.exclude)) == ["None", "face_too_small", "face_too_small"]


def test_faces_beyond_the_detectors_limit_are_counted():
    one = faces_at((0.3, 0.3, 0.2, 0.3))
    crowded = FaceBoxes(one.boxes, one.confidence, one.landmarks, capped=7)
    assert follow([one, crowded]).capped == (0, 7)


def test_times_that_fall_are_refused():
    following = tracker()
    following.update(sampled(noise(2)), [faces_at()] * 2)
    with pytest.raises(ValueError, match="comes after"):
        following.update(sampled(noise(1)), [faces_at()])


def test_woman_who_speaks_is_one_track_and_five_people_are_five():
    following = FaceTracker()
    clip = second_by_second("WolfgangLanger_Pexels.mp4")
    for start in range(0, len(clip), 8):
        frames = sampled(clip[start : start + 8], start_us=start * SECOND_US)
        tracks = track_faces(frames, detector(), following)
        assert tracks.track.tolist() == [0] * len(frames)
    people = sampled(np.stack([read_picture("multi_face.jpg")] * 2))
    tracks = track_faces(people, detector(), FaceTracker())
    assert ordinals(tracks) == [[0, 1, 2, 3, 4]] * 2
    assert tracks.exclude == (None,) * 10


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("boxes", np.zeros((2, 3), np.float32)),
        ("sharpness", np.zeros(3, np.float32)),
        ("track", np.array([1, 0], np.int64)),
        ("track", np.array([0, 0], np.int64)),
        ("frame", np.array([-1, 0], np.int64)),
        ("exclude", (None,)),
        ("cuts_us", (5, 3)),
    ],
)
def test_inconsistent_columns_are_refused(field, value):
    good = follow([faces_at(*grid(2))], frames=noise(1, height=280, width=280))
    with pytest.raises(ValueError, match=r" is \(|ordered by|reasons for|not in order"):
        dataclasses.replace(good, **{field: value})
