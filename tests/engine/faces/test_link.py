"""Joining the tracks of successive shards."""

from dataclasses import dataclass

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from engine.arrays import F32, I64, U8
from engine.faces.link import (
    TRACK_RULES,
    find_border_cuts,
    link_tracks,
    match_places,
    overlap,
    to_places,
)
from engine.faces.shots import VIEW_SIZE
from engine.faces.track import FaceTracker
from tests.engine.faces.pictures import SECOND_US, faces_at, noise, sampled

PLACES = st.tuples(st.floats(0, 0.8), st.floats(0, 0.8), st.floats(0.1, 0.2), st.floats(0.1, 0.2))
WIDTH, HEIGHT = 160, 120
HERE, THERE = (0.3, 0.3, 0.2, 0.3), (0.75, 0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Shard:
    """The columns of evidence that linking reads."""

    track: I64
    pts_us: I64
    box: F32
    samples_us: I64
    border_views: U8
    cuts_us: tuple[int, ...] = ()
    frame_width: int = WIDTH
    frame_height: int = HEIGHT


def shard(faces, *, start=0, cuts_us=(), shade=None):
    """Follow faces from second ``start`` on, in a shard of its own; ``shade`` makes the scene another one."""
    rgb = noise(len(faces), height=HEIGHT, width=WIDTH)
    if shade is not None:
        rgb = noise(len(faces), height=HEIGHT, width=WIDTH, seed=1) // 2 + np.uint8(shade)
    frames, tracker = sampled(rgb, start_us=start * SECOND_US), FaceTracker()
    tracks = tracker.update(frames, [faces_at(*boxes) for boxes in faces])
    return Shard(
        tracks.track,
        frames.pts_us[tracks.frame],
        tracks.boxes,
        frames.pts_us,
        tracker.border_views,
        cuts_us,
    )


def linked(shards):
    return [link.tolist() for link in link_tracks(shards)]


def pairs_across(shards, tracks):
    """Boxes at second 0 and at second 1 that are of one track, of which ``tracks`` says the ordinals."""
    boxes = np.concatenate([each.box for each in shards]).tolist()
    times = np.concatenate([each.pts_us for each in shards])
    ordinals = np.concatenate(tracks)
    before, after = np.flatnonzero(times == 0), np.flatnonzero(times == SECOND_US)
    return sorted((boxes[a], boxes[b]) for a in before for b in after if ordinals[a] == ordinals[b])


@given(st.lists(st.lists(PLACES, max_size=4), min_size=2, max_size=4))
@example([[(0.0, 0.0, 0.125, 0.125)], [(0.0, 0.5, 0.125, 0.1875)], [(0.0, 0.0, 0.125, 0.109375)]])
def test_faces_are_joined_across_a_border_as_they_are_within_a_shard(faces):
    shards = [shard(faces[:1]), shard(faces[1:], start=1)]
    links = link_tracks(shards)
    whole = shard(faces[:2])
    across = pairs_across(shards, [link[each.track] for link, each in zip(links, shards, strict=True)])
    assert across == pairs_across([whole], [whole.track])


def test_face_stays_one_track_over_many_shards():
    shards = [shard([[HERE], [HERE]], start=2 * n) for n in range(3)]
    assert linked(shards) == [[0], [0], [0]]


def test_new_faces_get_new_ordinals():
    shards = [shard([[HERE]]), shard([[HERE, THERE]], start=1), shard([[THERE]], start=2)]
    first, second, third = linked(shards)
    assert first == [0]
    assert sorted(second) == [0, 1]
    assert third == [1]


def test_cut_at_the_border_keeps_tracks_apart():
    shards = [shard([[HERE]]), shard([[HERE]], start=1, shade=120)]
    assert linked(shards) == [[0], [1]]
    assert find_border_cuts(shards) == [SECOND_US]
    assert find_border_cuts([shard([[HERE]]), shard([[HERE]], start=1)]) == []


def test_face_that_moves_over_a_border_stays_one_track():
    moved = (HERE[0] + 0.12, *HERE[1:])
    assert linked([shard([[HERE]]), shard([[moved]], start=1)]) == [[0], [0]]


def test_tracks_behind_a_cut_do_not_reach_the_border():
    late = shard([[], [HERE]], start=1, cuts_us=(2 * SECOND_US,))
    early = shard([[HERE], []], cuts_us=(SECOND_US,))
    assert linked([shard([[HERE]]), late]) == [[0], [1]]
    assert linked([early, shard([[HERE]], start=2)]) == [[0], [1]]
    assert linked([shard([[HERE], []]), shard([[HERE]], start=2)]) == [[0], [0]]


def test_long_absence_at_the_border_ends_the_track():
    assert linked([shard([[HERE], [], []]), shard([[], [], [HERE]], start=3)]) == [[0], [1]]


def test_shards_without_faces_or_samples_are_passed_over():
    empty = shard([[]], start=1)
    none = Shard(
        empty.track,
        empty.pts_us,
        empty.box,
        np.empty(0, np.int64),
        np.empty((0, VIEW_SIZE), np.uint8),
    )
    assert linked([shard([[HERE]]), empty, shard([[HERE]], start=2)]) == [
        [0],
        [],
        [1],
    ]
    assert linked([shard([[HERE]]), none, shard([[HERE]], start=2)]) == [[0], [], [1]]
    assert linked([]) == []


@given(st.lists(PLACES, max_size=5), st.lists(PLACES, max_size=5))
def test_each_place_is_matched_once_and_within_the_rules(before, after):
    first, second = (np.array(places, np.float32).reshape(-1, 4) for places in (before, after))
    pairs = match_places(first, second, TRACK_RULES)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    for row, column in pairs:
        sides = [np.sqrt(place[2] * place[3]) for place in (first[row], second[column])]
        shift = np.linalg.norm(
            (first[row, :2] + first[row, 2:] / 2) - (second[column, :2] + second[column, 2:] / 2)
        )
        growth = max(sides) / min(sides)
        is_near = shift <= TRACK_RULES.max_shift * sum(sides) / 2 * 1.001
        is_alone = len(before) == len(after) == 1 and growth <= TRACK_RULES.max_growth_alone * 1.001
        assert (is_near and growth <= TRACK_RULES.max_growth * 1.001) or is_alone


def test_overlap_is_intersection_over_union():
    one = np.array([[0, 0, 2, 2]], np.float32)
    others = np.array([[0, 0, 2, 2], [1, 0, 2, 2], [5, 5, 1, 1]], np.float32)
    assert np.allclose(overlap(one, others), [[1, 1 / 3, 0]])


def test_places_are_measured_in_heights_of_the_picture():
    assert np.allclose(to_places(np.array([[0.5, 0.5, 0.1, 0.1]], np.float32), 2.0), [[1, 0.5, 0.2, 0.1]])
