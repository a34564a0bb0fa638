"""What a score is worth: probabilities fitted on labelled videos, and thresholds fitted on real ones.

A calibration turns the video's logit into P(manipulated) at a stated prior. It holds for material like that
on which it was fitted and promises nothing elsewhere. Where none was fitted, nothing is called calibrated.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from engine.aggregate import sigmoid
from engine.arrays import F64, I64
from engine.policy import Threshold

PLATT_COUNT = 500
"""From this many labelled videos on slope and intercept are fitted, below it the slope alone."""
LEAST_COUNT = 50
LEAST_PER_LABEL = 20
"""Fewer than these are refused: the fit would be noise."""
ECE_BINS = 15
LEAST_EXCEEDANCES = 10
LEAST_REAL = 30
CONFIDENCE = 0.95
_EDGE = 1e-12


class TooFewLabels(ValueError):
    """Not enough labelled videos to fit on."""


class CalibrationMethod(StrEnum):
    """How a calibration was fitted."""

    PLATT = "platt"
    TEMPERATURE = "temperature"


@dataclass(frozen=True)
class Calibration:
    """P(manipulated) = 1 / (1 + exp(-(slope * logit + intercept))), at the prior that it was fitted for."""

    method: CalibrationMethod
    slope: float
    intercept: float
    prior: float  # share of manipulated videos that the probability assumes
    count: int  # labelled inputs: videos or pictures
    fitted_on: str  # name of the set
    ece: float | None = None  # expected calibration error on the set itself
    brier: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept)) or self.slope <= 0:
            raise ValueError(
                f"slope {self.slope} and intercept {self.intercept} do not keep the order of scores"
            )
        if not 0.0 < self.prior < 1.0 or self.count < LEAST_COUNT or not self.fitted_on:
            raise ValueError("a calibration states its prior, its set and at least the least count")

    def apply(self, logit: F64) -> F64:
        """Return P(manipulated) for video logits of any shape."""
        return sigmoid(self.slope * np.asarray(logit, np.float64) + self.intercept)

    def invert(self, probability: F64) -> F64:
        """Return the video logits whose P(manipulated) these are."""
        return (to_logit(probability) - self.intercept) / self.slope

    def to_json(self) -> dict[str, str | float | int | None]:
        """Return the form that stands in a bundle's manifest."""
        return {
            "method": self.method.value,
            "slope": self.slope,
            "intercept": self.intercept,
            "prior": self.prior,
            "count": self.count,
            "fitted_on": self.fitted_on,
            "ece": self.ece,
            "brier": self.brier,
        }

    @classmethod
    def from_json(cls, form: Mapping[str, str | float | int | None]) -> "Calibration":
        """Read the form of ``to_json``. Raises ValueError for missing or wrong fields."""
        return cls(
            method=CalibrationMethod(form.get("method")),
            slope=_number(form, "slope"),
            intercept=_number(form, "intercept"),
            prior=_number(form, "prior"),
            count=int(_number(form, "count")),
            fitted_on=str(form.get("fitted_on") or ""),
            ece=None if form.get("ece") is None else _number(form, "ece"),
            brier=None if form.get("brier") is None else _number(form, "brier"),
        )


def to_logit(score: F64) -> F64:
    """Turn scores back into log odds; those of 0 and 1, which only rounding gives, become large ones."""
    limited = np.clip(np.asarray(score, np.float64), _EDGE, 1 - _EDGE)
    return np.log(limited / (1 - limited))


def move_thresholds(
    thresholds: Sequence[Threshold], before: Calibration | None, after: Calibration
) -> tuple[Threshold, ...]:
    """Bring thresholds to the scale of another calibration: the same inputs lie above them.

    They are on the scale of ``before``, or on that of raw scores where it is None.
    """
    values = np.array([each.threshold for each in thresholds], np.float64)
    moved = after.apply(to_logit(values) if before is None else before.invert(values))
    return tuple(replace(each, threshold=float(value)) for each, value in zip(thresholds, moved, strict=True))


def _number(form: Mapping[str, str | float | int | None], name: str) -> float:
    value = form.get(name)
    if value is None or isinstance(value, str | bool):
        raise ValueError(f"the calibration's {name} is {value!r}")
    return float(value)


def fit_calibration(logit: F64, label: I64, *, fitted_on: str, prior: float = 0.5) -> Calibration:
    """Fit what the count allows: slope and intercept from ``PLATT_COUNT`` videos on, else the slope alone.

    ``logit`` [n] of videos, ``label`` [n] 0 real, 1 manipulated. Raises TooFewLabels below ``LEAST_COUNT``
    videos or ``LEAST_PER_LABEL`` of a kind, ValueError if higher logits do not mean manipulated.
    """
    if len(label) >= PLATT_COUNT:
        return fit_platt(logit, label, fitted_on=fitted_on, prior=prior)
    return fit_temperature(logit, label, fitted_on=fitted_on, prior=prior)


def fit_platt(logit: F64, label: I64, *, fitted_on: str, prior: float = 0.5) -> Calibration:
    """Fit slope and intercept by logistic regression with Platt's smoothed targets (1999, section 2.2)."""
    _check_labels(logit, label)
    columns = np.stack([logit, np.ones_like(logit)], axis=1)
    slope, intercept = _regress(columns, np.zeros_like(logit), label, prior)
    fitted = Calibration(CalibrationMethod.PLATT, slope, intercept, prior, len(label), fitted_on)
    return _rate(fitted, logit, label)


def fit_temperature(logit: F64, label: I64, *, fitted_on: str, prior: float = 0.5) -> Calibration:
    """Fit the slope alone; a logit of 0 means the prior."""
    _check_labels(logit, label)
    offset = math.log(prior / (1.0 - prior))
    (slope,) = _regress(logit[:, None], np.full_like(logit, offset), label, prior)
    fitted = Calibration(CalibrationMethod.TEMPERATURE, slope, offset, prior, len(label), fitted_on)
    return _rate(fitted, logit, label)


def _check_labels(logit: F64, label: I64) -> None:
    if logit.shape != label.shape or logit.ndim != 1 or not np.isfinite(logit).all():
        raise ValueError("logits and labels are two columns of finite numbers")
    if not np.isin(label, (0, 1)).all():
        raise ValueError("a label is 0 (real) or 1 (manipulated)")
    fewer = int(min(label.sum(), len(label) - label.sum()))
    if len(label) < LEAST_COUNT or fewer < LEAST_PER_LABEL:
        raise TooFewLabels(
            f"{len(label)} videos with {fewer} of the rarer kind; "
            f"a calibration needs {LEAST_COUNT} with {LEAST_PER_LABEL} of each"
        )


def _regress(columns: F64, offset: F64, label: I64, prior: float) -> list[float]:
    """Fit weights of ``columns`` [n, d] by Newton's method, each kind weighted to its share under the prior.

    Platt's targets stay off 0 and 1, so the optimum is finite even where the kinds do not overlap.
    """
    positives = int(label.sum())
    negatives = len(label) - positives
    target = np.where(label == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    weight = np.where(label == 1, prior / positives, (1 - prior) / negatives)
    beta = np.zeros(columns.shape[1])
    for _ in range(200):
        p = sigmoid(columns @ beta + offset)
        gradient = columns.T @ (weight * (p - target))
        curvature = (columns * (weight * p * (1 - p))[:, None]).T @ columns
        step = np.linalg.solve(curvature + 1e-12 * np.eye(len(beta)), gradient)
        # Far from the optimum the curvature vanishes and a full step would overshoot.
        beta = beta - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            return [float(value) for value in beta]
    raise ValueError("the calibration did not converge")


def _rate(fitted: Calibration, logit: F64, label: I64) -> Calibration:
    """Return the calibration with its errors on the set that it was fitted on."""
    p = fitted.apply(logit)
    return replace(fitted, ece=expected_calibration_error(p, label), brier=brier_score(p, label))


def expected_calibration_error(probability: F64, label: I64, bins: int = ECE_BINS) -> float:
    """Return the mean distance between stated and found share of manipulated, over bins of equal mass.

    With fewer than ``bins`` videos each is a bin of its own.
    """
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [abs(probability[part].mean() - label[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(order))


def brier_score(probability: F64, label: I64) -> float:
    """Return the mean squared distance between probability and label."""
    return float(np.square(probability - label).mean())


def fit_threshold(real_score: F64, fpr_target: float) -> Threshold:
    """Return the score that a share ``fpr_target`` of real videos reaches.

    ``real_score`` [n] are scores 0 to 1 of real videos alone, on the scale that verdicts use. With fewer than
    ``LEAST_EXCEEDANCES`` videos above it the threshold comes from an exponential tail fitted to the logits of
    the highest tenth (at least ten), and says so. Raises TooFewLabels below ``LEAST_REAL`` videos.
    """
    count = len(real_score)
    if count < LEAST_REAL:
        raise TooFewLabels(f"{count} real inputs; a threshold needs {LEAST_REAL}")
    if not 0.0 < fpr_target < 1.0 or not bool(((real_score >= 0) & (real_score <= 1)).all()):
        raise ValueError("scores lie in 0 to 1 and a target rate strictly between")
    falling = -np.sort(-real_score.astype(np.float64))
    allowed = math.floor(fpr_target * count + 1e-9)
    extrapolated = allowed < LEAST_EXCEEDANCES
    if extrapolated:
        threshold = _tail_threshold(falling, fpr_target)
    else:
        threshold = float(falling[allowed - 1] + falling[allowed]) / 2
    if threshold <= falling[allowed] and not extrapolated:
        threshold = min(1.0, math.nextafter(float(falling[allowed]), 2.0))  # ties: none of them may pass
    exceedances = int((falling >= threshold).sum())
    bound = clopper_pearson_upper(exceedances, count)
    return Threshold(fpr_target, threshold, bound, exceedances, count, extrapolated)


def _tail_threshold(falling: F64, fpr_target: float) -> float:
    """Follow the exponential tail of the logits beyond the highest tenth, or the highest ten."""
    count = len(falling)
    held = max(LEAST_EXCEEDANCES, count // 10)
    limited = np.clip(falling, 1e-12, 1.0 - 1e-12)
    logits = np.log(limited / (1.0 - limited))
    start, scale = float(logits[held]), fit_tail_scale(logits, held / count)
    return 1.0 / (1.0 + math.exp(-(start + scale * math.log(held / count / fpr_target))))


def fit_tail_scale(values: F64, share: float = 0.1) -> float:
    """Return the scale of an exponential tail: the mean of the highest ``share`` less its lower end."""
    falling = -np.sort(-values)
    held = max(1, round(share * len(falling)))
    if held >= len(falling):
        raise TooFewLabels(f"{len(falling)} values have no tail of {share}")
    return float((falling[:held] - falling[held]).mean())


def clopper_pearson_upper(hits: int, count: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound of a rate of which ``hits`` of ``count`` were seen."""
    if not 0 <= hits <= count or count < 1:
        raise ValueError(f"{hits} hits of {count}")
    if hits == count:
        return 1.0
    low, high = hits / count, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _binomial_cdf(hits, count, middle) > 1.0 - confidence:
            low = middle
        else:
            high = middle
    return high


def _binomial_cdf(hits: int, count: int, rate: float) -> float:
    """Return P(at most ``hits`` of ``count``), summed in logarithms."""
    if rate >= 1.0:
        return 0.0
    if rate <= 0.0:
        return 1.0
    terms = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        + k * math.log(rate) + (count - k) * math.log1p(-rate)
        for k in range(hits + 1)
    ]  # fmt: skip
    top = max(terms)
    return math.exp(top) * sum(math.exp(term - top) for term in terms)
