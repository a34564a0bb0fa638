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
    """A probability and what it was about."""

    probability: float
    is_manipulated: bool


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
    counts, sums, hits = [0] * bins, [0.0] * bins, [0] * bins
    for each in judged:
        place = min(bins - 1, int(each.probability * bins))
        counts[place] += 1
        sums[place] += each.probability
        hits[place] += each.is_manipulated
    gaps = (abs(total - hit) for total, hit in zip(sums, hits, strict=True))
    return sum(gaps) / len(judged)


def estimate_ece(judged: Sequence[Judged]) -> ErrorEstimate:
    """Return the error with its interval: percentiles of resamples, widened to hold the value itself."""
    value = find_ece(judged)
    draw = random.Random(_SEED)  # noqa: S311 - resampling, no secret
    found = sorted(find_ece(draw.choices(judged, k=len(judged))) for _ in range(RESAMPLES))
    low, high = found[int(0.025 * RESAMPLES)], found[int(0.975 * RESAMPLES) - 1]
    return ErrorEstimate(value, min(low, value), max(high, value))


def judge_raw(samples: Sequence[Labelled]) -> list[Judged]:
    """Return what the uncalibrated score says of each decision."""
    return [Judged(sigmoid(sample.logit), sample.is_manipulated) for sample in samples]


def judge_held_out(samples: Sequence[Labelled], method: Method) -> list[Judged]:
    """Return what a fit says of decisions that it was not fitted on, each of five parts in turn left out.

    The parts hold both kinds in the same share. The prior is that of the decisions, which is what the error
    compares with. A part whose fit fails makes the whole fail: NotMonotone.
    """
    share = sum(sample.is_manipulated for sample in samples) / len(samples)
    folds = _split(samples)
    judged: list[Judged] = []
    for left_out in range(FOLDS):
        others = [sample for fold in range(FOLDS) if fold != left_out for sample in folds[fold]]
        curve = fit_curve(others, method, share)
        judged += [Judged(curve.apply(each.logit), each.is_manipulated) for each in folds[left_out]]
    if len(judged) != len(samples):
        raise NotMonotone("a part was lost")
    return judged


def _split(samples: Sequence[Labelled]) -> list[list[Labelled]]:
    draw = random.Random(_SEED)  # noqa: S311 - a fixed order, no secret
    folds: list[list[Labelled]] = [[] for _ in range(FOLDS)]
    for kind in (True, False):
        same = [sample for sample in samples if sample.is_manipulated is kind]
        draw.shuffle(same)
        for place, sample in enumerate(same):
            folds[place % FOLDS].append(sample)
    return folds
