"""What brings work back: leases that ran out, doorbells that got lost, jobs that cannot end by themselves.

Any number of copies may run: each step locks what it works on and passes over what another one has locked.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fakesieve.jobs.cancel import end_all_jobs
from fakesieve.jobs.claim import give_up
from fakesieve.jobs.ends import end_job
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import BatchRow, JobEnd
from fakesieve.jobs.states import BatchState, JobState
from fakesieve.jobs.store import JobStore, JobTransaction
from fakesieve.reasons import Reason

# The failure rate of a batch means nothing before this many of its jobs have ended.
BATCH_SAMPLE_MIN = 20
EVENT_AGE_S = 7 * 86_400.0
HOST_AGE_S = 3_600.0
_BATCHES_AT_ONCE = 100


@dataclass(frozen=True)
class Reconciled:
    """What one pass did, as numbers of rows."""

    expired: int  # jobs past their deadline
    exhausted: int  # jobs failed because a shard had no attempt left
    taken_back: int  # leases that ran out
    rung_again: int  # doorbells taken for lost
    closed: int  # shards of jobs that have ended
    settled: int  # batches that ended
    purged: int  # old events and hosts

    @property
    def is_idle(self) -> bool:
        """Whether there was nothing to do."""
        return not any((self.expired, self.exhausted, self.taken_back, self.rung_again, self.settled))


def reconcile(store: JobStore, limits: JobLimits) -> Reconciled:
    """Do one pass over everything that is overdue, in transactions of at most ``limits.step_rows`` rows.

    What does not fit into a pass is left to the next. Time is the store's own clock.
    """

    def step(work: Callable[[JobTransaction, JobLimits], int]) -> int:
        return store.run(lambda tx: work(tx, limits))

    return Reconciled(
        expired=step(_expire_jobs),
        exhausted=step(_fail_exhausted),
        taken_back=step(_take_back_leases),
        rung_again=step(_ring_again),
        closed=step(_close_shards),
        settled=settle_batches(store),
        purged=step(_purge),
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


def _close_shards(tx: JobTransaction, limits: JobLimits) -> int:
    return tx.close_ended_shards(limits.step_rows)


def _purge(tx: JobTransaction, _: JobLimits) -> int:
    return tx.purge(EVENT_AGE_S, HOST_AGE_S)


def settle_batches(store: JobStore) -> int:
    """End batches whose jobs have all ended, and those of which too many jobs failed; return how many."""
    settled, after = 0, ""
    while batches := store.run(lambda tx, after=after: tx.list_unsettled_batches(_BATCHES_AT_ONCE, after)):
        settled += sum(_settle(store, batch) for batch in batches)
        after = batches[-1].id
    return settled


def _settle(store: JobStore, batch: BatchRow) -> bool:
    state = batch.state if batch.state.is_terminal else judge_batch(batch)
    if state is None:
        return False
    moved = store.run(lambda tx: tx.set_batch_state(batch.id, state))
    if batch.live and state is BatchState.CANCELLED:
        end_all_jobs(store, batch.id, JobEnd(JobState.CANCELLED, Reason.CANCELLED_BY_CALLER))
    elif batch.live and state is BatchState.FAILED:
        seen = f"more than {batch.max_failure_rate:.0%} of the jobs of {batch.id} failed"
        end_all_jobs(store, batch.id, JobEnd(JobState.CANCELLED, Reason.FAILURE_RATE_EXCEEDED, seen))
    return moved


def judge_batch(batch: BatchRow) -> BatchState | None:
    """Say how a batch ends by its counts, or None while it goes on."""
    failed = batch.counts.get(JobState.FAILED, 0) + batch.counts.get(JobState.EXPIRED, 0)
    ended = batch.total - batch.live
    if ended >= BATCH_SAMPLE_MIN and failed > ended * batch.max_failure_rate:
        return BatchState.FAILED
    if batch.live or batch.state is BatchState.OPEN:
        return None
    if batch.counts.get(JobState.SUCCEEDED, 0) == batch.total:
        return BatchState.SUCCEEDED
    return BatchState.FAILED if failed == batch.total else BatchState.SUCCEEDED_WITH_ERRORS
