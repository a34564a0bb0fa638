"""Which frames are read again for pictures of the result."""

import numpy as np

from engine.container import MediaKind
from engine.output.frames import plan_frames, plan_times
from tests.engine.output.made_results import make_probe


def test_all_frames_are_planned_each_from_its_keyframe() -> None:
    targets = plan_frames(make_probe(duration_us=2_000_000))
    assert [target.pts_us for target in targets] == list(range(0, 2_000_000, 40_000))
    assert {target.seek_us for target in targets[:25]} == {0}
    assert {target.seek_us for target in targets[25:]} == {1_000_000}


def test_a_fast_video_is_thinned_to_the_highest_rate() -> None:
    targets = plan_frames(make_probe(duration_us=2_000_000), most_hz=10)
    steps = np.diff([target.pts_us for target in targets])
    assert steps.min() >= 90_000
    assert steps.max() <= 120_000


def test_a_slow_video_keeps_every_frame() -> None:
    assert len(plan_frames(make_probe(duration_us=2_000_000), most_hz=30)) == 50


def test_times_are_sorted_and_taken_once() -> None:
    targets = plan_times(make_probe(), [1_040_000, 80_000, 1_040_000])
    assert [(target.pts_us, target.seek_us) for target in targets] == [(80_000, 0), (1_040_000, 1_000_000)]


def test_a_picture_is_one_frame() -> None:
    assert [target.pts_us for target in plan_frames(make_probe(kind=MediaKind.PICTURE))] == [0]
