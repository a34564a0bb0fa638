"""A worker host: slots that answer doorbells, one heartbeat for all of them, and an orderly end.

The slots are the threads of Celery's pool. SIGTERM drains: nothing new is begun, what runs may finish within
``drain_s``, and what does not is given back without costing an attempt. A host also drains by itself, for
its supervisor to start a fresh one, after so much work, beyond so much memory, when its inference process
cannot be kept alive, or when a piece of work never comes back.
"""

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from celery import Celery, signals
from celery.apps.worker import Worker
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning

from fakesieve.errors import Unavailable
from fakesieve.jobs.rows import HostBeat, HostModel, ShardKey
from fakesieve.logging import get_logger
from fakesieve.settings import GIVE_BACK_S
from workers.leases import Heartbeat
from workers.retry import HostDraining
from workers.strangers import Fault, message_refused
from workers.tasks import add_tasks
from workers.work import answer_doorbell
from workers.workplace import Workplace

_log = get_logger(__name__)

_NO_SPACE_PAUSE_S = 5.0
# How often a host asks whether the jobs that it works on still live. What is cancelled is to stop at its next
# step, and a step takes about as long as this; the question is one read by primary keys, whatever is held.
ENDS_LOOK_S = 0.5
EXIT_STUCK = 70  # EX_SOFTWARE


@dataclass(frozen=True)
class HostRules:
    """When a host ends, and how."""

    slots: int
    heartbeat_s: float = 15.0
    drain_s: float = 25.0
    jobs_max: int | None = None  # pieces of work, after which a fresh process takes over
    memory_bytes_max: int | None = None  # resident, host and inference process together


class WorkerHost:
    """One host process. ``run`` returns when it has drained."""

    def __init__(self, place: Workplace, app: Celery, rules: HostRules, *, version: str) -> None:
        self._place, self._app, self._rules, self._version = place, app, rules, version
        self._heartbeat = Heartbeat(self._beat, rules.heartbeat_s)
        self._drain_watch = Heartbeat(self._watch_drain, 0.5)
        self._end_watch = Heartbeat(self._watch_ends, ENDS_LOOK_S)
        self._pieces = 0  # of work that were done
        self._counting = threading.Lock()  # slots are threads, and adding reads before it writes
        self._drain_begun_s: float | None = None
        self._is_going = False

    def run(self) -> int:
        """Answer doorbells until told to stop; return the exit code. Call it from the main thread."""
        add_tasks(self._app, self._answer)
        shutting_down = _on_shutting_down(self.drain)
        for fault in Fault:  # from 0 on: a rate does not see a series begin with 1
            self._place.metrics.messages_refused.labels(fault)
        message_refused.connect(self._count_refused, weak=False)
        self._heartbeat.start()
        self._drain_watch.start()
        self._end_watch.start()
        try:
            _log.info("host.started", owner=self._place.owner, slots=self._rules.slots, version=self._version)
            return consume(self._app, self._place.owner, self._rules.slots)
        finally:
            signals.worker_shutting_down.disconnect(shutting_down)
            message_refused.disconnect(self._count_refused)
            self._end_watch.close()
            self._drain_watch.close()
            self._heartbeat.close()
            self._say_goodbye()

    def drain(self, why: str) -> None:
        """Begin nothing new from now on. Safe to call twice and from a signal handler."""
        if self._drain_begun_s is None:
            self._drain_begun_s = time.monotonic()
            # What is written then may take as long as a database that hangs, and still be before the end.
            self._place.draining.begin(self._rules.drain_s + GIVE_BACK_S / 3)
            _log.info("host.draining", why=why, running=len(self._place.leases))

    # ---- slots

    def _answer(self, key: ShardKey) -> bool:
        if not self._place.scratch.has_room():
            _log.warning("host.no_space")
            self._place.draining.wait(_NO_SPACE_PAUSE_S)  # so that the doorbell does not go round in a circle
            return False
        if self._place.draining.is_set():
            return False
        pieces = answer_doorbell(self._place, key)
        with self._counting:
            self._pieces += pieces
        return True

    def _count_refused(self, fault: str = "", **_: object) -> None:
        self._place.metrics.messages_refused.labels(fault).inc()

    # ---- heartbeat

    def _beat(self) -> None:
        """Say that the host lives and lengthen its leases; then see whether it should end."""
        place, by = self._place, self._place.screener.by
        rss_bytes = self._measure_memory()
        beat = HostBeat(
            owner=place.owner,
            slots=self._rules.slots,
            is_draining=place.draining.is_set(),
            name=os.uname().nodename,
            version=self._version,
            rss_bytes=rss_bytes,
            model=HostModel(by.model_facts, by.fingerprint, place.screener.card, by.policy),
        )
        try:
            place.metrics.leases_lost.inc(place.leases.extend())
            place.store.run(lambda tx: tx.beat_host(beat))
            place.let_go()
        except Unavailable as fault:
            _log.warning("host.beat_missed", seen=fault.seen, running=len(place.leases))
        why = self._find_reason_to_end(rss_bytes)
        if why is not None and not place.draining.is_set():
            self.drain(why)
            self._stop_consuming()

    def _watch_ends(self) -> None:
        """Have work end whose job was cancelled, long before the next beat would tell."""
        try:
            self._place.leases.drop_ended()
        except Unavailable as fault:  # the beat says it louder
            _log.debug("host.ends_not_read", seen=fault.seen)

    def _find_reason_to_end(self, rss_bytes: int) -> str | None:
        rules, health = self._rules, self._place.screener.process.health
        if health.fault is not None:
            return f"the inference process cannot be kept alive: {health.fault}"
        if stuck := self._place.leases.find_stuck():
            return f"{len(stuck)} pieces of work do not end, the first of them {stuck[0].claim.key}"
        if rules.jobs_max is not None and self._pieces >= rules.jobs_max:
            return f"{self._pieces} pieces of work were done"
        if rules.memory_bytes_max is not None and rss_bytes > rules.memory_bytes_max:
            return f"{rss_bytes} bytes of memory are resident"
        return None

    def _measure_memory(self) -> int:
        pids = [os.getpid(), self._place.screener.process.pid]
        return sum(read_rss_bytes(pid) for pid in pids if pid is not None)

    # ---- the end

    def _watch_drain(self) -> None:
        """Have running work given back once the time for it to finish is over, and end at last."""
        if self._drain_begun_s is None:
            return
        age_s = time.monotonic() - self._drain_begun_s
        if age_s >= self._rules.drain_s and not self._is_going:
            self._is_going = True
            count = self._place.leases.stop_all(HostDraining("the host ends"))
            _log.info("host.giving_back", shards=count)
        if age_s >= self._rules.drain_s + GIVE_BACK_S and len(self._place.leases):
            _log.error("host.stuck", shards=len(self._place.leases))
            os._exit(EXIT_STUCK)

    def _stop_consuming(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # the way that Celery knows; its own thread ends the loop

    def _say_goodbye(self) -> None:
        place = self._place
        try:
            place.store.run(lambda tx: tx.remove_host(place.owner))
        except Unavailable as fault:
            _log.warning("host.not_removed", seen=fault.seen)
        _log.info("host.stopped", pieces=self._pieces)


def consume(app: Celery, owner: str, slots: int) -> int:
    """Run Celery's worker in this thread until SIGTERM and return its exit code."""
    # Left to itself it sets the level of all logs; and as root it warns of pickle, which we do not accept.
    signals.setup_logging.connect(_keep_logging)
    warnings.filterwarnings("ignore", category=SecurityWarning)
    # At each lost connection it says that a setting, which ours names, will have another default some day.
    warnings.filterwarnings("ignore", message=r"\s*In Celery 5\.1", category=CPendingDeprecationWarning)
    worker = Worker(
        app=app,
        hostname=f"{owner}@{os.uname().nodename}",
        pool="threads",
        concurrency=slots,
        without_gossip=True,  # hosts know each other through the database
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
    return cast("int | None", worker.exitcode) or 0


def _keep_logging(**_: object) -> None:
    """Leave logging as the process has configured it."""


def _on_shutting_down(drain: Callable[[str], None]) -> Callable[..., None]:
    """Have Celery's own shutdown drain the host; it runs in the signal handler."""

    def tell(sig: str = "", **_: object) -> None:
        drain(f"told by {sig}")

    signals.worker_shutting_down.connect(tell, weak=False)
    return tell


def read_rss_bytes(pid: int) -> int:
    """Return the resident memory of a process, 0 if there is none of that id."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(pages) * os.sysconf("SC_PAGESIZE")
