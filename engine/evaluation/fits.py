"""What a set of labelled files gives a model to keep: a calibration, and thresholds that belong to it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from engine.calibrate import Calibration, TooFewLabels, fit_calibration, fit_threshold, to_logit
from engine.evaluation.manifest import REAL
from engine.evaluation.measures import ItemResult, join_pictures
from engine.policy import Threshold

RATES = (0.10, 0.05, 0.01)


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
    # Of videos, for their scores are what a calibration is applied to; frames of one are no new evidence.
    videos = join_pictures(scored, np.array([result.raw for result in scored], np.float64))
    logit, label = to_logit(videos.score), videos.label
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


class FitsUnusable(ValueError):
    """The figures of an evaluation give this model no calibration: says why."""


def read_fits(metrics: Path, weights_sha256: str) -> tuple[Calibration, tuple[Threshold, ...]]:
    """Read the calibration and thresholds that an evaluation fitted for a model, from its ``metrics.json``.

    Raises FitsUnusable if the file cannot be read, measured another model, or holds no calibration.
    """
    try:
        form = cast("Mapping[str, Mapping[str, object]]", json.loads(metrics.read_text(encoding="utf-8")))
        measured, fits = form["run"]["weights_sha256"], form["fits"]
        if measured != weights_sha256:
            raise FitsUnusable(f"{metrics} measured a model with other weights: {measured}")
        if fits["calibration"] is None:
            refusals = cast("list[str]", fits["refusals"])
            raise FitsUnusable(f"{metrics} holds no calibration ({'; '.join(refusals)})")
        fitted = Calibration.from_json(cast("Mapping[str, str | float | int | None]", fits["calibration"]))
        listed = cast("list[Mapping[str, float | int | bool]]", fits["thresholds"])
        return fitted, tuple(Threshold.from_json(each) for each in listed)
    except FitsUnusable:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise FitsUnusable(f"{metrics} cannot be read: {fault!r}") from fault
