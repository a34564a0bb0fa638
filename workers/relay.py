"""The relay: takes doorbells from the outbox to the broker, as many as the live slots can answer."""

from fakesieve.errors import Unavailable
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.relay import Credit, relay_doorbells
from fakesieve.jobs.rows import Waiting
from fakesieve.jobs.store import JobStore
from workers.doorbell import Doorbell
from workers.metrics import FleetMetrics


class Relay:
    """One relay; any number may run beside it. Only what it owes to lanes and tenants is kept in memory."""

    def __init__(
        self, store: JobStore, doorbell: Doorbell, limits: JobLimits, metrics: FleetMetrics | None = None
    ) -> None:
        self._store, self._doorbell, self._limits = store, doorbell, limits
        self._metrics = metrics or FleetMetrics()
        self._credit = Credit()

    def take_turn(self) -> bool:
        """Ring what may be rung now and say whether there was anything. Raises Unavailable."""
        try:
            relayed = relay_doorbells(self._store, self._ring, self._credit, self._limits)
        except Unavailable:
            self._metrics.relay_failures.inc()
            raise
        self._credit = relayed.credit
        return relayed.rung > 0

    def _ring(self, waiting: Waiting) -> None:
        self._doorbell.ring(waiting.key, waiting.lane)
        self._metrics.rung.labels(waiting.lane).inc()
