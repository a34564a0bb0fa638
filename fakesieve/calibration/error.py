"""How far probabilities are from what happened, and how well that is known."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from fakesieve.calibration.fit import Labelled, Method, NotMonotone, fit_curve, sigmoid

BINS = 10
FOLDS = 5
RESAMPLES = 200
_SEED = 20_260_131


@dataclass(frozen=True)
class Judged:
    """A probability and what it was about. It counts as ``weight`` videos."""

    probability: float
    is_manipulated: bool
    weight: float = 1.0


@dataclass(frozen=True)
class ErrorEstimate:
    """The expected calibration error, and the 95 % interval of a bootstrap around it."""

    value: float
    low: float
    high: float


def find_ece(judged: Sequence[Judged], bins: int = BINS) -> float:
    """Return the expected calibration error over bins of equal width, from 0 (best) to 1."""
    if not judged:
        raise ValueError("nothing to judge")
    sums, hits = [0.0] * bins, [0.0] * bins
    for each in judged:
        place = min(bins - 1, int(each.probability * bins))
        sums[place] += each.weight * each.probability
        hits[place] += each.weight * each.is_manipulated
    gaps = (abs(total - hit) for total, hit in zip(sums, hits, strict=True))
    return min(1.0, sum(gaps) / sum(each.weight for each in judged))


def estimate_ece(judged: Sequence[Judged]) -> ErrorEstimate:
    """Return the error with its interval: percentiles of resamples, widened to hold the value itself."""
    value = find_ece(judged)
    draw = random.Random(_SEED)  # noqa: S311 - resampling, no secret
    found = sorted(find_ece(draw.choices(judged, k=len(judged))) for _ in range(RESAMPLES))
    low, high = found[int(0.025 * RESAMPLES)], found[int(0.975 * RESAMPLES) - 1]
    return ErrorEstimate(value, min(low, value), max(high, value))


def judge_raw(samples: Sequence[Labelled], prior: float) -> list[Judged]:
    """Return what the uncalibrated score says of each decision, weighted as for ``judge_held_out``."""
    weights = _weigh(samples, prior)
    return [
        Judged(sigmoid(sample.logit), sample.is_manipulated, weights[sample.is_manipulated])
        for sample in samples
    ]


def judge_held_out(samples: Sequence[Labelled], method: Method, prior: float) -> list[Judged]:
    """Return what a fit says of decisions that it was not fitted on, each of five parts in turn left out.

    The parts hold both kinds in the same share. The fits are at the prior of the one that is given out, and
    the decisions weigh as if that were their share too: the error is then that of the curve given out, where
    the prior holds. A part whose fit fails makes the whole fail: NotMonotone.
    """
    weights = _weigh(samples, prior)
    folds = _split(samples)
    judged: list[Judged] = []
    for left_out in range(FOLDS):
        others = [sample for fold in range(FOLDS) if fold != left_out for sample in folds[fold]]
        curve = fit_curve(others, method, prior)
        judged += [
            Judged(curve.apply(each.logit), each.is_manipulated, weights[each.is_manipulated])
            for each in folds[left_out]
        ]
    if len(judged) != len(samples):
        raise NotMonotone("a part was lost")
    return judged


def _weigh(samples: Sequence[Labelled], prior: float) -> dict[bool, float]:
    """Return what a decision of each kind weighs where the prior holds."""
    share = sum(sample.is_manipulated for sample in samples) / len(samples)
    if share in (0.0, 1.0):
        raise NotMonotone("decisions of one kind alone cannot be told apart")
    return {True: prior / share, False: (1.0 - prior) / (1.0 - share)}


def _split(samples: Sequence[Labelled]) -> list[list[Labelled]]:
    draw = random.Random(_SEED)  # noqa: S311 - a fixed order, no secret
    folds: list[list[Labelled]] = [[] for _ in range(FOLDS)]
    for kind in (True, False):
        same = [sample for sample in samples if sample.is_manipulated is kind]
        draw.shuffle(same)
        for place, sample in enumerate(same):
            folds[place % FOLDS].append(sample)
    return folds
