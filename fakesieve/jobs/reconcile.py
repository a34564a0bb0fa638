"""What brings work back: leases that ran out, doorbells that got lost, jobs that cannot end by themselves.

Any number of copies may run: each step locks what it works on and passes over what another one has locked.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field

from fakesieve.jobs.cancel import end_all_jobs
from fakesieve.jobs.claim import give_up
from fakesieve.jobs.ends import end_job
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import BatchRow, Closed, EndedJob, JobEnd, UnsettledBatch
from fakesieve.jobs.states import BatchEnd, BatchState, JobState
from fakesieve.jobs.store import JobStore, JobTransaction
from fakesieve.reasons import Reason

# The failure rate of a batch means nothing before this many of its jobs have ended.
BATCH_SAMPLE_MIN = 20
EVENT_AGE_S = 7 * 86_400.0
HOST_AGE_S = 3_600.0
EVIDENCE_AGE_S = 3_600.0  # after which it is of use to nobody: what it led to stands in the analysis
SHARD_AGE_S = 30 * 86_400.0  # of the rows that tell how a job was worked on; the job and its result stay
# Jobs of a running batch that are counted in a second on average, for its failure rate.
COUNTED_A_SECOND = 10_000.0
_BATCHES_AT_ONCE = 100
# Passes that follow each other at once need not look through all running batches each time.
_SETTLE_PAUSE_S = 1.0


@dataclass(frozen=True)
class Reconciled:
    """What one pass did, as numbers of rows, and whether more of the same waits."""

    expired: int  # jobs past their deadline
    exhausted: int  # jobs failed because a shard had no attempt left
    taken_back: int  # leases that ran out
    rung_again: int  # doorbells taken for lost
    closed: int  # shards of jobs that have ended
    settled: int  # batches that ended
    purged: int  # old events and hosts
    dropped: int  # evidence of jobs that have ended
    forgotten: int  # jobs that ended so long ago that nobody asks how they were worked on
    # Whether a step found as much as it may do at once. Upkeep is none of them: what is purged, dropped or
    # forgotten is late for nobody.
    is_full: bool = False

    def list_counts(self) -> dict[str, int]:
        """Return the numbers of rows by what was done with them."""
        counts: dict[str, int] = asdict(self)
        del counts["is_full"]
        return counts

    @property
    def is_idle(self) -> bool:
        """Whether there was nothing to do."""
        return not any((self.expired, self.exhausted, self.taken_back, self.rung_again, self.settled))


@dataclass
class BatchPace:
    """When batches are looked at and counted next. One that is lost costs counting them all once."""

    read_clock: Callable[[], float] = time.monotonic
    due_s: dict[str, float] = field(default_factory=dict[str, float])
    look_due_s: float = float("-inf")

    def begin_look(self) -> bool:
        """Whether a look through all batches is due; then the next one is after a pause."""
        if self.read_clock() < self.look_due_s:
            return False
        self.look_due_s = self.read_clock() + _SETTLE_PAUSE_S
        return True

    def is_due(self, batch_id: str) -> bool:
        """Whether so long has passed that counting its jobs is no burden."""
        return self.read_clock() >= self.due_s.get(batch_id, 0.0)

    def note(self, batch_id: str, jobs: int) -> None:
        """Note that so many jobs of it were counted."""
        self.due_s[batch_id] = self.read_clock() + jobs / COUNTED_A_SECOND

    def keep(self, batch_ids: Iterable[str]) -> None:
        """Forget all others."""
        self.due_s = {each: self.due_s[each] for each in batch_ids if each in self.due_s}


def _tell_nobody(ended: EndedJob) -> None:
    del ended


def reconcile(
    store: JobStore,
    limits: JobLimits,
    pace: BatchPace | None = None,
    tell: Callable[[EndedJob], None] = _tell_nobody,
) -> Reconciled:
    """Do one pass over everything that is overdue, in transactions of at most ``limits.step_rows`` rows.

    What does not fit into a pass is left to the next, which is due at once where the answer ``is_full``. As
    each pass takes one step of every kind, a backlog of one kind holds up no other. Time is the store's own
    clock. ``pace`` is kept by the caller from pass to pass, so that large batches are not counted in each.
    ``tell`` hears of each job that ended without an analysis, once for each end, when nobody works on it any
    more.
    """
    pace = pace or BatchPace()

    def step(work: Callable[[JobTransaction, JobLimits], int]) -> int:
        return store.run(lambda tx: work(tx, limits))

    urgent = (_expire_jobs, _fail_exhausted, _take_back_leases, _ring_again)
    expired, exhausted, taken_back, rung_again = (step(work) for work in urgent)
    closed = _close_shards(store, limits, tell)
    return Reconciled(
        expired=expired,
        exhausted=exhausted,
        taken_back=taken_back,
        rung_again=rung_again,
        closed=closed.shards,
        settled=settle_batches(store, pace, limits.batch_idle_s) if pace.begin_look() else 0,
        purged=step(_purge),
        dropped=step(_drop_evidence),
        forgotten=step(_drop_shards),
        is_full=closed.is_full or limits.step_rows in (expired, exhausted, taken_back, rung_again),
    )


def _expire_jobs(tx: JobTransaction, limits: JobLimits) -> int:
    jobs = tx.lock_overdue_jobs(limits.step_rows)
    for job in jobs:
        seen = f"{job.n_done} of {job.n_shards} shards were done" if job.n_shards else "it was not prepared"
        end_job(tx, job.id, JobEnd(JobState.EXPIRED, Reason.DEADLINE_EXCEEDED, seen))
    return len(jobs)


def _fail_exhausted(tx: JobTransaction, limits: JobLimits) -> int:
    shards = tx.lock_exhausted_shards(limits)
    for shard in shards:
        give_up(tx, shard)
    return len(shards)


def _take_back_leases(tx: JobTransaction, limits: JobLimits) -> int:
    keys = tx.take_back_leases(limits)
    tx.insert_doorbells(keys)
    return len(keys)


def _ring_again(tx: JobTransaction, limits: JobLimits) -> int:
    keys = tx.lock_silent_shards(limits)
    tx.insert_doorbells(keys)
    return len(keys)


def _close_shards(store: JobStore, limits: JobLimits, tell: Callable[[EndedJob], None]) -> Closed:
    closed = store.run(lambda tx: tx.close_ended_shards(limits.step_rows))
    for job in closed.jobs:
        tell(job)
    return closed


def _purge(tx: JobTransaction, _: JobLimits) -> int:
    return tx.purge(EVENT_AGE_S, HOST_AGE_S)


def _drop_evidence(tx: JobTransaction, _: JobLimits) -> int:
    return tx.drop_evidence(EVIDENCE_AGE_S)


def _drop_shards(tx: JobTransaction, _: JobLimits) -> int:
    return tx.drop_shards(SHARD_AGE_S)


def settle_batches(store: JobStore, pace: BatchPace, idle_s: float) -> int:
    """End batches whose jobs have all ended, and those of which too many jobs failed; return how many.

    Jobs are counted once at the end, and before that only where a failure rate may end the batch. An open
    batch without live jobs that got none for ``idle_s`` failed: whoever submitted it was cut off.
    """
    settled, after, seen = 0, "", list[str]()
    while batches := store.run(lambda tx, after=after: tx.list_unsettled_batches(_BATCHES_AT_ONCE, after)):
        settled += sum(
            _settle(store, batch, pace) or _give_up_open(store, batch, idle_s) for batch in batches
        )
        seen += [batch.id for batch in batches]
        after = batches[-1].id
    pace.keep(seen)
    return settled


def _give_up_open(store: JobStore, batch: UnsettledBatch, idle_s: float) -> bool:
    """Fail a batch whose list never came whole, unless somebody adds to it or waits for what it has."""
    if batch.state is not BatchState.OPEN or batch.has_live_jobs:
        return False

    def work(tx: JobTransaction) -> bool:
        return tx.is_cut_off(batch.id, idle_s) and tx.set_batch_state(
            batch.id, BatchState.FAILED, BatchEnd.SUBMISSION_CUT_OFF
        )

    return store.run(work)


def _settle(store: JobStore, batch: UnsettledBatch, pace: BatchPace) -> bool:
    state, moved = batch.state, False
    if not state.is_terminal:
        if _judge(store, batch, pace) is None:
            return False
        ended = store.run(lambda tx: _end_batch(tx, batch.id))
        if ended is None:
            return False
        state, moved = ended, True
    if batch.has_live_jobs and state is BatchState.CANCELLED:
        end_all_jobs(store, batch.id, JobEnd(JobState.CANCELLED, Reason.CANCELLED_BY_CALLER))
    elif batch.has_live_jobs and state is BatchState.FAILED:
        seen = f"more than {batch.max_failure_rate:.0%} of the jobs of {batch.id} failed"
        end_all_jobs(store, batch.id, JobEnd(JobState.CANCELLED, Reason.FAILURE_RATE_EXCEEDED, seen))
    return moved


def _end_batch(tx: JobTransaction, batch_id: str) -> BatchState | None:
    """Judge a batch once more while nobody can add to it, and end it; None where it goes on or has ended.

    Since it was judged its list may have been sent again, with jobs that are new to it.
    """
    tx.hold_batch(batch_id)
    counted = tx.read_batch(batch_id)
    state = None if counted is None or counted.state.is_terminal else judge_batch(counted)
    if counted is None or state is None:
        return None
    end = BatchEnd.FAILURE_RATE if _fails_too_often(counted) else BatchEnd.JOBS_ENDED
    return state if tx.set_batch_state(batch_id, state, end) else None


def _judge(store: JobStore, batch: UnsettledBatch, pace: BatchPace) -> BatchState | None:
    goes_on = batch.has_live_jobs or batch.state is BatchState.OPEN
    if goes_on and (batch.max_failure_rate >= 1.0 or not pace.is_due(batch.id)):
        return None
    counted = store.run(lambda tx: tx.read_batch(batch.id))
    if counted is None:
        return None
    pace.note(batch.id, counted.total)
    return judge_batch(counted)


def judge_batch(batch: BatchRow) -> BatchState | None:
    """Say how a batch ends by its counts, or None while it goes on."""
    if _fails_too_often(batch):
        return BatchState.FAILED
    if batch.live or batch.state is BatchState.OPEN:
        return None
    succeeded = batch.counts.get(JobState.SUCCEEDED, 0)
    if succeeded == batch.total:
        return BatchState.SUCCEEDED
    if succeeded:
        return BatchState.SUCCEEDED_WITH_ERRORS
    return BatchState.FAILED if _count_failed(batch) else BatchState.CANCELLED


def _fails_too_often(batch: BatchRow) -> bool:
    """Whether the failure rate ends a batch.

    While it goes on with retried jobs alone it does not: their failures before would end them at once.
    """
    if batch.live and batch.live == batch.n_again:
        return False
    ended = batch.total - batch.live
    return ended >= BATCH_SAMPLE_MIN and _count_failed(batch) > ended * batch.max_failure_rate


def _count_failed(batch: BatchRow) -> int:
    return batch.counts.get(JobState.FAILED, 0) + batch.counts.get(JobState.EXPIRED, 0)
