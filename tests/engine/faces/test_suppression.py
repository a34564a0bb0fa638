"""Non-maximum suppression and the two manipulations of boxes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.faces.suppression import shift_boxes, square_boxes, suppress, suppress_groups

CORNERS = st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 12)] * 2)
SETS = st.lists(CORNERS, min_size=1, max_size=12)


def boxes_of(corners):
    array = np.array(corners, np.float32).reshape(-1, 4)
    return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)


def share(first, second, measure):
    extra = 1 if measure == "smaller" else 0
    size = [box[2:] - box[:2] + extra for box in (first, second)]
    common = np.clip(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]) + extra, 0, None)
    areas = [side.prod() for side in size]
    whole = min(areas) if measure == "smaller" else sum(areas) - common.prod()
    return common.prod() / whole


@pytest.mark.parametrize("measure", ["union", "smaller"])
@given(corners=SETS, limit=st.sampled_from([0.3, 0.5, 0.7]))
def test_kept_boxes_stay_apart_and_dropped_ones_lie_on_a_better_one(measure, corners, limit):
    boxes = boxes_of(corners)
    scores = np.linspace(1, 0.5, len(boxes)).astype(np.float32)[::-1].copy()
    kept = suppress(boxes, scores, limit, measure).tolist()
    assert kept == sorted(kept, reverse=True), "best first"
    for place, first in enumerate(kept):
        for second in kept[place + 1 :]:
            assert share(boxes[first], boxes[second], measure) <= limit
    for dropped in set(range(len(boxes))) - set(kept):
        better = [best for best in kept if best > dropped]
        assert any(share(boxes[best], boxes[dropped], measure) > limit for best in better)


def test_equal_scores_keep_their_order():
    boxes = boxes_of([(0, 0, 10, 10), (1, 0, 10, 10)])
    assert suppress(boxes, np.ones(2, np.float32), 0.5).tolist() == [0]


@given(SETS, st.data())
def test_groups_are_suppressed_as_if_alone(corners, data):
    boxes = boxes_of(corners)
    scores = np.linspace(0.5, 1, len(boxes)).astype(np.float32)
    group = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(boxes), max_size=len(boxes))))
    together = suppress_groups(boxes, scores, group, 0.5)
    for number in range(3):
        members = np.flatnonzero(group == number)
        alone = members[suppress(boxes[members], scores[members], 0.5)]
        assert [row for row in together if group[row] == number] == alone.tolist()


def test_no_boxes_give_no_rows():
    nothing = np.empty((0, 4), np.float32)
    assert suppress(nothing, nothing[:, 0], 0.5).shape == (0,)
    assert suppress_groups(nothing, nothing[:, 0], np.empty(0, np.int64), 0.5).shape == (0,)


def test_offsets_are_shares_of_the_boxs_sides():
    box = np.array([[10, 20, 20, 40]], np.float32)
    offsets = np.array([[0.1, 0.1, -0.1, 0.5]], np.float32)
    assert shift_boxes(box, offsets, 0.0).tolist() == [[11, 22, 19, 50]]
    assert np.allclose(shift_boxes(box, offsets, 1.0), [[11.1, 22.1, 18.9, 50.5]])


def test_square_keeps_the_centre_and_the_longer_side():
    assert square_boxes(np.array([[0, 0, 10, 20]], np.float32)).tolist() == [[-5, 0, 15, 20]]


@pytest.mark.parametrize("measure", ["union", "smaller"])
def test_many_boxes_are_chosen_as_one_by_one(measure):
    random = np.random.default_rng(3)  # more than a block, so close that most go, with equal scores
    boxes = boxes_of(np.hstack([random.integers(0, 90, (300, 2)), random.integers(5, 20, (300, 2))]))
    scores = random.integers(0, 10, 300).astype(np.float32)
    kept: list[int] = []
    for place in np.argsort(-scores, kind="stable").tolist():
        if all(share(boxes[other], boxes[place], measure) <= 0.5 for other in kept):
            kept.append(place)
    assert len(kept) > 70
    assert suppress(boxes, scores, 0.5, measure).tolist() == kept
