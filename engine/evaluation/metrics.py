"""Error rates of scores against labels, each with a bootstrap interval. Scores: high means manipulated.

Every measure takes a weight for each entry, the number of times that it was drawn, so that the bootstrap
draws whole videos with all of their frames and sorts the scores once.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.arrays import F64, I64
from engine.calibrate import expected_calibration_error

REPLICATES = 1000
SEED = 20_240_601
LEAST_REPLICATES = 0.5
"""Share of replicates in which a measure must exist (both kinds drawn) for its interval to be given."""

Weighted = Callable[[F64], float]
"""A measure as a function of the weights of its entries; NaN where it does not exist."""


@dataclass(frozen=True)
class Estimate:
    """A measured value with its 95 % interval; all null where it does not exist."""

    value: float | None
    low: float | None
    high: float | None
    count: int  # entries that it rests on: videos, frames or pairs

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None) or (self.value is None and self.low is not None):
            raise ValueError("an interval has two ends and lies around a value")


@dataclass(frozen=True)
class Roc:
    """The operating points of all thresholds, from the strictest (0, 0) to the laxest (1, 1)."""

    false_positive: F64  # [k]
    true_positive: F64  # [k]

    def area(self) -> float:
        """Return the area under the curve: the chance that a forged entry scores above a real one."""
        steps = np.diff(self.false_positive)
        return float((steps * (self.true_positive[1:] + self.true_positive[:-1])).sum() / 2)

    def true_positive_at(self, false_positive: float) -> float:
        """Return the share of forged entries found by the laxest threshold that keeps that rate."""
        allowed = self.false_positive <= false_positive + 1e-12
        return float(self.true_positive[allowed].max())

    def equal_error(self) -> float:
        """Return the rate at which as many real as forged entries are misjudged, between two thresholds."""
        miss = 1.0 - self.true_positive
        gap = self.false_positive - miss
        after = int(np.argmax(gap >= 0))
        if after == 0:
            return float(self.false_positive[0])
        share = gap[after - 1] / (gap[after - 1] - gap[after])
        start, end = self.false_positive[after - 1], self.false_positive[after]
        return float(start + share * (end - start))


class RocMaker:
    """Sorts scores once and gives the curve for any weights."""

    def __init__(self, score: F64, label: I64) -> None:
        if score.shape != label.shape or score.ndim != 1 or not np.isfinite(score).all():
            raise ValueError("scores and labels are two columns of finite numbers")
        self._order = np.argsort(-score, kind="stable")
        self._label = label[self._order]
        falling = score[self._order]
        # Equal scores pass a threshold together: only the last of them is an operating point.
        self._last = (
            np.flatnonzero(np.append(falling[1:] != falling[:-1], True)) if len(score) else np.empty(0, int)
        )

    def curve(self, weight: F64) -> Roc | None:
        """Return the curve, or None where one of the kinds has no weight."""
        sorted_weight = weight[self._order]
        forged = np.cumsum(sorted_weight * (self._label == 1))
        real = np.cumsum(sorted_weight * (self._label == 0))
        if not len(forged) or forged[-1] <= 0 or real[-1] <= 0:
            return None
        start = np.zeros(1)
        return Roc(
            np.concatenate([start, real[self._last] / real[-1]]),
            np.concatenate([start, forged[self._last] / forged[-1]]),
        )

    def measure(self, read: Callable[[Roc], float]) -> Weighted:
        """Return a measure that reads a number off the curve."""

        def weighted(weight: F64) -> float:
            curve = self.curve(weight)
            return math.nan if curve is None else read(curve)

        return weighted


def calibration_measure(probability: F64, label: I64) -> Weighted:
    """Return the expected calibration error over bins of equal mass as a measure; it needs both kinds."""

    def weighted(weight: F64) -> float:
        drawn = np.repeat(np.arange(len(label)), weight.astype(np.int64))
        if len(np.unique(label[drawn])) < 2:
            return math.nan
        return expected_calibration_error(probability[drawn], label[drawn])

    return weighted


def mean_measure(value: F64) -> Weighted:
    """Return the mean of a column as a measure."""

    def weighted(weight: F64) -> float:
        total = weight.sum()
        return float((value * weight).sum() / total) if total > 0 else math.nan

    return weighted


def spread_measure(value: F64) -> Weighted:
    """Return the standard deviation of a column as a measure."""

    def weighted(weight: F64) -> float:
        total = weight.sum()
        if total <= 0:
            return math.nan
        middle = (value * weight).sum() / total
        return math.sqrt(float((np.square(value - middle) * weight).sum() / total))

    return weighted


class Bootstrap:
    """Draws clusters (videos, pairs) with replacement; the same draws for every measure and every run."""

    def __init__(self, clusters: Sequence[str], replicates: int = REPLICATES, seed: int = SEED) -> None:
        self.names = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
        random = np.random.default_rng(seed)
        count = len(self.names)
        self._drawn = random.multinomial(count, np.full(count, 1 / count), size=replicates) if count else None

    def estimate(self, measure: Weighted, clusters: Sequence[str]) -> Estimate:
        """Return value and interval of a measure whose entry i belongs to ``clusters[i]``."""
        count = len(clusters)
        value = measure(np.ones(count)) if count else math.nan
        if math.isnan(value) or self._drawn is None:
            return Estimate(None, None, None, count)
        place = np.array([self.names[name] for name in clusters])
        drawn = np.array([measure(row[place].astype(np.float64)) for row in self._drawn])
        drawn = drawn[np.isfinite(drawn)]
        if len(drawn) < LEAST_REPLICATES * len(self._drawn) or len(np.unique(place)) < 2:
            return Estimate(value, None, None, count)
        low, high = np.quantile(drawn, (0.025, 0.975))
        return Estimate(value, float(low), float(high), count)


def compare_pairs(score: F64, label: I64, pair: Sequence[str]) -> tuple[list[str], F64]:
    """Return the pairs with both halves and for each how often its forged half scores higher; a tie is half.

    With several files of a kind in a pair, all combinations are compared. Entries with an empty pair name
    stand alone.
    """
    names: list[str] = []
    shares: list[float] = []
    for name in dict.fromkeys(name for name in pair if name):
        mine = np.array([other == name for other in pair])
        forged, real = score[mine & (label == 1)], score[mine & (label == 0)]
        if len(forged) and len(real):
            gap = forged[:, None] - real[None, :]
            names.append(name)
            shares.append(float(((gap > 0) + 0.5 * (gap == 0)).mean()))
    return names, np.array(shares, np.float64)
