"""What came of the requests of a load test: counts, and how long answers took. Only what was seen is told."""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fakesieve.reasons import Reason


class NoAnswer(StrEnum):
    """Why a request that was sent has no answer of the API; what the API itself says has its own reason."""

    TIMEOUT = "TIMEOUT"
    UNREACHABLE = "UNREACHABLE"
    FOREIGN_ANSWER = "FOREIGN_ANSWER"
    """Something answered that is not the API, such as a proxy's page."""


class Unsent(StrEnum):
    """Why a request was not sent when it was due."""

    SENDER_LATE = "SENDER_LATE"
    """The sender itself was too busy."""
    TOO_MANY_OPEN = "TOO_MANY_OPEN"
    """So many waited for an answer that no more connections are opened."""


def _floats() -> "array[float]":
    return array("d")


@dataclass
class Count:
    """What came of the requests of one kind. ``waits_ms`` are from the due times to the ends of answers."""

    sent: int = 0
    refused: int = 0
    failed: Counter[Reason | NoAnswer] = field(default_factory=Counter[Reason | NoAnswer])
    unsent: Counter[Unsent] = field(default_factory=Counter[Unsent])
    waits_ms: "array[float]" = field(default_factory=_floats)
    late_ms: "array[float]" = field(default_factory=_floats)
    """How long after its due time each request was sent."""

    @property
    def answered(self) -> int:
        """Requests that got what they asked for."""
        return len(self.waits_ms)

    @property
    def timed_out(self) -> int:
        """Requests that were given up."""
        return self.failed[NoAnswer.TIMEOUT]

    @property
    def waits(self) -> "Waits":
        """How long answers took, those counted that did not come in time."""
        return Waits.measure(self.waits_ms, self.timed_out)

    @property
    def open(self) -> int:
        """Requests that were sent and of which nothing is known: they wait, or waited when it was ended."""
        return self.sent - self.answered - self.refused - self.failed.total()


def add_counts(counts: Iterable[Count]) -> Count:
    """Return all of them as one."""
    whole = Count()
    for each in counts:
        whole.sent += each.sent
        whole.refused += each.refused
        whole.failed.update(each.failed)
        whole.unsent.update(each.unsent)
        whole.waits_ms.extend(each.waits_ms)
        whole.late_ms.extend(each.late_ms)
    return whole


def find_quantile(ordered: Sequence[float], percent: int) -> float | None:
    """Return the least value that at least so many percent do not exceed; None where there is no value.

    ``ordered`` is ascending. It is always a value that was seen, never one between two.
    """
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None


@dataclass(frozen=True)
class Waits:
    """How long answers took, in milliseconds; None where nothing was answered, or what is asked for lies
    among the requests that were given up.
    """

    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    max_ms: float | None

    @classmethod
    def measure(cls, waits_ms: Iterable[float], given_up: int = 0) -> "Waits":
        """Return the quantiles of times in any order, and of so many requests that got no answer in time.

        Those took longer than all others. Without them the slowest would be what makes an API look fast.
        """
        ordered = [*sorted(waits_ms), *[math.inf] * given_up]
        found = (find_quantile(ordered, percent) for percent in (50, 90, 99, 100))
        return cls(*(None if each == math.inf else each for each in found))
