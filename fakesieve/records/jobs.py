"""Tables of work: batches, jobs, shards, the outbox, attempts, worker hosts and what is billed.

Their writers are in ``fakesieve/jobs``; nobody else moves a state. What is written often keeps room in its
pages for new versions of rows, and is vacuumed early.
"""

from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    UniqueConstraint,
    false,
    func,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Double

from fakesieve.ids import IdPrefix
from fakesieve.jobs.states import BatchEnd, BatchState, JobState, Lane, ShardState, WorkKind
from fakesieve.reasons import OF_CALLERS, Reason
from fakesieve.records.table import Base, CreateTime, Id, JsonObject, TenantOwned, choice, public_id
from fakesieve.values.jobs import AttemptEnd
from fakesieve.values.videos import SourceKind

DOORBELL_TOPIC = "doorbell"
_OFTEN_WRITTEN = {"fillfactor": "70", "autovacuum_vacuum_scale_factor": "0.01"}


def _stored_reason(column: str) -> Mapped[Reason | None]:
    """Return the column of a reason that work ended for: any but those that callers alone are told."""
    listed = ", ".join(f"'{reason.value}'" for reason in Reason if reason not in OF_CALLERS)
    is_one = CheckConstraint(f"{column} IN ({listed})", name="reason")
    return mapped_column(choice(Reason, is_checked=False), is_one)


_LIVE = "state IN ('queued', 'running')"
_HAS_REASON = "state IN ('failed', 'cancelled', 'expired')"


class Batch(TenantOwned, CreateTime, Base):
    """A list of jobs as one thing. Its counts are queries over its jobs.

    ``end_reason`` is null while it goes on, and of batches that ended before there was the column. ``places``
    is how many jobs its submission is still to bring, which count against the tenant's quota until
    ``places_until``: a submission that goes on moves that.
    """

    __tablename__ = "batch"
    __table_args__ = (
        UniqueConstraint("tenant_id", "idempotency_key"),
        CheckConstraint("max_failure_rate BETWEEN 0 AND 1", name="max_failure_rate"),
        CheckConstraint("(end_time IS NULL) = (state IN ('open', 'running'))", name="end_time"),
        CheckConstraint("end_reason IS NULL OR end_time IS NOT NULL", name="end_reason"),
        CheckConstraint("places >= 0", name="places"),
        Index(None, "end_time", postgresql_where=text("end_time IS NULL")),
        Index(None, "tenant_id", "create_time", "id"),
        Index("ix_batch_places", "tenant_id", postgresql_where=text("places > 0")),
    )

    id: Mapped[Id] = public_id(IdPrefix.BATCH)
    name: Mapped[str]
    lane: Mapped[Lane] = mapped_column(choice(Lane))
    state: Mapped[BatchState] = mapped_column(choice(BatchState), server_default=BatchState.OPEN.value)
    max_failure_rate: Mapped[float] = mapped_column(Double())
    idempotency_key: Mapped[str | None]
    request_hash: Mapped[str]
    end_time: Mapped[datetime | None]
    end_reason: Mapped[BatchEnd | None] = mapped_column(choice(BatchEnd), sort_order=100)
    places: Mapped[int] = mapped_column(Integer, server_default="0", sort_order=101)
    places_until: Mapped[datetime | None] = mapped_column(sort_order=102)


class Job(TenantOwned, CreateTime, Base):
    """A caller's request to screen one video.

    ``n_shards`` and ``n_done`` count ``screen`` shards only; both are 0 until the job is prepared. ``fence``
    is where the fences of its next shards begin. ``has_open_shards`` is set by an end that leaves work
    behind, until the reconciler has closed that. ``media`` is the probe's answer. ``time_limit_ms`` counts
    from the submission or the last retry and led to ``deadline``.
    """

    __tablename__ = "job"
    __table_args__ = (
        UniqueConstraint("tenant_id", "idempotency_key"),
        CheckConstraint("n_done BETWEEN 0 AND n_shards", name="n_done"),
        CheckConstraint(f"(end_time IS NULL) = ({_LIVE})", name="end_time"),
        CheckConstraint(f"(error_reason IS NOT NULL) = ({_HAS_REASON})", name="error_reason"),
        CheckConstraint("(analysis_id IS NOT NULL) = (state = 'succeeded')", name="analysis_id"),
        Index(None, "tenant_id", "create_time", "id"),
        # Those that wait are the newest: a list of what has ended would walk past all of them.
        Index(
            "ix_job_ended", "tenant_id", "create_time", "id", postgresql_where=text("end_time IS NOT NULL")
        ),
        Index(
            "ix_job_fault",
            "tenant_id",
            "create_time",
            "id",
            postgresql_where=text("error_reason IS NOT NULL"),
        ),
        Index(None, "tenant_id", "source_key"),
        Index(None, "end_time", postgresql_where=text("end_time IS NOT NULL")),
        Index("ix_job_live_deadline", "deadline", postgresql_where=text(_LIVE)),
        Index("ix_job_live_tenant_id", "tenant_id", postgresql_where=text(_LIVE)),
        Index(None, "batch_id", "state", postgresql_where=text("batch_id IS NOT NULL")),
        Index("ix_job_open_shards", "end_time", postgresql_where=text("has_open_shards")),
        Index(None, "analysis_id", postgresql_where=text("analysis_id IS NOT NULL")),
        Index(None, "video_id", postgresql_where=text("video_id IS NOT NULL")),
        {"postgresql_with": _OFTEN_WRITTEN},
    )

    id: Mapped[Id] = public_id(IdPrefix.JOB)
    batch_id: Mapped[Id | None] = mapped_column(ForeignKey("batch.id", ondelete="CASCADE"))
    lane: Mapped[Lane] = mapped_column(choice(Lane))
    state: Mapped[JobState] = mapped_column(choice(JobState), server_default=JobState.QUEUED.value)
    source_kind: Mapped[SourceKind] = mapped_column(choice(SourceKind))
    source_bucket: Mapped[str]
    source_key: Mapped[str]
    source_version_id: Mapped[str | None]
    source_etag: Mapped[str | None]
    source_size_bytes: Mapped[int | None]
    external_id: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    request_hash: Mapped[str]
    video_id: Mapped[Id | None] = mapped_column(ForeignKey("video.id", ondelete="CASCADE"))
    pipeline_fingerprint: Mapped[str | None]
    media: Mapped[JsonObject | None]
    n_shards: Mapped[int] = mapped_column(Integer, server_default="0")
    n_done: Mapped[int] = mapped_column(Integer, server_default="0")
    fence: Mapped[int] = mapped_column(server_default="0")
    time_limit_ms: Mapped[int]
    deadline: Mapped[datetime]
    start_time: Mapped[datetime | None]
    end_time: Mapped[datetime | None]
    analysis_id: Mapped[Id | None] = mapped_column(ForeignKey("analysis.id"))
    reused_analysis: Mapped[bool] = mapped_column(server_default=false())
    error_reason: Mapped[Reason | None] = _stored_reason("error_reason")
    error_message: Mapped[str | None]
    error_hint: Mapped[str | None]
    has_open_shards: Mapped[bool] = mapped_column(server_default=false(), sort_order=100)


class Shard(TenantOwned, CreateTime, Base):
    """One piece of a job's work, and the lease on it.

    ``ring_time`` is when its doorbell was last published, or known to lie in the broker; it is null while the
    doorbell waits in the outbox. ``deliveries`` counts claims, ``attempts`` those of them that were not given
    back cleanly. ``evidence`` is dropped some time after the job has ended.
    """

    __tablename__ = "shard"
    __table_args__ = (
        CheckConstraint("index >= 0 AND (index = 0) = (kind = 'prepare')", name="index"),
        CheckConstraint("attempts BETWEEN 0 AND deliveries", name="attempts"),
        CheckConstraint(
            "(state = 'leased') = (lease_owner IS NOT NULL)"
            " AND (state = 'leased') = (lease_until IS NOT NULL)",
            name="lease",
        ),
        Index("ix_shard_leased", "lease_until", postgresql_where=text("state = 'leased'")),
        Index(
            "ix_shard_rung", "ring_time", postgresql_where=text("state = 'pending' AND ring_time IS NOT NULL")
        ),
        Index("ix_shard_evidence", "end_time", postgresql_where=text("evidence IS NOT NULL")),
        {"postgresql_with": _OFTEN_WRITTEN},
    )

    job_id: Mapped[Id] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    index: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[WorkKind] = mapped_column(choice(WorkKind))
    lane: Mapped[Lane] = mapped_column(choice(Lane))
    state: Mapped[ShardState] = mapped_column(choice(ShardState), server_default=ShardState.PENDING.value)
    plan: Mapped[JsonObject | None]
    cost: Mapped[float] = mapped_column(Double(), server_default="1")
    fence: Mapped[int] = mapped_column(server_default="0")
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    deliveries: Mapped[int] = mapped_column(Integer, server_default="0")
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    retry_time: Mapped[datetime | None]
    ring_time: Mapped[datetime | None]
    end_time: Mapped[datetime | None]
    last_reason: Mapped[Reason | None] = _stored_reason("last_reason")
    last_message: Mapped[str | None]
    evidence: Mapped[bytes | None]


class Outbox(TenantOwned, CreateTime, Base):
    """What must be told to the world outside the database, written in the transaction that made it true.

    A doorbell's row is deleted when it is rung. An event's row is kept for a while after it was published.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        CheckConstraint(f"(topic = '{DOORBELL_TOPIC}') = (shard_index IS NOT NULL)", name="shard_index"),
        Index(
            "uq_outbox_doorbell",
            "job_id",
            "shard_index",
            unique=True,
            postgresql_where=text(f"topic = '{DOORBELL_TOPIC}'"),
        ),
        Index(
            "ix_outbox_queue",
            "lane",
            "tenant_id",
            "due_time",
            "id",
            postgresql_where=text(f"topic = '{DOORBELL_TOPIC}'"),
        ),
        Index("ix_outbox_event", "id", postgresql_where=text(f"topic <> '{DOORBELL_TOPIC}'")),
        {"postgresql_with": _OFTEN_WRITTEN},
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    topic: Mapped[str]
    job_id: Mapped[Id] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    shard_index: Mapped[int | None] = mapped_column(Integer)
    lane: Mapped[Lane] = mapped_column(choice(Lane))
    cost: Mapped[float] = mapped_column(Double(), server_default="1")
    payload: Mapped[JsonObject | None]
    due_time: Mapped[datetime] = mapped_column(server_default=func.now())
    publish_time: Mapped[datetime | None]


# A constant and no parameter, so that every plan can use the indexes of doorbells.
IS_DOORBELL = Outbox.topic == literal_column(f"'{DOORBELL_TOPIC}'")


class Attempt(TenantOwned, Base):
    """One claim of one shard, from the statement that leased it. Null ``end`` means that it runs."""

    __tablename__ = "attempt"
    __table_args__ = (
        CheckConstraint("(attempt_end IS NULL) = (end_time IS NULL)", name="end_time"),
        {"postgresql_with": _OFTEN_WRITTEN},
    )

    job_id: Mapped[Id] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    shard_index: Mapped[int] = mapped_column(Integer, primary_key=True)
    fence: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[WorkKind] = mapped_column(choice(WorkKind))
    number: Mapped[int] = mapped_column(Integer)
    owner: Mapped[str]
    start_time: Mapped[datetime] = mapped_column(server_default=func.now())
    end_time: Mapped[datetime | None]
    attempt_end: Mapped[AttemptEnd | None] = mapped_column(choice(AttemptEnd))
    reason: Mapped[Reason | None] = _stored_reason("reason")
    message: Mapped[str | None]


class WorkerHost(Base):
    """A worker process that offers slots, and what it scores with. It belongs to no tenant."""

    __tablename__ = "worker_host"
    __table_args__ = (CheckConstraint("slots > 0", name="slots"),)

    owner: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    version: Mapped[str]
    slots: Mapped[int] = mapped_column(Integer)
    is_draining: Mapped[bool] = mapped_column(server_default=false())
    rss_bytes: Mapped[int | None]
    model_id: Mapped[Id | None] = mapped_column(ForeignKey("model.id", ondelete="SET NULL"))
    pipeline_fingerprint: Mapped[str | None]
    start_time: Mapped[datetime] = mapped_column(server_default=func.now())
    beat_time: Mapped[datetime] = mapped_column(server_default=func.now())


class Usage(TenantOwned, CreateTime, Base):
    """One billed job: it was scored, and not answered from an earlier analysis. Counters are sums over this.

    It outlives the job: a deleted video stays billed.
    """

    __tablename__ = "usage"
    __table_args__ = (Index(None, "tenant_id", "create_time"),)

    job_id: Mapped[Id] = mapped_column(primary_key=True)
    analysis_id: Mapped[Id] = mapped_column(unique=True)
    n_shards: Mapped[int] = mapped_column(Integer)
    duration_ms: Mapped[int]
