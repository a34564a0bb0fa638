"""Error rates, against scikit-learn and against their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from engine.evaluation.metrics import (
    Bootstrap,
    Estimate,
    Roc,
    RocMaker,
    calibration_measure,
    compare_pairs,
    mean_measure,
)
from tests.tolerance import FLOAT64_SUMS

labelled = st.lists(
    st.tuples(st.integers(0, 12).map(lambda k: k / 12), st.integers(0, 1)), min_size=2, max_size=60
).filter(lambda rows: {label for _, label in rows} == {0, 1})


def columns(rows: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    score, label = zip(*rows, strict=True)
    return np.array(score), np.array(label)


def curve(score: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None) -> Roc:
    made = RocMaker(score, label).curve(np.ones(len(score)) if weight is None else weight)
    assert made is not None
    return made


@given(labelled)
def test_area_is_that_of_scikit_learn(rows: list[tuple[float, int]]) -> None:
    score, label = columns(rows)
    assert curve(score, label).area() == pytest.approx(
        reference.roc_auc_score(label, score), abs=FLOAT64_SUMS
    )


@given(labelled)
def test_area_is_the_chance_that_a_forged_entry_scores_higher(rows: list[tuple[float, int]]) -> None:
    score, label = columns(rows)
    gap = score[label == 1][:, None] - score[label == 0][None, :]
    expected = ((gap > 0) + 0.5 * (gap == 0)).mean()
    assert curve(score, label).area() == pytest.approx(expected, abs=FLOAT64_SUMS)


@given(labelled, st.floats(0, 1))
def test_share_found_at_a_rate_is_that_of_scikit_learns_curve(
    rows: list[tuple[float, int]], rate: float
) -> None:
    score, label = columns(rows)
    false_positive, true_positive, _ = reference.roc_curve(label, score, drop_intermediate=False)
    expected = true_positive[false_positive <= rate + 1e-12].max()
    assert curve(score, label).true_positive_at(rate) == pytest.approx(expected, abs=FLOAT64_SUMS)


@given(labelled, st.data())
def test_weights_count_as_repetitions(rows: list[tuple[float, int]], data: st.DataObject) -> None:
    score, label = columns(rows)
    weight = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    repeated = np.repeat(np.arange(len(rows)), weight)
    made = RocMaker(score, label).curve(weight.astype(np.float64))
    if len(set(label[repeated].tolist())) < 2:
        assert made is None
    else:
        assert made is not None
        expected = reference.roc_auc_score(label[repeated], score[repeated])
        assert made.area() == pytest.approx(expected, abs=FLOAT64_SUMS)


@given(labelled)
def test_equal_error_rate_lies_where_both_errors_meet(rows: list[tuple[float, int]]) -> None:
    score, label = columns(rows)
    made = curve(score, label)
    eer = made.equal_error()
    # On the curve, linear between its points, the share missed at this rate is the rate itself.
    upper = np.interp(eer, made.false_positive, made.true_positive)
    lower = 1 - np.interp(-eer, -made.false_positive[::-1], made.true_positive[::-1])
    assert min(1 - upper, lower) - 1e-9 <= eer <= max(1 - upper, lower) + 1e-9


def test_known_equal_error_rates() -> None:
    label = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    assert curve(np.arange(8.0), label).equal_error() == 0.0
    assert curve(-np.arange(8.0), label).equal_error() == 1.0
    assert curve(np.array([1, 2, 3, 6, 4, 5, 7, 8.0]), label).equal_error() == pytest.approx(0.25)
    assert curve(np.zeros(8), label).equal_error() == pytest.approx(0.5)


def test_one_kind_alone_has_no_curve() -> None:
    assert RocMaker(np.array([0.1, 0.2]), np.array([1, 1])).curve(np.ones(2)) is None
    assert RocMaker(np.empty(0), np.empty(0, np.int64)).curve(np.empty(0)) is None
    assert math.isnan(RocMaker(np.array([0.1]), np.array([1])).measure(Roc.area)(np.ones(1)))


def test_calibration_error_of_drawn_entries() -> None:
    measure = calibration_measure(np.array([0.2, 0.9]), np.array([0, 1]))
    assert measure(np.array([1.0, 1.0])) == pytest.approx((0.2 + 0.1) / 2)
    assert measure(np.array([1.0, 3.0])) == pytest.approx((0.2 + 3 * 0.1) / 4)
    assert math.isnan(measure(np.array([0.0, 3.0])))


def test_pairs_are_compared_half_by_half() -> None:
    score = np.array([0.2, 0.8, 0.5, 0.5, 0.9, 0.1, 0.7])
    label = np.array([0, 1, 0, 1, 0, 1, 1])
    names, shares = compare_pairs(score, label, ["a", "a", "b", "b", "c", "c", ""])
    assert names == ["a", "b", "c"]
    assert shares.tolist() == [1.0, 0.5, 0.0]


def test_pair_without_its_other_half_is_left_out() -> None:
    names, shares = compare_pairs(np.array([0.2, 0.8]), np.array([0, 1]), ["a", "b"])
    assert (names, shares.tolist()) == ([], [])


def test_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(11)
    hits = 0
    for _ in range(60):
        values = random.normal(0.5, 0.2, 40)
        names = [str(i) for i in range(40)]
        estimate = Bootstrap(names, 300).estimate(mean_measure(values), names)
        assert estimate.low is not None
        assert estimate.high is not None
        hits += estimate.low <= 0.5 <= estimate.high
    assert hits >= 51  # of 60; 95 % nominal, percentile intervals of 40 values are a little short


def test_frames_of_a_video_are_drawn_together() -> None:
    """Ten frames that agree are one opinion: the interval must not shrink with their number."""
    random = np.random.default_rng(12)
    values = random.random(20)
    names = [str(i) for i in range(20)]
    bootstrap = Bootstrap(names, 400)
    once = bootstrap.estimate(mean_measure(values), names)
    often = bootstrap.estimate(mean_measure(np.repeat(values, 10)), list(np.repeat(names, 10)))
    assert once.low is not None
    assert once.high is not None
    assert often.low == pytest.approx(once.low)
    assert often.high == pytest.approx(once.high)
    assert (once.count, often.count) == (20, 200)


def test_intervals_are_the_same_every_time() -> None:
    names = ["a", "b", "c"]
    values = np.array([0.0, 0.5, 1.0])
    first, second = (Bootstrap(names, 100).estimate(mean_measure(values), names) for _ in range(2))
    assert first == second


def test_what_cannot_be_measured_is_null() -> None:
    none = Estimate(None, None, None, 0)
    assert Bootstrap([], 10).estimate(mean_measure(np.empty(0)), []) == none
    one = Bootstrap(["a"], 10).estimate(mean_measure(np.array([0.3])), ["a"])
    assert one == Estimate(0.3, None, None, 1)
