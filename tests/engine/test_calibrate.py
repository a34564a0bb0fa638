"""Calibrations and thresholds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression

from engine.calibrate import (
    Calibration,
    CalibrationMethod,
    TooFewLabels,
    brier_score,
    clopper_pearson_upper,
    expected_calibration_error,
    fit_calibration,
    fit_platt,
    fit_tail_scale,
    fit_temperature,
    fit_threshold,
    move_thresholds,
    to_logit,
)
from tests.tolerance import FITTED_SLOPE


def draw(count: int, slope: float, intercept: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Draw logits and labels whose true posterior is sigmoid(slope * logit + intercept)."""
    random = np.random.default_rng(seed)
    logit = random.normal(0, 3, count)
    p = 1 / (1 + np.exp(-(slope * logit + intercept)))
    return logit, (random.random(count) < p).astype(np.int64)


def test_platt_finds_the_slope_and_intercept_of_drawn_labels() -> None:
    logit, label = draw(20_000, 0.5, 0.7)
    prior = float(label.mean())
    fitted = fit_platt(logit, label, fitted_on="drawn", prior=prior)
    assert fitted.slope == pytest.approx(0.5, abs=FITTED_SLOPE)
    assert fitted.intercept == pytest.approx(0.7, abs=FITTED_SLOPE)
    assert fitted.ece is not None
    assert fitted.ece < 0.02


def test_platt_agrees_with_an_independent_logistic_regression() -> None:
    logit, label = draw(5_000, 0.8, 0.0)
    fitted = fit_platt(logit, label, fitted_on="drawn")
    other = LogisticRegression(C=np.inf, class_weight="balanced").fit(logit[:, None], label)
    assert fitted.slope == pytest.approx(other.coef_[0, 0], abs=FITTED_SLOPE)
    assert fitted.intercept == pytest.approx(other.intercept_[0], abs=FITTED_SLOPE)


def test_prior_moves_the_intercept_by_its_log_odds() -> None:
    logit, label = draw(4_000, 1.0, 0.0)
    even, rare = (fit_platt(logit, label, fitted_on="drawn", prior=p) for p in (0.5, 0.01))
    assert rare.intercept - even.intercept == pytest.approx(math.log(0.01 / 0.99), abs=0.4)
    assert rare.slope == pytest.approx(even.slope, abs=0.2)


def test_temperature_softens_what_is_too_sure() -> None:
    logit, label = draw(400, 0.25, 0.0)
    fitted = fit_temperature(logit, label, fitted_on="drawn")
    assert fitted.slope == pytest.approx(0.25, abs=0.06)
    assert fitted.intercept == 0.0
    assert fitted.apply(np.array([0.0])).tolist() == [0.5]


def test_kinds_that_do_not_overlap_give_a_finite_slope() -> None:
    logit = np.concatenate([np.linspace(-5, -1, 300), np.linspace(1, 5, 300)])
    label = np.repeat([0, 1], 300)
    fitted = fit_platt(logit, label, fitted_on="apart")
    assert 0 < fitted.slope < 100
    assert fitted.apply(np.array([-5.0, 5.0])).round(2).tolist() == [0.0, 1.0]


def test_method_follows_the_number_of_labels() -> None:
    assert fit_calibration(*draw(500, 1, 0), fitted_on="a").method is CalibrationMethod.PLATT
    assert fit_calibration(*draw(499, 1, 0), fitted_on="a").method is CalibrationMethod.TEMPERATURE


def test_too_few_labels_are_refused() -> None:
    logit, label = draw(49, 1, 0)
    with pytest.raises(TooFewLabels, match="49 videos"):
        fit_calibration(logit, label, fitted_on="few")
    with pytest.raises(TooFewLabels, match="19 of the rarer"):
        fit_calibration(np.zeros(100), (np.arange(100) < 19).astype(np.int64), fitted_on="few")


def test_scores_that_point_the_wrong_way_are_refused() -> None:
    logit, label = draw(1000, 1, 0)
    with pytest.raises(ValueError, match="order"):
        fit_platt(-logit, label, fitted_on="wrong")


def test_calibration_survives_its_json_form() -> None:
    fitted = fit_platt(*draw(600, 1, 0), fitted_on="drawn")
    assert Calibration.from_json(fitted.to_json()) == fitted


@pytest.mark.parametrize(
    "wrong",
    [{"slope": "1"}, {"slope": -1.0}, {"count": 3}, {"method": "magic"}, {"prior": 1.0}, {"fitted_on": ""}],
)
def test_wrong_json_form_is_refused(wrong: dict[str, object]) -> None:
    form = fit_platt(*draw(600, 1, 0), fitted_on="drawn").to_json() | wrong
    with pytest.raises(ValueError, match=r"."):
        Calibration.from_json(form)


def test_calibration_error_is_nought_for_honest_and_large_for_boasting_scores() -> None:
    label = np.repeat([0, 1, 1, 1], 150)
    assert expected_calibration_error(np.full(600, 0.75), np.random.default_rng(0).permutation(label)) < 0.1
    assert expected_calibration_error(np.full(600, 1.0), label) == pytest.approx(0.25)
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([0, 1])) == 0.0


def test_calibration_error_follows_its_definition_over_bins_of_equal_mass() -> None:
    p = np.array([0.1, 0.2, 0.8, 0.9])
    label = np.array([0, 1, 1, 1])
    assert expected_calibration_error(p, label, bins=2) == pytest.approx(
        (abs(0.15 - 0.5) + abs(0.85 - 1)) / 2
    )


def test_brier_score_is_the_mean_squared_distance() -> None:
    assert brier_score(np.array([0.5, 1.0]), np.array([0, 1])) == 0.125


def test_threshold_lets_no_more_than_the_target_pass() -> None:
    scores = np.linspace(0, 0.999, 1000)
    fitted = fit_threshold(scores, 0.05)
    assert (scores >= fitted.threshold).sum() == 50 == fitted.exceedances
    assert not fitted.extrapolated
    assert fitted.upper_bound == pytest.approx(stats.beta.ppf(0.95, 51, 950), abs=1e-9)


def test_ties_at_the_threshold_do_not_pass() -> None:
    scores = np.concatenate([np.full(500, 0.4), np.full(500, 0.1)])
    fitted = fit_threshold(scores, 0.1)
    assert fitted.exceedances == 0
    assert 0.4 < fitted.threshold < 0.401


def test_threshold_from_the_tail_is_marked_and_near_the_truth() -> None:
    random = np.random.default_rng(4)
    scores = 1 / (1 + np.exp(-random.logistic(-3, 0.7, 500)))
    fitted = fit_threshold(scores, 0.001)
    assert fitted.extrapolated
    truth = -3 + 0.7 * math.log(0.999 / 0.001)
    assert math.log(fitted.threshold / (1 - fitted.threshold)) == pytest.approx(truth, abs=1.0)
    assert fitted.upper_bound > 0.001


@given(st.integers(30, 200), st.floats(0.01, 0.5), st.integers(0, 50))
def test_a_smaller_target_never_lowers_the_threshold(count: int, rate: float, seed: int) -> None:
    scores = np.random.default_rng(seed).random(count)
    strict, loose = fit_threshold(scores, rate / 2), fit_threshold(scores, rate)
    if strict.extrapolated == loose.extrapolated:
        assert strict.threshold >= loose.threshold


def test_threshold_needs_real_videos() -> None:
    with pytest.raises(TooFewLabels, match="29 real"):
        fit_threshold(np.zeros(29), 0.1)


@pytest.mark.parametrize(("hits", "count"), [(0, 3000), (1, 11), (5, 50), (43, 43_000), (999, 1000)])
def test_upper_bound_is_that_of_clopper_and_pearson(hits: int, count: int) -> None:
    assert clopper_pearson_upper(hits, count) == pytest.approx(
        stats.beta.ppf(0.95, hits + 1, count - hits), abs=1e-9
    )
    assert clopper_pearson_upper(count, count) == 1.0


def test_rule_of_three() -> None:
    assert clopper_pearson_upper(0, 3000) == pytest.approx(0.001, abs=5e-5)


def test_tail_scale_of_an_exponential_is_its_scale() -> None:
    values = np.random.default_rng(0).exponential(0.7, 20_000)
    assert fit_tail_scale(values) == pytest.approx(0.7, abs=0.05)


def test_thresholds_move_with_the_scale_and_the_same_inputs_pass() -> None:
    logit, label = draw(2_000, 0.6, 0.4)
    raw = 1 / (1 + np.exp(-logit[label == 0]))
    fitted = [fit_threshold(raw, rate) for rate in (0.1, 0.01)]
    first, second = fit_platt(logit, label, fitted_on="a"), fit_platt(logit, label, fitted_on="b", prior=0.01)
    moved = move_thresholds(fitted, None, first)
    again = move_thresholds(moved, first, second)
    for calibration, thresholds in ((first, moved), (second, again)):
        scores = calibration.apply(to_logit(raw))
        for before, after in zip(fitted, thresholds, strict=True):
            assert int((scores >= after.threshold).sum()) == before.exceedances == after.exceedances
            assert after.fpr_target == before.fpr_target


def test_a_probability_leads_back_to_its_logit() -> None:
    fitted = fit_platt(*draw(600, 0.7, 0.3), fitted_on="drawn")
    logit = np.array([-6.0, 0.0, 2.5])
    assert fitted.invert(fitted.apply(logit)) == pytest.approx(logit, abs=1e-9)
