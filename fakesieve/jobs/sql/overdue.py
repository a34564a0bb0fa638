"""What the reconciler looks for. Locked rows are passed over: another copy is at work on them."""

from sqlalchemy import delete, func, or_, select, tuple_, update

from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import Fault, JobRow, ShardKey, ShardRow
from fakesieve.jobs.sql.claiming import NO_LEASE, SqlClaiming
from fakesieve.jobs.sql.reading import (
    IS_DELAYED,
    IS_LEASE_OVER,
    IS_LIVE,
    JOB_COLUMNS,
    PLAIN,
    SHARD_COLUMNS,
    has_attempts,
    has_no_attempts,
    is_shard,
    read_job_row,
    read_key,
    read_shard_row,
    seconds,
)
from fakesieve.jobs.states import RETRY_STATES, ShardState
from fakesieve.reasons import Reason
from fakesieve.records.jobs import DOORBELL_TOPIC, AttemptEnd, Job, Outbox, Shard, WorkerHost

# Jobs that ended longer ago were looked through often enough.
_ENDED_WITHIN_S = 3_600.0
_EVENTS_AT_ONCE = 5_000  # of one pass, so 500 a second: more than jobs end
_SHARD_KEY = tuple_(Shard.job_id, Shard.index)


class SqlOverdue(SqlClaiming):
    """The part ``OverdueRows`` of the protocol."""

    def lock_overdue_jobs(self, limit: int) -> list[JobRow]:
        statement = (
            select(*JOB_COLUMNS)
            .where(IS_LIVE, Job.deadline < func.now())
            .order_by(Job.deadline)
            .limit(limit)
            .with_for_update(skip_locked=True, key_share=True)
        )
        return [read_job_row(row) for row in self.session.execute(statement)]

    def lock_exhausted_shards(self, limits: JobLimits) -> list[ShardRow]:
        is_rung = (Shard.state == ShardState.PENDING) & Shard.ring_time.is_not(None)
        statement = (
            select(*SHARD_COLUMNS)
            .join(Job, Job.id == Shard.job_id)
            .where(IS_LIVE, or_(IS_LEASE_OVER, is_rung), has_no_attempts(limits))
            .order_by(Shard.job_id, Shard.index)
            .limit(limits.step_rows)
            .with_for_update(of=Shard, skip_locked=True, key_share=True)
        )
        return [read_shard_row(row) for row in self.session.execute(statement)]

    def take_back_leases(self, limits: JobLimits) -> list[ShardKey]:
        over = (
            select(Shard.job_id, Shard.index)
            .join(Job, Job.id == Shard.job_id)
            .where(IS_LIVE, IS_LEASE_OVER, has_attempts(limits))
            .order_by(Shard.lease_until)
            .limit(limits.step_rows)
            .with_for_update(of=Shard, skip_locked=True, key_share=True)
        )
        statement = (
            update(Shard)
            .where(_SHARD_KEY.in_(over))
            .values(state=ShardState.PENDING, last_reason=Reason.LEASE_LOST, last_message=None, **NO_LEASE)
            .returning(Shard.job_id, Shard.index)
        )
        keys = [read_key(row) for row in self.session.execute(statement, execution_options=PLAIN)]
        if keys:
            self.end_attempts(keys, AttemptEnd.LOST, Fault(Reason.LEASE_LOST))
        return sorted(keys)

    def fail_shard(self, key: ShardKey, fault: Fault) -> None:
        statement = (
            update(Shard)
            .where(is_shard(key))
            .values(
                state=ShardState.FAILED,
                end_time=func.now(),
                last_reason=fault.reason,
                last_message=fault.message or None,
                **NO_LEASE,
            )
        )
        self.session.execute(statement, execution_options=PLAIN)
        self.end_attempts([key], AttemptEnd.LOST, fault)

    def lock_silent_shards(self, limits: JobLimits) -> list[ShardKey]:
        statement = (
            select(Shard.job_id, Shard.index)
            .join(Job, Job.id == Shard.job_id)
            .where(
                IS_LIVE,
                Shard.state == ShardState.PENDING,
                Shard.ring_time < func.now() - seconds(limits.doorbell_wait_s),
                ~IS_DELAYED,
            )
            .order_by(Shard.ring_time)
            .limit(limits.step_rows)
            .with_for_update(of=Shard, skip_locked=True, key_share=True)
        )
        return sorted(read_key(row) for row in self.session.execute(statement))

    def close_ended_shards(self, limit: int) -> int:
        left = (
            select(Shard.job_id, Shard.index)
            .join(Job, Job.id == Shard.job_id)
            .where(
                Job.state.in_(RETRY_STATES),
                Job.end_time > func.now() - seconds(_ENDED_WITHIN_S),
                or_(Shard.state == ShardState.PENDING, IS_LEASE_OVER),
            )
            .limit(limit)
            .with_for_update(of=Shard, skip_locked=True, key_share=True)
        )
        statement = (
            update(Shard)
            .where(_SHARD_KEY.in_(left))
            .values(state=ShardState.FAILED, end_time=func.now(), **NO_LEASE)
            .returning(Shard.job_id, Shard.index)
        )
        keys = [read_key(row) for row in self.session.execute(statement, execution_options=PLAIN)]
        if keys:
            self.end_attempts(keys, AttemptEnd.LOST, Fault(Reason.LEASE_LOST))
        return len(keys)

    def purge(self, event_age_s: float, host_age_s: float) -> int:
        oldest = (
            select(Outbox.id).where(Outbox.topic != DOORBELL_TOPIC).order_by(Outbox.id).limit(_EVENTS_AT_ONCE)
        )
        events = delete(Outbox).where(
            Outbox.id.in_(oldest), Outbox.create_time < func.now() - seconds(event_age_s)
        )
        hosts = delete(WorkerHost).where(WorkerHost.beat_time < func.now() - seconds(host_age_s))
        gone = [
            self.session.execute(statement, execution_options=PLAIN).all()
            for statement in (events.returning(Outbox.id), hosts.returning(WorkerHost.owner))
        ]
        return sum(map(len, gone))
