"""The reconciler: brings back work whose worker died, whose doorbell got lost or whose time is over.

It scores nothing. A job whose last finisher died has a ``score`` shard that waits like any other, so its
doorbell is rung again and a worker host scores the job.
"""

from dataclasses import asdict

from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.reconcile import reconcile
from fakesieve.jobs.store import JobStore
from fakesieve.logging import get_logger
from workers.metrics import FleetMetrics

_log = get_logger(__name__)


class Reconciler:
    """One reconciler; any number may run beside it."""

    def __init__(self, store: JobStore, limits: JobLimits, metrics: FleetMetrics | None = None) -> None:
        self._store, self._limits = store, limits
        self._metrics = metrics or FleetMetrics()

    def take_turn(self) -> bool:
        """Do one pass; false, as the next one is due after the pause whatever this one found."""
        done = reconcile(self._store, self._limits)
        counts: dict[str, int] = asdict(done)
        for what, rows in counts.items():
            self._metrics.reconciled.labels(what).inc(rows)
        if not done.is_idle:
            _log.info("fleet.reconciled", **counts)
        return False
