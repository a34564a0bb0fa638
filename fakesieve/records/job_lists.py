"""Jobs as people look at them: lists, and one with its work. Nothing here changes a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.orm import Session

from fakesieve.jobs.states import LIVE_STATES, RETRY_STATES, JobState, ShardState
from fakesieve.objects import VideoRef
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.jobs import Attempt, Job, Shard
from fakesieve.records.table import is_at_hand
from fakesieve.records.upload_names import name_uploads
from fakesieve.values.job_lines import AttemptLine, JobDetail, JobFault, JobLine, ShardLine

PAGE_MAX = 1000


@dataclass(frozen=True)
class _Tries:
    """How often the piece of a job was tried that was tried most, and when a piece is tried again."""

    attempts: int | None = None
    next_time: datetime | None = None


_NO_TRIES = _Tries()


def list_jobs(
    session: Session,
    *,
    state: JobState | None = None,
    batch_id: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[JobLine]:
    """Return the jobs of the tenant at hand, newest first.

    Args:
        state: only jobs in this state.
        batch_id: only jobs of this batch.
        before: ``(create_time, id)`` of the last line of the page before.
        limit: lines of a page, at most 1000.
    """
    wanted = select(Job).order_by(Job.create_time.desc(), Job.id.desc()).limit(min(limit, PAGE_MAX))
    # A batch is found along its own index, to which the tenant's would be added in vain.
    is_listed = is_at_hand(session, Job.tenant_id) if batch_id is None else Job.batch_id == batch_id
    wanted = wanted.where(is_listed)
    if state is not None:
        wanted = wanted.where(Job.state == state)
        # These say nothing new, and lead to the indexes of the jobs that have ended, or without a result.
        if state in RETRY_STATES:
            wanted = wanted.where(Job.error_reason.is_not(None))
        elif state.is_terminal:
            wanted = wanted.where(Job.end_time.is_not(None))
    if before is not None:
        wanted = wanted.where(tuple_(Job.create_time, Job.id) < before)
    return _read_lines(session, wanted)


def find_jobs(session: Session, job_ids: Sequence[str]) -> list[JobLine]:
    """Return those of the jobs that the tenant at hand has, in any order."""
    return _read_lines(session, select(Job).where(Job.id.in_(job_ids)))


def find_batch_jobs(session: Session, batch_id: str) -> list[str]:
    """Return the ids of all jobs of a batch, oldest first."""
    return list(session.scalars(select(Job.id).where(Job.batch_id == batch_id).order_by(Job.id)))


def find_job_of_analysis(session: Session, analysis_id: str) -> str | None:
    """Return the id of the job that an analysis was made for, or of the newest that it answered."""
    wanted = select(Job.id).where(Job.analysis_id == analysis_id).order_by(Job.reused_analysis, Job.id.desc())
    return session.scalars(wanted.limit(1)).one_or_none()


def load_job(session: Session, job_id: str) -> JobDetail | None:
    """Return a job with its work; None where the tenant at hand has none such."""
    job = session.get(Job, job_id)
    if job is None:
        return None
    shards = session.scalars(select(Shard).where(Shard.job_id == job_id).order_by(Shard.index))
    attempts = session.scalars(
        select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.start_time, Attempt.fence)
    )
    (line,) = _write_lines(session, [job])
    return JobDetail(
        line,
        job.pipeline_fingerprint,
        job.media,
        tuple(_read_shard(row) for row in shards),
        tuple(_read_attempt(row) for row in attempts),
    )


def find_scored(session: Session, analysis_ids: Sequence[str]) -> set[str]:
    """Return those of the analyses that have a score."""
    wanted = select(Analysis.id).where(Analysis.id.in_(analysis_ids), Analysis.score_raw.is_not(None))
    return set(session.scalars(wanted))


def _read_lines(session: Session, wanted: Select[Job]) -> list[JobLine]:
    return _write_lines(session, session.scalars(wanted).all())


def _write_lines(session: Session, jobs: Sequence[Job]) -> list[JobLine]:
    tries = _load_tries(session, [job.id for job in jobs])
    names = name_uploads(session, [(job.source_bucket, job.source_key) for job in jobs])
    return [
        _read_line(job, tries.get(job.id, _NO_TRIES), names.get((job.source_bucket, job.source_key)))
        for job in jobs
    ]


def _load_tries(session: Session, job_ids: Sequence[str]) -> Mapping[str, _Tries]:
    """Return how often the work of jobs was tried, and when it is tried next: one query for all of them."""
    waits = (Shard.state == ShardState.PENDING) & (Shard.retry_time > func.now())
    wanted = select(Shard.job_id, func.max(Shard.attempts), func.min(Shard.retry_time).filter(waits))
    rows = session.execute(wanted.where(Shard.job_id.in_(job_ids)).group_by(Shard.job_id))
    return {job_id: _Tries(attempts, retry_time) for job_id, attempts, retry_time in rows}


def _read_line(job: Job, tries: _Tries, upload_name: str | None) -> JobLine:
    reason = job.error_reason
    return JobLine(
        id=job.id,
        state=job.state,
        lane=job.lane,
        source=VideoRef(
            job.source_bucket, job.source_key, job.source_version_id, job.source_etag, job.source_size_bytes
        ),
        create_time=job.create_time,
        start_time=job.start_time,
        end_time=job.end_time,
        deadline=job.deadline,
        n_shards=job.n_shards,
        n_done=job.n_done,
        batch_id=job.batch_id,
        external_id=job.external_id,
        video_id=job.video_id,
        analysis_id=job.analysis_id,
        reused_analysis=job.reused_analysis,
        fault=None if reason is None else JobFault(reason, job.error_message, job.error_hint or reason.hint),
        attempts=tries.attempts,
        next_retry_time=tries.next_time if job.state in LIVE_STATES else None,
        upload_name=upload_name,
    )


def _read_shard(row: Shard) -> ShardLine:
    return ShardLine(row.index, row.kind, row.state, row.attempts, row.deliveries, row.lease_owner)


def _read_attempt(row: Attempt) -> AttemptLine:
    return AttemptLine(
        shard=row.shard_index,
        kind=row.kind,
        number=row.number,
        owner=row.owner,
        start_time=row.start_time,
        end_time=row.end_time,
        end=row.attempt_end,
        reason=row.reason,
        message=row.message,
    )
