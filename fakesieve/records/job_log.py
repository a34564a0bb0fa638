"""What the records know of a job, in order of time. Nothing here changes a row."""

from collections.abc import Iterator

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fakesieve.jobs.states import ShardState
from fakesieve.records.audit import AuditEntry
from fakesieve.records.jobs import IS_DOORBELL, Attempt, Job, Outbox, Shard
from fakesieve.values.job_log import ATTEMPT_ENDS, JOB_ENDS, LogEvent, LogLine, order_lines

_ASKED = {"job.cancelled": LogEvent.CANCEL_ASKED, "job.retried": LogEvent.RETRY_ASKED}


def load_log(session: Session, job_id: str) -> list[LogLine] | None:
    """Return the lines of a job; None where the tenant at hand has none such.

    Tries and pieces are kept for a while only after a job has ended. Of what came before a retry the tries
    are left, but not the state in which the job had ended.
    """
    job = session.get(Job, job_id)
    if job is None:
        return None
    parts = (
        _tell_job(job),
        _tell_acts(session, job),
        _tell_attempts(session, job_id),
        _tell_shards(session, job_id),
        _tell_outbox(session, job_id),
    )
    return order_lines([line for part in parts for line in part])


def _tell_job(job: Job) -> Iterator[LogLine]:
    yield LogLine(job.create_time, LogEvent.JOB_SUBMITTED, message=f"{job.lane}, by {job.source_kind}")
    if job.start_time is not None:
        yield LogLine(job.start_time, LogEvent.JOB_STARTED)
    if job.end_time is not None:
        found = f"answered by {job.analysis_id}" if job.reused_analysis else job.analysis_id
        said = found if job.error_reason is None else job.error_message
        yield LogLine(job.end_time, JOB_ENDS[job.state], reason=job.error_reason, message=said)


def _tell_acts(session: Session, job: Job) -> Iterator[LogLine]:
    """Yield what people and keys asked for; who it was is for those who may read the audit log."""
    entry = AuditEntry
    wanted = select(entry.create_time, entry.action).where(
        entry.tenant_id == job.tenant_id, entry.subject == job.id, entry.action.in_(_ASKED)
    )
    for time, action in session.execute(wanted):
        yield LogLine(time, _ASKED[action])


def _tell_attempts(session: Session, job_id: str) -> Iterator[LogLine]:
    for row in session.scalars(select(Attempt).where(Attempt.job_id == job_id)):
        began = LogLine(
            row.start_time, LogEvent.ATTEMPT_BEGAN, row.shard_index, row.kind, row.number, row.owner
        )
        yield began
        if row.end_time is not None and row.attempt_end is not None:
            yield LogLine(
                row.end_time,
                ATTEMPT_ENDS[row.attempt_end],
                row.shard_index,
                row.kind,
                row.number,
                row.owner,
                row.reason,
                row.message,
            )


def _tell_shards(session: Session, job_id: str) -> Iterator[LogLine]:
    """Yield when the doorbells of pieces were rung last, and what becomes of those that failed."""
    now = session.scalars(select(func.now())).one()
    for row in session.scalars(select(Shard).where(Shard.job_id == job_id)):
        if row.ring_time is not None:
            yield LogLine(row.ring_time, LogEvent.DOORBELL_RUNG, row.index, row.kind)
        if row.state is ShardState.FAILED and row.end_time is not None:
            why = (row.last_reason, row.last_message)
            yield LogLine(row.end_time, LogEvent.SHARD_FAILED, row.index, row.kind, None, None, *why)
        due = row.retry_time
        if row.state is ShardState.PENDING and due is not None and due > now:
            yield LogLine(due, LogEvent.RETRY_DUE, row.index, row.kind, reason=row.last_reason)


def _tell_outbox(session: Session, job_id: str) -> Iterator[LogLine]:
    """Yield what waits to be published: it leaves the outbox then.

    Doorbells and events are asked for apart, as each kind has an index of its own and both together none.
    """
    waiting = select(Outbox.create_time, Outbox.shard_index, Shard.kind).join(
        Shard, (Shard.job_id == Outbox.job_id) & (Shard.index == Outbox.shard_index), isouter=True
    )
    for time, index, kind in session.execute(waiting.where(Outbox.job_id == job_id, IS_DOORBELL)):
        yield LogLine(time, LogEvent.DOORBELL_WAITS, index, kind)
    told = select(Outbox.create_time, Outbox.topic).where(
        Outbox.job_id == job_id, ~IS_DOORBELL, Outbox.publish_time.is_(None)
    )
    for time, topic in session.execute(told):
        yield LogLine(time, LogEvent.EVENT_WAITS, message=topic)
