"""Platt scaling and temperature in the standard library: a slope and an intercept by Newton's method.

The same fit as ``engine.calibrate`` where numpy is not installed, on some thousands of decisions at most.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

LOGIT_MAX = 30.0
_STEPS, _CLOSE = 100, 1e-10
_RIDGE = 1e-6  # keeps the fit finite where the classes do not overlap


class Method(StrEnum):
    """How a calibration is fitted."""

    PLATT = "platt"
    TEMPERATURE = "temperature"


@dataclass(frozen=True)
class Labelled:
    """One decision: the network's score as a logit, and what people said it is."""

    logit: float
    is_manipulated: bool

    def __post_init__(self) -> None:
        if not math.isfinite(self.logit):
            raise ValueError("a logit is a finite number")


@dataclass(frozen=True)
class Curve:
    """From a logit to P(manipulated)."""

    slope: float
    intercept: float

    def apply(self, logit: float) -> float:
        """Return P(manipulated)."""
        return sigmoid(self.slope * logit + self.intercept)


class NotMonotone(ValueError):
    """Higher scores do not mean manipulated in these decisions: there is nothing to calibrate."""


def to_logit(score: float) -> float:
    """Return the logit of a score from 0 to 1; the ends are brought in to where numbers are finite."""
    if not 0.0 <= score <= 1.0:
        raise ValueError(f"a score lies from 0 to 1, is {score}")
    if score in (0.0, 1.0):
        return LOGIT_MAX if score else -LOGIT_MAX
    return max(-LOGIT_MAX, min(LOGIT_MAX, math.log(score) - math.log1p(-score)))


def sigmoid(value: float) -> float:
    """Return 1 / (1 + exp(-value)) without overflow."""
    if value >= 0:
        return 1.0 / (1.0 + math.exp(-value))
    grown = math.exp(value)
    return grown / (1.0 + grown)


def fit_curve(samples: Sequence[Labelled], method: Method, prior: float = 0.5) -> Curve:
    """Fit slope and intercept (Platt), or the slope alone (temperature), at a prior.

    Each class counts as much as the prior says, however many of it were reviewed: queues are no random
    sample. Targets are smoothed after Platt (1999, section 2.2). Raises NotMonotone.
    """
    n_high = sum(sample.is_manipulated for sample in samples)
    n_low = len(samples) - n_high
    if not n_high or not n_low:
        raise NotMonotone("decisions of one kind alone cannot be told apart")
    high, low = (n_high + 1) / (n_high + 2), 1 / (n_low + 2)
    weight_high, weight_low = prior / n_high, (1 - prior) / n_low
    rows = [(s.logit, high, weight_high) if s.is_manipulated else (s.logit, low, weight_low) for s in samples]
    offset = math.log(prior) - math.log1p(-prior)
    slope, intercept = 1.0, offset
    for _ in range(_STEPS):
        step_slope, step_intercept = _find_step(rows, slope, intercept, has_intercept=method is Method.PLATT)
        slope, intercept = slope - step_slope, intercept - step_intercept
        if abs(step_slope) + abs(step_intercept) < _CLOSE:
            break
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope <= 0:
        raise NotMonotone("in these decisions higher scores do not mean manipulated")
    return Curve(slope, intercept)


def _find_step(
    rows: Sequence[tuple[float, float, float]], slope: float, intercept: float, *, has_intercept: bool
) -> tuple[float, float]:
    """Return Newton's step on the weighted log loss; without an intercept its part is nothing."""
    g_slope = g_intercept = 0.0
    h_ss = h_si = h_ii = _RIDGE
    h_si = 0.0
    for logit, target, weight in rows:
        p = sigmoid(slope * logit + intercept)
        error, curvature = weight * (p - target), weight * max(p * (1 - p), 1e-12)
        g_slope += error * logit
        g_intercept += error
        h_ss += curvature * logit * logit
        h_si += curvature * logit
        h_ii += curvature
    if not has_intercept:
        return _limit(g_slope / h_ss), 0.0
    determinant = h_ss * h_ii - h_si * h_si
    return (
        _limit((h_ii * g_slope - h_si * g_intercept) / determinant),
        _limit((h_ss * g_intercept - h_si * g_slope) / determinant),
    )


def _limit(step: float) -> float:
    """Keep a step from leaping over the minimum where the loss is nearly flat."""
    return max(-2.0, min(2.0, step))
