"""The arithmetic of scoring and its laws."""

import itertools
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.aggregate import (
    AggregationParams,
    QualityParams,
    TrackFrames,
    bootstrap_interval,
    quality_weights,
    sigmoid,
    soft_peak,
    top_mean,
    track_logit,
    video_logit,
    window_logits,
)
from tests.tolerance import FALSE_ALARM_RATIO, FLOAT64_SUMS, peak_correction

PARAMS = AggregationParams()
logits = st.floats(-12, 12)
weights = st.floats(0.1, 1.0)


def lists(element: st.SearchStrategy[float], low: int, high: int) -> st.SearchStrategy[list[float]]:
    return st.lists(element, min_size=low, max_size=high)


def score_track(logit: list[float] | np.ndarray, weight: list[float] | np.ndarray | None = None) -> float:
    values = np.asarray(logit, np.float64)
    held = np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)
    return float(track_logit(window_logits(values, held, PARAMS), PARAMS))


def test_sigmoid_is_exact_at_zero_and_never_overflows() -> None:
    assert sigmoid(np.array([-1e9, 0.0, 1e9])).tolist() == [0.0, 0.5, 1.0]
    assert sigmoid(np.array([2.0]))[0] == pytest.approx(1 / (1 + math.exp(-2)), abs=FLOAT64_SUMS)


def test_window_is_the_weighted_mean_of_eight_successive_frames() -> None:
    windows = window_logits(np.arange(8.0), np.array([1, 1, 1, 1, 1, 1, 1, 0.5]), PARAMS)
    assert windows.tolist() == [pytest.approx((sum(range(7)) + 3.5) / 7.5, abs=FLOAT64_SUMS)]


def test_windows_slide_by_one_sample() -> None:
    assert window_logits(np.arange(10.0) / 2, np.ones(10), PARAMS).tolist() == pytest.approx(
        [1.75, 2.25, 2.75]
    )


def test_window_refuses_fewer_frames_than_it_holds() -> None:
    with pytest.raises(ValueError, match="7 scored frames"):
        window_logits(np.zeros(7), np.ones(7), PARAMS)


@given(st.permutations(range(8)), lists(logits, 8, 8), lists(weights, 8, 8))
def test_permutation_of_frames_inside_a_window_changes_nothing(
    order: list[int], logit: list[float], weight: list[float]
) -> None:
    values, held = np.array(logit), np.array(weight)
    before = TrackFrames(values, held)
    after = TrackFrames(values[order], held[order])
    assert score_track(after.logit, after.weight) == score_track(before.logit, before.weight)
    intervals = [bootstrap_interval([track], PARAMS, replicates=40, seed=1) for track in (before, after)]
    assert intervals[0] == intervals[1]


@given(st.integers(0, 12), st.permutations(range(8)), lists(logits, 20, 20))
def test_a_window_anywhere_in_a_track_does_not_know_the_order_of_its_frames(
    start: int, order: list[int], logit: list[float]
) -> None:
    values = np.array(logit)
    shuffled = values.copy()
    shuffled[start : start + 8] = values[start : start + 8][order]
    held = np.ones(20)
    assert window_logits(shuffled, held, PARAMS)[start] == window_logits(values, held, PARAMS)[start]


@given(lists(logits, 8, 40))
def test_time_has_no_direction(logit: list[float]) -> None:
    assert score_track(logit[::-1]) == pytest.approx(score_track(logit), abs=FLOAT64_SUMS)


@given(lists(logits, 8, 30), st.integers(0, 29), st.floats(0, 5))
def test_a_higher_frame_never_lowers_its_track(logit: list[float], place: int, more: float) -> None:
    raised = list(logit)
    raised[place % len(logit)] += more
    assert score_track(raised) >= score_track(logit) - FLOAT64_SUMS


@given(lists(logits, 1, 30), st.floats(0.05, 3))
def test_soft_peak_lies_below_the_maximum_by_no_more_than_the_stated_correction(
    values: list[float], scale: float
) -> None:
    peak = float(soft_peak(np.array(values), scale))
    assert peak <= max(values) + FLOAT64_SUMS
    assert peak >= max(values) - peak_correction(len(values), scale) - FLOAT64_SUMS


@given(lists(logits, 1, 20), logits)
def test_one_more_track_lowers_the_video_by_no_more_than_the_stated_correction(
    tracks: list[float], more: float
) -> None:
    n = len(tracks)
    before, after = video_logit(np.array(tracks), PARAMS), video_logit(np.array([*tracks, more]), PARAMS)
    allowed = peak_correction(n + 1, PARAMS.track_scale) - peak_correction(n, PARAMS.track_scale)
    assert float(after) >= float(before) - allowed - FLOAT64_SUMS


@given(lists(logits, 1, 20), st.integers(2, 5))
def test_repeated_items_change_neither_peak_nor_top_mean(values: list[float], times: int) -> None:
    once, often = np.array(values), np.array(values * times)
    assert float(soft_peak(often, 0.6)) == pytest.approx(float(soft_peak(once, 0.6)), abs=FLOAT64_SUMS)
    assert float(top_mean(often, 0.25)) == pytest.approx(float(top_mean(once, 0.25)), abs=FLOAT64_SUMS)


@given(st.permutations(range(6)), lists(logits, 6, 6))
def test_order_of_tracks_does_not_show(order: list[int], tracks: list[float]) -> None:
    values = np.array(tracks)
    assert float(video_logit(values[order], PARAMS)) == float(video_logit(values, PARAMS))


def test_top_mean_counts_an_item_on_the_edge_in_part() -> None:
    # A quarter of 6 is 1.5 items: the highest and half of the next.
    assert float(top_mean(np.array([1.0, 6, 2, 5, 3, 4]), 0.25)) == pytest.approx((6 + 2.5) / 1.5)


def test_track_is_half_peak_and_half_top_quarter() -> None:
    windows = np.array([0.0, 1.0, 2.0, 3.0])
    peak = 0.25 * math.log(sum(math.exp(4 * x) for x in windows) / 4)
    assert float(track_logit(windows, PARAMS)) == pytest.approx(0.5 * peak + 0.5 * 3.0, abs=FLOAT64_SUMS)


def test_one_wild_frame_moves_a_window_by_no_more_than_its_limit_allows() -> None:
    calm = [-3.0] * 32
    assert score_track([*calm[:10], 1000.0, *calm[11:]]) <= -3.0 + (8.0 + 3.0) / 8


def test_interval_encloses_the_score_and_is_the_same_every_time() -> None:
    random = np.random.default_rng(5)
    track = TrackFrames(random.normal(0, 1, 32), np.ones(32))
    first = bootstrap_interval([track], PARAMS, replicates=200, seed=1)
    assert first == bootstrap_interval([track], PARAMS, replicates=200, seed=1)
    assert first is not None
    assert first[0] < score_track(track.logit) < first[1]


def test_interval_narrows_with_frames_that_agree() -> None:
    random = np.random.default_rng(6)
    noise = random.normal(0, 1, 64)
    wide, narrow = (
        bootstrap_interval([TrackFrames(scale * noise, np.ones(64))], PARAMS, replicates=200, seed=1)
        for scale in (1.0, 0.1)
    )
    assert wide is not None
    assert narrow is not None
    assert narrow[1] - narrow[0] < 0.2 * (wide[1] - wide[0])


def test_single_frames_have_no_interval() -> None:
    assert bootstrap_interval([TrackFrames(np.zeros(1), np.ones(1))], PARAMS, replicates=40, seed=1) is None


def test_quality_weights_fall_with_everything_that_hides_a_face_and_keep_a_floor() -> None:
    def weight(size: float, sharp: float, yaw: float, confidence: float) -> float:
        columns = [np.array([v], np.float32) for v in (size, sharp, yaw, confidence)]
        return float(quality_weights(*columns, QualityParams())[0])

    best = weight(200, 200, 0, 1)
    assert best == 1.0
    assert weight(48, 200, 0, 1) == pytest.approx(0.5)
    assert weight(200, 10, 0, 1) == pytest.approx(0.5)
    assert weight(200, 200, -60, 1) == pytest.approx(0.5)
    assert weight(200, 200, 0, 0.9) == pytest.approx(0.9)
    assert weight(1, 1, 80, 0.1) == pytest.approx(0.1)


# The noise of real videos: offsets of video and person, frames half of whose noise lasts (correlation 0.5
# between neighbours), 2 % wild frames. The same as in docs/explanation/scoring.md.
def draw_real(random: np.random.Generator, videos: int, tracks: int, frames: int) -> np.ndarray:
    lasting = random.normal(size=(videos, tracks, frames))
    for i in range(1, frames):
        lasting[..., i] = 0.5 * lasting[..., i - 1] + math.sqrt(0.75) * lasting[..., i]
    noise = math.sqrt(0.5) * (lasting + random.normal(size=lasting.shape))
    wild = (random.random(lasting.shape) < 0.02) * random.normal(0, 4, lasting.shape)
    offset = random.normal(0, 0.8, (videos, 1, 1)) + random.normal(0, 0.8, (videos, tracks, 1))
    return -3 + offset + noise + wild


def score_videos(logit: np.ndarray, *, corrected: bool) -> np.ndarray:
    windows = window_logits(logit, np.ones(logit.shape[-1]), PARAMS)
    if corrected:
        return video_logit(track_logit(windows, PARAMS), PARAMS)
    return (0.5 * windows.max(axis=-1) + 0.5 * top_mean(windows, PARAMS.top_share)).max(axis=-1)


@cache
def draw_buckets() -> dict[tuple[int, int], np.ndarray]:
    """Real videos by number of tracks and of samples, centred."""
    random = np.random.default_rng(7)
    return {
        (tracks, frames): draw_real(random, 2500, tracks, frames) + 3
        for tracks, frames in itertools.product((1, 3, 8), (32, 60, 180))
    }


def false_alarm_rates(*, corrected: bool, rate: float, spread: float = 1.0) -> dict[tuple[int, int], float]:
    """Return the false alarms by number of tracks and of samples, at the threshold of one face for 32 s.

    ``spread`` is how much wider than drawn the network's logits scatter.
    """
    scores = {
        bucket: score_videos(spread * logit - 3, corrected=corrected)
        for bucket, logit in draw_buckets().items()
    }
    threshold = np.quantile(scores[1, 32], 1 - rate)
    return {bucket: float((values > threshold).mean()) for bucket, values in scores.items()}


@pytest.mark.parametrize("spread", [1.0, 1.7])
def test_false_alarms_stay_within_twice_over_numbers_of_people_and_durations(spread: float) -> None:
    rates = false_alarm_rates(corrected=True, rate=0.05, spread=spread)
    assert max(rates.values()) / min(rates.values()) <= FALSE_ALARM_RATIO
    assert max(rates.values()) <= FALSE_ALARM_RATIO * 0.05


def test_scales_are_those_of_the_drawn_videos() -> None:
    """Half of the spread is the measure that an evaluation takes of a network (``RealTails``)."""
    windows = window_logits(draw_buckets()[1, 60], np.ones(60), PARAMS)
    gaps = windows - windows.mean(axis=-1, keepdims=True)
    assert track_logit(windows, PARAMS).std() / 2 == pytest.approx(PARAMS.track_scale, rel=0.15)
    assert gaps.std() / 2 == pytest.approx(PARAMS.window_scale, rel=0.15)


def test_plain_maximum_would_call_crowds_forged() -> None:
    rates = false_alarm_rates(corrected=False, rate=0.05)
    assert rates[8, 180] > 5 * rates[1, 32]


def test_forged_span_is_found_wherever_it_lies() -> None:
    """Eight forged samples among twenty, four logits above the rest: at most a quarter may be missed."""
    random = np.random.default_rng(8)
    real = draw_real(random, 3000, 1, 20)
    threshold = np.quantile(score_videos(real, corrected=True), 0.95)
    forged = draw_real(random, 3000, 1, 20)
    start = random.integers(0, 13, 3000)[:, None]
    forged[:, 0] += 4.0 * ((np.arange(20) >= start) & (np.arange(20) < start + 8))
    assert (score_videos(forged, corrected=True) > threshold).mean() > 0.75
