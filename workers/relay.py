"""The relay: takes doorbells from the outbox to the broker, as many as the live slots can answer."""

import time

from fakesieve.errors import Unavailable
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.relay import Credit, keep_doorbells, relay_doorbells
from fakesieve.jobs.rows import Waiting
from fakesieve.jobs.states import Lane
from fakesieve.jobs.store import JobStore
from workers.doorbell import Doorbell
from workers.metrics import FleetMetrics

_MEASURE_S = 5.0  # a third of how often Prometheus usually looks


class Relay:
    """One relay; any number may run beside it. Only what it owes to lanes and tenants is kept in memory."""

    def __init__(
        self, store: JobStore, doorbell: Doorbell, limits: JobLimits, metrics: FleetMetrics | None = None
    ) -> None:
        self._store, self._doorbell, self._limits = store, doorbell, limits
        self._metrics = metrics or FleetMetrics()
        self._credit = Credit()
        self._measured_s = float("-inf")

    def take_turn(self) -> bool:
        """Ring what may be rung now and say whether there was anything. Raises Unavailable."""
        try:
            # Before anything is rung: while the broker is away each turn ends there, and just then the age
            # of what waits is looked at.
            if time.monotonic() - self._measured_s > _MEASURE_S:
                self._measured_s = time.monotonic()
                self.measure_backlog()
                keep_doorbells(self._store, self._doorbell.count_held, self._limits)
            relayed = relay_doorbells(
                self._store, self._ring, self._credit, self._limits, self._doorbell.count_held
            )
        except Unavailable:
            self._metrics.relay_failures.inc()
            raise
        self._credit = relayed.credit
        return relayed.rung > 0

    def measure_backlog(self) -> None:
        """Set the figures of what waits, by lane, by the database's clock."""
        waiting = self._store.run(lambda tx: tx.list_waiting(1))
        rung_s = self._store.run(lambda tx: tx.age_ringing())
        ringing = self._store.run(lambda tx: tx.count_ringing(self._limits.doorbell_wait_s))
        for lane in Lane:
            ages_s = [rung_s.get(lane, 0.0), *(each.waited_s for each in waiting if each.lane is lane)]
            self._metrics.queue_age_seconds.labels(lane).set(max(ages_s))
            self._metrics.ringing.labels(lane).set(ringing.get(lane, 0))

    def _ring(self, waiting: Waiting) -> None:
        self._doorbell.ring(waiting.key, waiting.lane)
        self._metrics.rung.labels(waiting.lane).inc()
