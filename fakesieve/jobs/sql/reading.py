"""Columns of jobs and shards as values, and conditions that recur. Time is ``now()`` of the database."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, tuple_
from sqlalchemy.orm import Session

from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import JobRow, ShardKey, ShardRow
from fakesieve.jobs.states import LIVE_STATES, ShardState
from fakesieve.objects import VideoRef
from fakesieve.records.jobs import Job, Shard

# Selected columns by name; what they are is said where they are read into a value.
AnyRow = Row[*tuple[Any, ...]]
# No row lives in the session's memory, so there is nothing to bring up to date after a statement.
PLAIN: Mapping[str, Any] = {"synchronize_session": False}

SOURCE_COLUMNS = (
    Job.source_bucket,
    Job.source_key,
    Job.source_version_id,
    Job.source_etag,
    Job.source_size_bytes,
)
IS_LIVE = Job.state.in_(LIVE_STATES)
TIME_LIMIT = Job.time_limit_ms * func.make_interval(0, 0, 0, 0, 0, 0, 0.001)
JOB_COLUMNS = (
    *SOURCE_COLUMNS,
    Job.id,
    Job.tenant_id,
    Job.state,
    Job.lane,
    Job.n_shards,
    Job.n_done,
    Job.fence,
    Job.deadline,
    Job.batch_id,
    Job.video_id,
    Job.pipeline_fingerprint,
    Job.analysis_id,
    Job.reused_analysis,
    Job.error_reason,
    Job.external_id,
    Job.source_kind,
    (Job.deadline - TIME_LIMIT).label("asked_time"),  # a retry moves the deadline
)
IS_LEASE_OVER = and_(Shard.state == ShardState.LEASED, Shard.lease_until < func.now())
IS_DELAYED = func.coalesce(Shard.retry_time > func.now(), False)
SHARD_COLUMNS = (
    Shard.job_id,
    Shard.index,
    Shard.kind,
    Shard.state,
    Shard.fence,
    Shard.attempts,
    Shard.deliveries,
    IS_LEASE_OVER.label("is_lease_over"),
    IS_DELAYED.label("is_delayed"),
    Shard.last_reason,
    Shard.last_message,
)


class SqlRows:
    """Operations share one session, which is one transaction."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @cached_property
    def connection(self) -> Connection:
        """The session's connection, for statements that were built once and are no query of the mapper.

        The session first looks whether objects of the mapper are concerned, which takes as long as all else.
        """
        return self.session.connection()


def seconds(span_s: float) -> timedelta:
    """Return a span as the database's interval."""
    return timedelta(seconds=span_s)


def is_shard(key: ShardKey) -> ColumnElement[bool]:
    """The condition of one shard."""
    return and_(Shard.job_id == key.job_id, Shard.index == key.index)


def is_among(keys: Iterable[ShardKey]) -> ColumnElement[bool]:
    """The condition of some shards."""
    return tuple_(Shard.job_id, Shard.index).in_([(key.job_id, key.index) for key in keys])


def has_attempts(limits: JobLimits) -> ColumnElement[bool]:
    """The condition of a shard that may be claimed again."""
    return and_(Shard.attempts < limits.max_attempts, Shard.deliveries < limits.max_deliveries)


def has_no_attempts(limits: JobLimits) -> ColumnElement[bool]:
    """The opposite of :func:`has_attempts`."""
    return or_(Shard.attempts >= limits.max_attempts, Shard.deliveries >= limits.max_deliveries)


def read_source(row: AnyRow) -> VideoRef:
    """Return the object that a job is about."""
    return VideoRef(
        row.source_bucket, row.source_key, row.source_version_id, row.source_etag, row.source_size_bytes
    )


def read_job_row(row: AnyRow) -> JobRow:
    """Return ``JOB_COLUMNS`` as a value."""
    return JobRow(
        id=row.id,
        tenant_id=row.tenant_id,
        state=row.state,
        lane=row.lane,
        source=read_source(row),
        n_shards=row.n_shards,
        n_done=row.n_done,
        fence=row.fence,
        deadline=row.deadline,
        batch_id=row.batch_id,
        video_id=row.video_id,
        fingerprint=row.pipeline_fingerprint,
        analysis_id=row.analysis_id,
        reused_analysis=row.reused_analysis,
        reason=row.error_reason,
        external_id=row.external_id,
        source_kind=row.source_kind,
        asked_time=row.asked_time,
    )


def read_key(row: AnyRow) -> ShardKey:
    """Return the key among ``SHARD_COLUMNS``; a row is a tuple too, whose ``index`` is a method."""
    return ShardKey(row[0], row[1])


def read_shard_row(row: AnyRow) -> ShardRow:
    """Return ``SHARD_COLUMNS`` as a value."""
    return ShardRow(
        read_key(row),
        row.kind,
        row.state,
        row.fence,
        row.attempts,
        row.deliveries,
        row.is_lease_over,
        row.is_delayed,
        row.last_reason,
        row.last_message,
    )
