"""What the slots of a host share."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from fakesieve.jobs.claim import Taker
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import Claim, ShardKey
from fakesieve.jobs.store import JobStore
from workers.leases import Leases, keep_trying
from workers.metrics import FleetMetrics
from workers.scratch import Scratch
from workers.screener import Screener
from workers.tracing import Tracer

Result = TypeVar("Result")


class Ending(Protocol):
    """What came of a piece of work, with the claim on what follows where a taker got it."""

    @property
    def following(self) -> Claim | None:
        """The claim."""
        ...


Ended = TypeVar("Ended", bound=Ending)


class Drain(threading.Event):
    """Set once nothing new is begun; then there is an end by which what runs must have been written."""

    def __init__(self) -> None:
        super().__init__()
        self._end_s = math.inf

    def begin(self, span_s: float) -> None:
        """Begin nothing new, and have ``span_s`` seconds left for writing what was done."""
        self._end_s = time.monotonic() + span_s
        self.set()

    @property
    def left_s(self) -> float:
        """Seconds until the end; infinite while the host does not drain."""
        return self._end_s - time.monotonic()


def _hold_on() -> None:
    """Let go of nothing: where there is no database to ask."""


@dataclass(frozen=True)
class Workplace:
    """One for a host; every part of it may be used from several threads."""

    store: JobStore
    owner: str  # names the host in leases
    limits: JobLimits
    leases: Leases
    scratch: Scratch
    screener: Screener
    metrics: FleetMetrics
    tracer: Tracer
    draining: Drain = field(default_factory=Drain)
    let_go: Callable[[], object] = _hold_on  # of copies of what is being erased

    def keep_trying(self, work: Callable[[], Result]) -> Result:
        """Write what must be heard: for as long as a lease lasts, and no longer than this host."""
        return keep_trying(work, self.limits.lease_s, lambda: self.draining.left_s)

    def end_and_take(self, key: ShardKey, work: Callable[[Taker | None], Ended]) -> Ended:
        """Write the end of a piece of work, as ``keep_trying`` does, and have ``key`` leased with it.

        A draining host takes nothing more. While this asks no other slot claims the shard, so that a claim
        that is found after a lost reply is its own.
        """
        if self.draining.is_set() or not self.leases.begin_asking(key):
            return self.keep_trying(lambda: work(None))
        taker, claim = Taker(self.owner, self.limits.lease_s, self.limits), None
        try:
            ended = self.keep_trying(lambda: work(taker))
            claim = ended.following
        finally:
            if claim is None:  # a claim is held from now on
                self.leases.end_asking(key)
        return ended
