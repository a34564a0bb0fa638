"""Which frames are looked at: laws over all videos, and the answers for known ones."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cli.scan_run import choose_sampling
from engine.container import Container, MediaKind
from engine.probe import Probe
from engine.sampling import (
    SamplePlan,
    SampleTarget,
    Sampling,
    cut_shards,
    grid_count,
    plan_samples,
    shot_starts,
)
from tests.engine.made_probe import make_video_probe

SECOND = 1_000_000


def even(seconds: float, *, rate: int = 25, key_every: int = 50) -> Probe:
    times = np.arange(round(seconds * rate), dtype=np.int64) * SECOND // rate
    return make_video_probe(times, times[::key_every].tolist())


def times_of(plan: SamplePlan) -> list[int]:
    return [target.pts_us for target in plan.targets]


@st.composite
def videos(draw: st.DrawFn) -> Probe:
    steps = draw(st.lists(st.sampled_from([1, 10_000, 40_000, 41_000, 3 * SECOND]), max_size=300))
    times = np.concatenate([[0], np.cumsum(np.array(steps, dtype=np.int64))]).astype(np.int64)
    keys = draw(st.lists(st.integers(0, len(times) - 1), max_size=40))
    return make_video_probe(times, sorted({0, *times[keys].tolist()}))


samplings = st.builds(
    lambda rate, low, more, shard: Sampling(rate, low, low + more, shard * SECOND),
    st.sampled_from([0.2, 1.0, 5.0]),
    st.integers(1, 40),
    st.integers(0, 100),
    st.integers(1, 200),
)


@given(videos(), samplings)
def test_every_target_is_a_frame_and_is_decoded_from_the_last_keyframe_before_it(
    probe: Probe, sampling: Sampling
) -> None:
    plan = plan_samples(probe, sampling)
    frames, keys = set(probe.frames_us.tolist()), np.array(probe.keyframes_us)
    for target in plan.targets:
        assert target.pts_us in frames
        assert target.seek_us == keys[keys <= target.pts_us][-1]


@given(videos(), samplings)
def test_the_number_of_targets_keeps_its_bounds(probe: Probe, sampling: Sampling) -> None:
    count = len(plan_samples(probe, sampling).targets)
    assert min(sampling.min_samples, probe.frame_count) <= count
    assert count <= min(sampling.max_samples, probe.frame_count)


@given(videos(), samplings)
def test_a_plan_is_the_same_every_time(probe: Probe, sampling: Sampling) -> None:
    assert plan_samples(probe, sampling) == plan_samples(replace(probe), sampling)


@given(videos(), samplings)
def test_every_announced_shot_is_seen_while_the_budget_lasts(probe: Probe, sampling: Sampling) -> None:
    chosen = np.array(times_of(plan_samples(probe, sampling)))
    starts = shot_starts(np.array(probe.keyframes_us, dtype=np.int64))
    ends = np.append(starts[1:], probe.duration_us)
    unseen = [s for s, e in zip(starts, ends, strict=True) if not np.any((chosen >= s) & (chosen < e))]
    assert not unseen or len(chosen) == min(sampling.max_samples, probe.frame_count)


@given(videos(), samplings)
def test_shards_hold_the_plan_and_no_more_than_their_length(probe: Probe, sampling: Sampling) -> None:
    plan = plan_samples(probe, sampling)
    shards = cut_shards(plan, probe, sampling)
    assert tuple(target for shard in shards for target in shard.targets) == plan.targets
    assert [shard.index for shard in shards] == list(range(len(shards)))
    assert all(0 < shard.end_us - shard.start_us <= sampling.shard_us for shard in shards)
    assert all(a.end_us <= b.start_us for a, b in pairwise(shards))


def test_a_minute_is_sampled_once_a_second_at_keyframes_where_there_is_one() -> None:
    plan = plan_samples(even(60, key_every=50))
    times = times_of(plan)
    assert len(times) == 60
    assert [t for t in times if t % (2 * SECOND) == 0] == [2 * SECOND * i for i in range(30)]
    assert max(np.diff(times)) <= 1.6 * SECOND


def test_a_short_video_gets_the_minimum_and_a_tiny_one_all_its_frames() -> None:
    assert len(plan_samples(even(4)).targets) == 32
    assert len(plan_samples(even(0.4)).targets) == 10
    assert times_of(plan_samples(make_video_probe([0], [0]))) == [0]


def test_a_long_video_gets_the_maximum_at_most() -> None:
    assert grid_count(4 * 3600 * SECOND, Sampling()) == 600
    plan = plan_samples(even(1800, rate=10, key_every=1000))
    assert len(plan.targets) == 600


def test_a_long_video_with_dense_keyframes_is_sampled_at_keyframes_alone() -> None:
    plan = plan_samples(even(1200, rate=10, key_every=25))
    assert len(plan.targets) == 481
    assert all(target.pts_us == target.seek_us for target in plan.targets[:-1])  # the end is kept in sight
    assert max(np.diff(times_of(plan))) <= 1.5 * 2 * SECOND


def test_a_target_moves_by_no_more_than_half_the_spacing() -> None:
    times = times_of(plan_samples(even(60, key_every=35)))
    middles = [SECOND // 2 + i * SECOND for i in range(60)]
    assert max(abs(t - m) for t, m in zip(times, middles, strict=True)) <= SECOND // 2


def test_a_scene_of_half_a_second_that_a_keyframe_announces_is_seen() -> None:
    probe = even(900, rate=10, key_every=100)
    keys = sorted({*probe.keyframes_us, 777_300_000})
    times = times_of(plan_samples(replace(probe, keyframes_us=tuple(keys))))
    assert 777_300_000 in times


def test_the_last_second_of_a_long_video_is_seen_if_a_cut_starts_it() -> None:
    probe = even(1200, rate=10, key_every=100)
    keys = (*probe.keyframes_us, 1_199_300_000)
    times = times_of(plan_samples(replace(probe, keyframes_us=keys)))
    assert times[-1] >= 1_199_300_000


def test_a_cut_at_every_frame_stays_within_the_budget() -> None:
    times = np.cumsum(np.tile([40_000, 30_000, 50_000], 5000)).astype(np.int64)
    probe = make_video_probe(times - times[0], (times - times[0]).tolist())
    assert len(plan_samples(probe).targets) == 600


def test_an_even_rhythm_of_keyframes_announces_no_shots() -> None:
    rhythm = np.arange(100, dtype=np.int64) * 2 * SECOND
    assert shot_starts(rhythm).tolist() == [0]
    jittered = rhythm + np.arange(100) % 3 * 40_000
    jittered[0] = 0
    assert shot_starts(jittered).tolist() == [0]


def test_keyframes_off_the_rhythm_announce_shots() -> None:
    keys = np.array([0, 2, 4, 6, 7, 9, 11, 13, 15], dtype=np.int64) * SECOND
    assert shot_starts(keys).tolist() == [0, 7 * SECOND]


def test_a_picture_that_stays_long_is_sampled_once() -> None:
    probe = make_video_probe([0, 40_000, 80_000, 60 * SECOND], [0], duration_us=61 * SECOND)
    assert times_of(plan_samples(probe)) == [0, 40_000, 80_000, 60 * SECOND]


def test_a_still_picture_is_one_target_in_one_shard() -> None:
    still = make_video_probe([0], duration_us=0)
    probe = replace(still, kind=MediaKind.PICTURE, container=Container.PNG)
    plan = plan_samples(probe)
    assert plan.targets == (SampleTarget(0, 0),)
    assert [len(shard.targets) for shard in cut_shards(plan, probe)] == [1]


def test_shards_are_cut_at_keyframes() -> None:
    probe = even(500, rate=10, key_every=70)
    shards = cut_shards(plan_samples(probe), probe)
    assert [shard.start_us for shard in shards] == [0, 119 * SECOND, 238 * SECOND, 357 * SECOND, 476 * SECOND]
    assert shards[-1].end_us == probe.duration_us


def test_a_group_longer_than_a_shard_is_cut_inside() -> None:
    probe = even(300, rate=10, key_every=100_000)
    assert [shard.start_us for shard in cut_shards(plan_samples(probe), probe)] == [
        0, 120 * SECOND, 240 * SECOND,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [{"rate_hz": 0}, {"min_samples": 0}, {"min_samples": 9, "max_samples": 8}, {"shard_us": 10}],
)
def test_senseless_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"sample|shard"):
        Sampling(**wrong)


def test_plans_refuse_disorder() -> None:
    with pytest.raises(ValueError, match="sorted"):
        SamplePlan((SampleTarget(5, 0), SampleTarget(5, 0)))
    with pytest.raises(ValueError, match="keyframe"):
        SampleTarget(5, 6)


def test_a_rate_below_the_least_number_of_samples_changes_nothing() -> None:
    from_rate = {rate: grid_count(20_000_000, choose_sampling(rate, None)) for rate in (0.1, 1.0, 1.6, 2.0)}
    assert from_rate == {0.1: 32, 1.0: 32, 1.6: 32, 2.0: 40}
    assert grid_count(20_000_000, choose_sampling(0.1, 8)) == 8  # --max-samples goes before
