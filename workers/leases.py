"""The claims that a host works on: their leases are lengthened together, and who must stop is told.

One thread beats for all slots. It is also the watchdog: Celery's time limits do nothing in the threads pool,
and a thread cannot be killed. So a piece of work that is over its time is told to stop at its next step, and
one that does not even come to a next step loses its lease, for another host to take it.
"""

import math
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import TypeVar

from engine.watch import Stage
from fakesieve.errors import Unavailable
from fakesieve.jobs.claim import extend_claims
from fakesieve.jobs.rows import Claim, ShardKey
from fakesieve.jobs.states import ShardState, WorkKind
from fakesieve.jobs.store import JobStore, JobTransaction
from fakesieve.logging import get_logger
from fakesieve.reasons import Reason
from workers.retry import ClaimLost, ShardOverdue

_log = get_logger(__name__)

Result = TypeVar("Result")

# Beyond what the parts of a piece of work may take by their own limits (120 s of waiting for a decoder, the
# store's and the network's time-outs), so that the watchdog strikes only where one of those failed.
WORK_LIMITS_S: Mapping[WorkKind, float] = {
    WorkKind.PREPARE: 1800.0,  # a file of 4 GiB from a slow store
    WorkKind.SCREEN: 1800.0,
    WorkKind.SCORE: 300.0,
}


_LEASED = ShardState.LEASED
# What work that hangs in a stage waits for; anything else is a fault of ours.
_HANGS: Mapping[str, Reason] = {
    "fetch": Reason.OBJECT_STORE_UNAVAILABLE,
    "slab": Reason.ENGINE_UNAVAILABLE,
    Stage.PREDICT: Reason.ENGINE_UNAVAILABLE,
    Stage.PROBE: Reason.DECODE_TIMEOUT,
    Stage.DECODE: Reason.DECODE_TIMEOUT,
}


@dataclass(eq=False)
class HeldClaim:
    """One claim while a slot works on it; also the watcher of its scan."""

    claim: Claim
    limit_s: float
    begun_s: float = field(default_factory=time.monotonic)
    stage: str = "claim"  # what it is about just now, for who finds it hanging
    _stop: Exception | None = None

    def stop(self, why: Exception) -> bool:
        """Have the work end with ``why`` at its next step; false where an earlier reason counts."""
        if self._stop is not None:
            return False
        self._stop = why
        return True

    def check(self) -> None:
        """Raise what the work was told to end with."""
        if self._stop is not None:
            raise self._stop

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to end."""
        return self._stop is not None

    @property
    def age_s(self) -> float:
        """Seconds since it was claimed."""
        return time.monotonic() - self.begun_s

    def enter(self, stage: str) -> None:
        """Note what is begun, and stop before it if told to."""
        self.check()
        self.stage = stage

    def on_stage(self, stage: Stage) -> None:
        """Stop between two stages of a scan, if told to."""
        self.enter(stage.value)

    def on_samples(self, done: int, total: int, faces: int) -> None:
        """Stop between two groups of frames, if told to."""
        del done, total, faces
        self.check()


class Leases:
    """All claims of one host."""

    def __init__(
        self, store: JobStore, owner: str, lease_s: float, *, limits_s: Mapping[WorkKind, float] | None = None
    ) -> None:
        self._store, self._owner, self._lease_s = store, owner, lease_s
        self._limits_s = limits_s or WORK_LIMITS_S
        self._held: set[HeldClaim] = set()
        self._asking: set[ShardKey] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return len(self._held)

    @contextmanager
    def hold(self, claim: Claim) -> Generator[HeldClaim]:
        """Keep the lease of a claim alive during the block."""
        held = HeldClaim(claim, self._limits_s[claim.kind])
        with self._lock:
            self._held.add(held)
            self._asking.discard(claim.key)
        try:
            yield held
        finally:
            with self._lock:
                self._held.discard(held)

    def begin_asking(self, key: ShardKey) -> bool:
        """Note that a slot claims a shard; false while another one of this host does so."""
        with self._lock:
            if key in self._asking:
                return False
            self._asking.add(key)
            return True

    def end_asking(self, key: ShardKey) -> None:
        """Forget that a shard was being claimed; holding it does so too."""
        with self._lock:
            self._asking.discard(key)

    def holds(self, key: ShardKey) -> bool:
        """Return whether a slot of this host works on a shard, whoever has its lease by now."""
        with self._lock:
            return any(held.claim.key == key for held in self._held)

    def stop_all(self, why: Exception) -> int:
        """Tell all work to end; return how much there is."""
        with self._lock:
            for held in self._held:
                held.stop(why)
            return len(self._held)

    def extend(self) -> int:
        """Lengthen all leases once and tell who has lost theirs; return how many went to another claim.

        Each is counted when it is told, and work that was told to end before is not.

        Raises Unavailable when the database does not answer. Work goes on then: nobody else can claim it
        either, and the fence decides in the end.
        """
        with self._lock:
            by_age = sorted(self._held, key=lambda each: each.claim.fence)
        # A host may claim a shard again while its own older work on it has not noticed that it lost it.
        held = {each.claim.key: each for each in by_age}
        taken = 0
        for each in by_age:
            if each.age_s > each.limit_s:
                seen = f"{each.claim.key} took longer than {each.limit_s:.0f} s, in the end for {each.stage}"
                each.stop(ShardOverdue(seen, _HANGS.get(each.stage, Reason.INTERNAL)))
            if held[each.claim.key] is not each:
                taken += each.stop(ClaimLost(f"{each.claim.key} was claimed again by this host"))
        alive = [each.claim for each in held.values() if not self.is_stuck(each)]
        lost = extend_claims(self._store, self._owner, alive, self._lease_s)
        told = [
            held[key].claim
            for key in lost
            if held[key].stop(ClaimLost(f"{key} was taken over, or its job has ended"))
        ]
        try:
            return taken + self._count_taken(told)
        except Unavailable as fault:  # all that had to be done is done: the figure alone is missing
            _log.warning("leases.loss_not_counted", claims=len(told), seen=fault.seen)
            return taken

    def _count_taken(self, lost: list[Claim]) -> int:
        """Return how many of these claims were lost to another one, and not to the end of their job."""
        if not lost:
            return 0

        def count(tx: JobTransaction) -> int:
            live = tx.find_live_jobs({claim.key.job_id for claim in lost})
            rows = [(claim, tx.read_shard(claim.key)) for claim in lost if claim.key.job_id in live]
            # A job that is past its deadline still has the shard as it was, and waits for the reconciler.
            return sum(row is None or (row.fence, row.state) != (claim.fence, _LEASED) for claim, row in rows)

        return self._store.run(count)

    def drop_ended(self) -> int:
        """Tell work to end whose job was cancelled or has ended otherwise; return how much.

        A host that works on nothing asks nothing. Raises Unavailable when the database does not answer.
        """
        with self._lock:
            asked = [each for each in self._held if not each.is_stopped]
        if not asked:
            return 0
        jobs = {each.claim.key.job_id for each in asked}
        live = self._store.run_alone(lambda tx: tx.find_live_jobs(jobs))
        over = [each for each in asked if each.claim.key.job_id not in live]
        for each in over:
            each.stop(ClaimLost(f"the job of {each.claim.key} has ended"))
        return len(over)

    def is_stuck(self, held: HeldClaim) -> bool:
        """Whether work has not ended long after it was told to."""
        return held.age_s > 2 * held.limit_s

    def find_stuck(self) -> list[HeldClaim]:
        """Return the work that does not end; only the end of the process ends it."""
        with self._lock:
            return [held for held in self._held if self.is_stuck(held)]


class Heartbeat:
    """The thread that beats for a host."""

    def __init__(self, beat: Callable[[], None], interval_s: float) -> None:
        self._beat, self._interval_s = beat, interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin; the first beat is done at once."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                self._beat()
            except Exception:  # noqa: BLE001 - a thread's edge: leases must not end with one bad beat
                _log.exception("heartbeat.failed")
            if self._stop.wait(self._interval_s):
                return


_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)


def keep_trying(
    work: Callable[[], Result], patience_s: float, left_s: Callable[[], float] = lambda: math.inf
) -> Result:
    """Do what the database must hear, again while it does not answer and the lease may last.

    What is called must be safe to repeat after a lost reply; it is called once at least. Raises Unavailable
    when the patience is over, or the time that ``left_s`` says is left, which may shrink meanwhile.
    """
    end_s = time.monotonic() + patience_s
    for pause_s in chain(_PAUSES_S, repeat(_PAUSES_S[-1])):
        try:
            return work()
        except Unavailable:
            if time.monotonic() + pause_s > end_s or pause_s > left_s():
                raise
            time.sleep(pause_s)
    raise AssertionError("pauses never end")
