"""What the reconciler looks for. Locked rows are passed over: another copy is at work on them."""

from collections.abc import Collection

from sqlalchemy import and_, delete, exists, func, or_, select, tuple_, update

from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import Closed, EndedJob, Fault, JobRow, ShardKey, ShardRow
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
    is_among,
    is_shard,
    read_job_row,
    read_key,
    read_shard_row,
    seconds,
)
from fakesieve.jobs.states import RETRY_STATES, ShardState
from fakesieve.reasons import Reason
from fakesieve.records.jobs import DOORBELL_TOPIC, Attempt, Job, Outbox, Shard, WorkerHost
from fakesieve.values.jobs import AttemptEnd

_ROWS_AT_ONCE = 5_000  # of one pass, so 500 a second at least: more than jobs end
_SHARD_KEY = tuple_(Shard.job_id, Shard.index)
_JOBS_AT_ONCE = 1_000  # of one pass, so 100 a second at least
_OLDEST = select(Shard.job_id).where(Shard.index == 0).order_by(Shard.job_id).limit(_JOBS_AT_ONCE)


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

    def end_leases(self, owner: str) -> int:
        held = (
            select(Shard.job_id, Shard.index)
            .where(Shard.state == ShardState.LEASED, Shard.lease_owner == owner)
            .order_by(Shard.job_id, Shard.index)
            .with_for_update(key_share=True)
        )
        # A lease is over when its end lies in the past of the transaction that looks.
        ended = (
            update(Shard).where(_SHARD_KEY.in_(held)).values(lease_until=func.now()).returning(Shard.job_id)
        )
        rows = self.session.execute(ended, execution_options=PLAIN).all()
        self.session.execute(delete(WorkerHost).where(WorkerHost.owner == owner))
        return len(rows)

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

    def close_ended_shards(self, limit: int) -> Closed:
        ended = (
            select(Job.id)
            .where(Job.has_open_shards, Job.state.in_(RETRY_STATES))
            .order_by(Job.end_time)
            .limit(limit)
        )
        job_ids = self.session.scalars(ended).all()
        if not job_ids:
            return Closed()
        idle = (
            select(Shard.job_id, Shard.index)
            .where(Shard.job_id.in_(job_ids), or_(Shard.state == ShardState.PENDING, IS_LEASE_OVER))
            .order_by(Shard.job_id, Shard.index)
            .with_for_update(skip_locked=True, key_share=True)
        )
        locked = [read_key(row) for row in self.session.execute(idle)]
        # A job may have been retried since it was found. From here on that has to wait for us.
        still = (
            select(Job.id)
            .where(Job.id.in_(job_ids), Job.state.in_(RETRY_STATES))
            .order_by(Job.id)
            .with_for_update(skip_locked=True, key_share=True)
        )
        still_ended = frozenset(self.session.scalars(still))
        keys = [key for key in locked if key.job_id in still_ended]
        self._close(keys)
        whole = self._note_closed(still_ended)
        return Closed(len(keys), whole, is_full=len(job_ids) == limit and bool(whole))

    def _close(self, keys: list[ShardKey]) -> None:
        if not keys:
            return
        closed = (
            update(Shard)
            .where(is_among(keys))
            .values(state=ShardState.FAILED, end_time=func.now(), **NO_LEASE)
        )
        self.session.execute(closed, execution_options=PLAIN)
        self.end_attempts(keys, AttemptEnd.LOST, Fault(Reason.LEASE_LOST))

    def _note_closed(self, job_ids: Collection[str]) -> tuple[EndedJob, ...]:
        """Pass over these jobs from now on, but for those of which somebody still works on a shard.

        Returns those that are passed over.
        """
        open_shards = exists().where(
            Shard.job_id == Job.id, Shard.state.in_((ShardState.PENDING, ShardState.LEASED))
        )
        is_marked = and_(Job.id.in_(job_ids), Job.has_open_shards)
        done = update(Job).where(is_marked, ~open_shards).values(has_open_shards=False)
        rows = self.session.execute(
            done.returning(Job.id, Job.state, Job.error_reason, Job.end_time, Job.deadline),
            execution_options=PLAIN,
        )
        return tuple(EndedJob(*row) for row in rows)

    def drop_evidence(self, age_s: float) -> int:
        old = (
            select(Shard.job_id, Shard.index)
            .join(Job, Job.id == Shard.job_id)
            .where(Shard.evidence.is_not(None), Shard.end_time < func.now() - seconds(age_s), ~IS_LIVE)
            .order_by(Shard.end_time)
            .limit(_ROWS_AT_ONCE)
            .with_for_update(of=Shard, skip_locked=True, key_share=True)
        )
        dropped = update(Shard).where(_SHARD_KEY.in_(old)).values(evidence=None).returning(Shard.index)
        return len(self.session.execute(dropped, execution_options=PLAIN).all())

    def drop_shards(self, age_s: float) -> int:
        is_over = and_(~IS_LIVE, Job.end_time < func.now() - seconds(age_s))
        # Ids sort by time, so these are the jobs that were submitted first. Who has the first shard of a job
        # locked keeps a retry of it waiting.
        oldest = (
            select(Shard.job_id)
            .join(Job, Job.id == Shard.job_id)
            .where(Shard.job_id.in_(_OLDEST), Shard.index == 0, is_over)
            .order_by(Shard.job_id)
            .with_for_update(of=Shard, skip_locked=True)
        )
        found = self.session.scalars(oldest).all()
        if not found:
            return 0
        highest = select(func.max(Shard.fence)).where(Shard.job_id == Job.id).scalar_subquery()
        kept = update(Job).where(Job.id.in_(found), is_over).values(fence=highest).returning(Job.id)
        job_ids = self.session.scalars(kept, execution_options=PLAIN).all()
        for table in (Attempt, Shard):
            self.session.execute(delete(table).where(table.job_id.in_(job_ids)), execution_options=PLAIN)
        return len(job_ids)

    def purge(self, event_age_s: float, host_age_s: float) -> int:
        oldest = (
            select(Outbox.id).where(Outbox.topic != DOORBELL_TOPIC).order_by(Outbox.id).limit(_ROWS_AT_ONCE)
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
