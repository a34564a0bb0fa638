"""The one claim statement, and what holds or gives back a claim."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import CTE, Interval, Select, Text, bindparam, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import Claim, Fault, JobRow, ShardKey, ShardRow
from fakesieve.jobs.sql.reading import (
    IS_DELAYED,
    IS_LEASE_OVER,
    IS_LIVE,
    JOB_COLUMNS,
    PLAIN,
    SHARD_COLUMNS,
    SOURCE_COLUMNS,
    AnyRow,
    SqlRows,
    is_among,
    is_shard,
    read_job_row,
    read_key,
    read_shard_row,
    read_source,
    seconds,
)
from fakesieve.jobs.states import JobState, ShardState
from fakesieve.reasons import Reason
from fakesieve.records.jobs import Attempt, Job, Shard
from fakesieve.values.jobs import AttemptEnd

NO_LEASE = {"lease_owner": None, "lease_until": None}

_CLAIM_COLUMNS = (
    Shard.kind,
    Shard.fence,
    Shard.attempts,
    Shard.deliveries,
    Shard.plan,
    *SOURCE_COLUMNS,
    Job.tenant_id,
    Job.lane,
    Job.media,
    Job.deadline,
    Job.video_id,
    Job.pipeline_fingerprint,
    Job.n_shards,
)

# What runs for every shard is built once: building it anew takes longer than running it. It is also one
# statement where it can be, as each costs the host and the server about as much as what it does. No parameter
# has the name of a column: SQLAlchemy would set that column in every table that is written.
_ATTEMPT_KEY = (Attempt.job_id, Attempt.shard_index)


def _build_lease() -> Select[*tuple[Any, ...]]:
    """Return the claim statement: the lease, and in its wake the job's start and the log of attempts."""
    leased = _lease_shard()
    return select(leased).add_cte(_start_job(leased), _end_lost_attempt(leased), _log_attempt(leased))


def _lease_shard() -> CTE:
    """Take the shard if it may be taken, under the next fence."""
    return (
        update(Shard)
        .where(
            Shard.job_id == bindparam("of_job"),
            Shard.index == bindparam("at_index"),
            Shard.attempts < bindparam("max_attempts"),
            Shard.deliveries < bindparam("max_deliveries"),
            ~IS_DELAYED,
            or_(Shard.state == ShardState.PENDING, IS_LEASE_OVER),
            Job.id == Shard.job_id,
            IS_LIVE,
            Job.deadline > func.now(),
        )
        .values(
            state=ShardState.LEASED,
            lease_owner=bindparam("by_owner"),
            lease_until=func.now() + bindparam("lease", type_=Interval),
            fence=Shard.fence + 1,
            attempts=Shard.attempts + 1,
            deliveries=Shard.deliveries + 1,
        )
        .returning(Shard.job_id, Shard.index, *_CLAIM_COLUMNS)
        .cte("leased")
    )


def _start_job(leased: CTE) -> CTE:
    """Let a job that waited run from now on."""
    return (
        update(Job)
        .where(Job.id == leased.c.job_id, Job.state == JobState.QUEUED)
        .values(state=JobState.RUNNING, start_time=func.coalesce(Job.start_time, func.now()))
        .cte("started")
    )


def _end_lost_attempt(leased: CTE) -> CTE:
    """End the attempt of an earlier holder whose lease ran out."""
    return (
        update(Attempt)
        .where(
            Attempt.job_id == leased.c.job_id,
            Attempt.shard_index == leased.c.index,
            Attempt.end_time.is_(None),
            leased.c.deliveries > 1,
        )
        .values(attempt_end=AttemptEnd.LOST, end_time=func.now(), reason=Reason.LEASE_LOST)
        .cte("lost")
    )


def _log_attempt(leased: CTE) -> CTE:
    """Write down that this attempt has begun."""
    noted = select(
        leased.c.tenant_id,
        leased.c.job_id,
        leased.c.index,
        leased.c.fence,
        leased.c.kind,
        leased.c.attempts,
        bindparam("by_owner", type_=Text()),
    )
    columns = ["tenant_id", "job_id", "shard_index", "fence", "kind", "number", "owner"]
    return insert(Attempt).from_select(columns, noted).cte("logged")


_LEASE = _build_lease()
_READ_JOB = select(*JOB_COLUMNS).where(Job.id == bindparam("of_job"))
_END_ATTEMPTS = (
    update(Attempt)
    .where(Attempt.end_time.is_(None))
    .values(
        attempt_end=bindparam("how"),
        end_time=func.now(),
        reason=bindparam("why"),
        message=bindparam("seen"),
    )
)


class SqlClaiming(SqlRows):
    """The part ``ClaimRows`` of the protocol. Claims stand in the log of attempts from their statement on."""

    def lease_shard(self, key: ShardKey, owner: str, lease_s: float, limits: JobLimits) -> Claim | None:
        values = {
            "of_job": key.job_id,
            "at_index": key.index,
            "max_attempts": limits.max_attempts,
            "max_deliveries": limits.max_deliveries,
            "by_owner": owner,
            "lease": seconds(lease_s),
        }
        row = self.connection.execute(_LEASE, values).one_or_none()
        return None if row is None else _read_claim(key, row)

    def find_claim(self, key: ShardKey, owner: str) -> Claim | None:
        statement = (
            select(*_CLAIM_COLUMNS)
            .join(Job, Job.id == Shard.job_id)
            .where(
                is_shard(key),
                Shard.state == ShardState.LEASED,
                Shard.lease_owner == owner,
                Shard.lease_until > func.now(),
                IS_LIVE,
            )
        )
        row = self.session.execute(statement).one_or_none()
        return None if row is None else _read_claim(key, row)

    def end_attempts(self, keys: list[ShardKey], end: AttemptEnd, fault: Fault | None = None) -> None:
        """Note how the running claims of these locked shards have ended."""
        if not keys:
            return
        those = tuple_(*_ATTEMPT_KEY).in_([(key.job_id, key.index) for key in keys])
        values = {
            "how": end,
            "why": fault.reason if fault else None,
            "seen": (fault.message or None) if fault else None,
        }
        self.session.execute(_END_ATTEMPTS.where(those), values, execution_options=PLAIN)

    def extend_leases(
        self, owner: str, fences: Mapping[ShardKey, int], lease_s: float
    ) -> frozenset[ShardKey]:
        held = (
            select(Shard.job_id, Shard.index, Shard.fence)
            .join(Job, Job.id == Shard.job_id)
            .where(
                is_among(fences),
                Shard.state == ShardState.LEASED,
                Shard.lease_owner == owner,
                IS_LIVE,
                Job.deadline > func.now(),
            )
            .order_by(Shard.job_id, Shard.index)
        )
        # Whoever writes the result of one shard must not keep the others from being lengthened. A shard that
        # is passed over is still held, or the next beat will see that it is not.
        free = self.session.execute(held.with_for_update(of=Shard, skip_locked=True, key_share=True)).all()
        longer = frozenset(read_key(row) for row in free if row.fence == fences[read_key(row)])
        if longer:
            lease = update(Shard).where(is_among(longer)).values(lease_until=func.now() + seconds(lease_s))
            self.session.execute(lease, execution_options=PLAIN)
        if len(longer) == len(fences):
            return longer
        rows = self.session.execute(held).all()
        return frozenset(read_key(row) for row in rows if row.fence == fences[read_key(row)])

    def find_live_jobs(self, job_ids: Collection[str]) -> frozenset[str]:
        live = select(Job.id).where(Job.id.in_(job_ids), IS_LIVE)
        return frozenset(self.session.scalars(live))

    def release_lease(
        self, key: ShardKey, fence: int, fault: Fault, delay_s: float, *, refund: bool
    ) -> ShardRow | None:
        statement = (
            update(Shard)
            .where(is_shard(key), Shard.fence == fence, Shard.state == ShardState.LEASED)
            .values(
                state=ShardState.PENDING,
                retry_time=func.now() + seconds(delay_s),
                attempts=Shard.attempts - int(refund),
                last_reason=fault.reason,
                last_message=fault.message or None,
                **NO_LEASE,
            )
            .returning(*SHARD_COLUMNS)
        )
        row = self.session.execute(statement, execution_options=PLAIN).one_or_none()
        if row is None:
            return None
        self.end_attempts([key], AttemptEnd.RELEASED, fault)
        return read_shard_row(row)

    def read_shard(self, key: ShardKey) -> ShardRow | None:
        row = self.session.execute(select(*SHARD_COLUMNS).where(is_shard(key))).one_or_none()
        return None if row is None else read_shard_row(row)

    def read_job(self, job_id: str) -> JobRow | None:
        row = self.connection.execute(_READ_JOB, {"of_job": job_id}).one_or_none()
        return None if row is None else read_job_row(row)


def _read_claim(key: ShardKey, row: AnyRow) -> Claim:
    return Claim(
        key=key,
        kind=row.kind,
        fence=row.fence,
        attempt=row.attempts,
        lane=row.lane,
        tenant_id=row.tenant_id,
        source=read_source(row),
        plan=row.plan,
        media=row.media,
        deadline=row.deadline,
        video_id=row.video_id,
        fingerprint=row.pipeline_fingerprint,
        n_shards=row.n_shards,
        deliveries=row.deliveries,
    )
