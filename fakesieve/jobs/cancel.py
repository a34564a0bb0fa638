"""Ends that a caller asks for, and the way back: cancel, and retry of what did not succeed."""

from collections.abc import Sequence

from fakesieve.jobs.ends import end_job
from fakesieve.jobs.rows import JobEnd, ShardKey
from fakesieve.jobs.states import BatchEnd, BatchState, JobState
from fakesieve.jobs.store import JobStore, JobTransaction
from fakesieve.jobs.submit import check_quota
from fakesieve.reasons import Reason

_ROWS_AT_ONCE = 200


def cancel_job(store: JobStore, job_id: str, message: str = "") -> bool:
    """Cancel a live job; False when it has ended. Workers learn it within some seconds.

    Only the job's row is touched, so it never waits for a shard that is being written.
    """
    end = JobEnd(JobState.CANCELLED, Reason.CANCELLED_BY_CALLER, message or None)
    return store.run(lambda tx: end_job(tx, job_id, end) is not None)


def cancel_batch(store: JobStore, batch_id: str, message: str = "") -> int:
    """Cancel the batch, then all its live jobs in steps; return how many jobs were live.

    A second call goes on where a first one was cut off. The reconciler does the same for a cancelled batch.
    """
    store.run(lambda tx: tx.set_batch_state(batch_id, BatchState.CANCELLED, BatchEnd.CANCELLED))
    end = JobEnd(JobState.CANCELLED, Reason.CANCELLED_BY_CALLER, message or None)
    return end_all_jobs(store, batch_id, end)


def end_all_jobs(store: JobStore, batch_id: str, end: JobEnd) -> int:
    """End the live jobs of an ended batch in transactions of bounded size; return how many there were.

    It stops where the batch runs again meanwhile: whoever asked for that asked last.
    """

    def work(tx: JobTransaction) -> int:
        jobs = tx.end_batch_jobs(batch_id, end, _ROWS_AT_ONCE)
        for job in jobs:
            tx.insert_event(job, f"job.{end.state}")
        return len(jobs)

    ended = 0
    while step := store.run(work):
        ended += step
    return ended


def retry_job(store: JobStore, job_id: str) -> bool:
    """Start a failed, cancelled or expired job again from the beginning; False in any other state.

    The object may have changed since, so nothing found earlier is used. Its deadline starts again. A batch of
    its that has ended runs again, and ends once more when its jobs have. Raises
    ``RequestRefused`` where the tenant has no place for one more live job.
    """

    def work(tx: JobTransaction) -> bool:
        job = tx.read_job(job_id)
        return job is not None and _begin_again(tx, job.tenant_id, [job_id]) == 1

    return store.run(work)


def retry_jobs(store: JobStore, tenant_id: str, job_ids: Sequence[str]) -> int:
    """Start some jobs of a tenant again, in one transaction, as :func:`retry_job`; return how many could be.

    Raises ``RequestRefused``, and starts none, where the tenant has no place for all of them.
    """
    return store.run(lambda tx: _begin_again(tx, tenant_id, job_ids))


def _begin_again(tx: JobTransaction, tenant_id: str, job_ids: Sequence[str]) -> int:
    begun = [job_id for job_id in job_ids if tx.reset_job(job_id)]
    if begun:
        tx.insert_doorbells([ShardKey(job_id, 0) for job_id in begun])
        tx.reopen_batches(begun)
        # A live job again, which must not take the place that a list on its way has been promised.
        check_quota(tx, tenant_id)
    return len(begun)
