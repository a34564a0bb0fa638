"""The reconciler: brings back work whose worker died, whose doorbell got lost or whose time is over.

It scores nothing. A job whose last finisher died has a ``score`` shard that waits like any other, so its
doorbell is rung again and a worker host scores the job.
"""

import time
from collections.abc import Callable

from fakesieve.errors import Unavailable
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.reconcile import BatchPace, reconcile
from fakesieve.jobs.rows import EndedJob
from fakesieve.jobs.store import JobStore
from fakesieve.logging import get_logger
from workers.metrics import FleetMetrics
from workers.tracing import SilentTracer, Tracer

_log = get_logger(__name__)

UPKEEP_S = 86_400.0
UPKEEP_AGAIN_S = 3_600.0


class Reconciler:
    """One reconciler; any number may run beside it. ``upkeep`` makes the partitions of coming months."""

    def __init__(
        self,
        store: JobStore,
        limits: JobLimits,
        metrics: FleetMetrics | None = None,
        *,
        upkeep: Callable[[], int] | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._store, self._limits = store, limits
        self._metrics = metrics or FleetMetrics()
        self._upkeep = upkeep
        self._tracer = tracer or SilentTracer()
        self._pace = BatchPace()
        self._upkeep_due_s = time.monotonic()

    def take_turn(self) -> bool:
        """Do one pass, and say whether it left something: then the next one is due at once."""
        done = reconcile(self._store, self._limits, self._pace, self._note_end)
        counts = done.list_counts()
        for what, rows in counts.items():
            self._metrics.reconciled.labels(what).inc(rows)
        if not done.is_idle:
            _log.info("fleet.reconciled", **counts)
        self._keep_up()
        return done.is_full

    def _note_end(self, ended: EndedJob) -> None:
        """Count and trace a job that has no result, whoever ended it: a worker, a caller, or this pass."""
        self._metrics.jobs_without_result.labels(ended.state, ended.reason).inc()
        attributes = {"fakesieve.state": ended.state.value, "fakesieve.reason": ended.reason.value}
        self._tracer.end_job(ended.id, ended.deadline, attributes, ended.end_time)

    def _keep_up(self) -> None:
        """Do the upkeep once a day. Where somebody holds its tables, it waits for the next hour."""
        if self._upkeep is None or time.monotonic() < self._upkeep_due_s:
            return
        self._upkeep_due_s = time.monotonic() + UPKEEP_S
        try:
            made = self._upkeep()
        except Unavailable as fault:
            self._upkeep_due_s = time.monotonic() + UPKEEP_AGAIN_S
            _log.warning("upkeep.put_off", seen=fault.seen)
        else:
            _log.info("upkeep.done", partitions=made)
