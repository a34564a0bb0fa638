"""Ends that a caller asks for, and the way back: cancel, and retry of what did not succeed."""

from fakesieve.jobs.ends import end_job
from fakesieve.jobs.rows import JobEnd, ShardKey
from fakesieve.jobs.states import BatchEnd, BatchState, JobState
from fakesieve.jobs.store import JobStore, JobTransaction
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
    """End the live jobs of a batch in transactions of bounded size; return how many there were."""

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

    The object may have changed since, so nothing found earlier is used. Its deadline starts again.
    """

    def work(tx: JobTransaction) -> bool:
        if not tx.reset_job(job_id):
            return False
        tx.insert_doorbells([ShardKey(job_id, 0)])
        return True

    return store.run(work)
