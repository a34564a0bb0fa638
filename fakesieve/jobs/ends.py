"""How a job ends: one place, so that every end writes its event."""

from fakesieve.jobs.rows import Fault, JobEnd, JobRow, ShardRow
from fakesieve.jobs.states import JobState
from fakesieve.jobs.store import JobTransaction
from fakesieve.reasons import Reason


def end_job(tx: JobTransaction, job_id: str, end: JobEnd, *, is_billed: bool = False) -> JobRow | None:
    """End a live job, write its event and, if it is billed, its bill; None when it has ended already."""
    return tx.close_job(job_id, end, is_billed=is_billed)


def failed_by(fault: Fault) -> JobEnd:
    """The end of a job that a fault ruled out."""
    return JobEnd(
        JobState.FAILED,
        fault.reason,
        message=fault.message or None,
        hint=fault.hint or fault.reason.hint,
    )


def describe_exhaustion(shard: ShardRow) -> Fault:
    """Why a shard without attempts left fails its job: the last fault if one is known, else the count.

    Where its lease is over the last fault was that, whatever an earlier attempt has told.
    """
    reason = None if shard.is_lease_over else shard.last_reason
    told = None if shard.is_lease_over else shard.last_message
    seen = told or "the workers died or lost their leases"
    message = f"shard {shard.key.index} gave up after {shard.attempts} attempts: {seen}"
    if reason is None or reason is Reason.LEASE_LOST:
        return Fault(Reason.ATTEMPTS_EXHAUSTED, message)
    return Fault(reason, message)
