"""What a set of labelled files gives a model to keep: a calibration, and thresholds that belong to it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.arrays import F64
from engine.calibrate import Calibration, TooFewLabels, fit_calibration, fit_threshold
from engine.evaluation.manifest import REAL
from engine.evaluation.measures import ItemResult
from engine.policy import Threshold

RATES = (0.10, 0.05, 0.01)
_EDGE = 1e-12


@dataclass(frozen=True)
class Fits:
    """Thresholds are on the scale of the calibration where one could be fitted, else on that of raw scores.

    The two belong together: who takes one into a bundle's manifest takes the other.
    """

    calibration: Calibration | None
    thresholds: tuple[Threshold, ...]
    refusals: tuple[str, ...]  # what could not be fitted, and why


def fit_model(results: Sequence[ItemResult], fitted_on: str) -> Fits:
    """Fit what the scored files allow. They should be of people and sources that the model never saw."""
    scored = [result for result in results if result.raw is not None]
    logit = to_logit(np.array([result.raw for result in scored], np.float64))
    label = np.array([result.item.label for result in scored], np.int64)
    refusals: list[str] = []
    calibration: Calibration | None = None
    try:
        calibration = fit_calibration(logit, label, fitted_on=fitted_on)
    except ValueError as error:
        refusals.append(f"no calibration: {error}")
    shown = 1 / (1 + np.exp(-logit)) if calibration is None else calibration.apply(logit)
    thresholds: list[Threshold] = []
    for rate in RATES:
        try:
            thresholds.append(fit_threshold(shown[label == REAL], rate))
        except TooFewLabels as error:
            refusals.append(f"no threshold for {rate:.0%} false alarms: {error}")
    return Fits(calibration, tuple(thresholds), tuple(refusals))


def to_logit(score: F64) -> F64:
    """Turn scores back into log odds; those of 0 and 1, which only rounding gives, become large ones."""
    limited = np.clip(score, _EDGE, 1 - _EDGE)
    return np.log(limited / (1 - limited))
