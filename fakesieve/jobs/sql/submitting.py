"""Rows that come into being when work is taken in."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BindParameter, Text, any_, bindparam, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.types import Double

from fakesieve.errors import RequestRefused
from fakesieve.jobs.rows import BatchDraft, JobDraft, JobRow, Placed, ShardDraft, ShardKey
from fakesieve.jobs.sql.reading import IS_LIVE, PLAIN, SqlRows, is_among, seconds
from fakesieve.reasons import Reason
from fakesieve.records.jobs import DOORBELL_TOPIC, IS_DOORBELL, Batch, Job, Outbox, Shard
from fakesieve.records.tenants import Tenant

# Of this transaction, and of no row: the API may not write tenants, and must not wait for who reads one.
_LOCK_QUOTA = text("SELECT pg_advisory_xact_lock(hashtextextended('quota ' || :tenant, 0))")
_INSERT_SHARD = insert(Shard).values(
    job_id=bindparam("of_job"),
    index=bindparam("at_index"),
    tenant_id=bindparam("of_tenant"),
    kind=bindparam("of_kind"),
    lane=bindparam("in_lane"),
    cost=bindparam("at_cost"),
    fence=bindparam("from_fence"),
    plan=bindparam("by_plan", type_=JSONB(none_as_null=True)),
)
_SECONDS: Double[float] = Double()
# The columns of a new job and what stands in each. Its deadline counts on the database's clock.
_JOB_VALUES: Mapping[str, Callable[[JobDraft], object]] = {
    "id": lambda draft: draft.id,
    "tenant_id": lambda draft: draft.tenant_id,
    "batch_id": lambda draft: draft.batch_id,
    "lane": lambda draft: draft.lane,
    "source_kind": lambda draft: draft.source_kind,
    "source_bucket": lambda draft: draft.source.bucket,
    "source_key": lambda draft: draft.source.key,
    "source_version_id": lambda draft: draft.source.version_id,
    "source_etag": lambda draft: draft.source.etag,
    "source_size_bytes": lambda draft: draft.source.size_bytes,
    "external_id": lambda draft: draft.external_id,
    "idempotency_key": lambda draft: draft.idempotency_key,
    "request_hash": lambda draft: draft.request_hash,
    "time_limit_ms": lambda draft: round(draft.deadline_s * 1000),
}
_DEADLINE = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, bindparam("for_s", type_=_SECONDS))
_NEW_JOB: dict[str, BindParameter[Any]] = {name: bindparam(f"new_{name}") for name in _JOB_VALUES}
_INSERT_JOB = (
    insert(Job)
    .values(**_NEW_JOB, deadline=_DEADLINE)
    .on_conflict_do_nothing(index_elements=["tenant_id", "idempotency_key"])
    .returning(Job.id)
)


def _write_job(draft: JobDraft) -> dict[str, object]:
    """Return what ``_INSERT_JOB`` is to be given."""
    return {f"new_{name}": read(draft) for name, read in _JOB_VALUES.items()} | {"for_s": draft.deadline_s}


class SqlSubmitting(SqlRows):
    """The part ``SubmitRows`` of the protocol."""

    def now(self) -> datetime:
        return self.session.execute(select(func.now())).scalar_one()

    def insert_job(self, draft: JobDraft) -> Placed:
        is_new = self.connection.execute(_INSERT_JOB, _write_job(draft)).scalar_one_or_none() is not None
        return self._find_placed(Job, draft, is_new=is_new)

    def insert_jobs(self, drafts: Sequence[JobDraft]) -> list[Placed]:
        rows = [_write_job(draft) for draft in drafts]
        new = set(self.connection.execute(_INSERT_JOB, rows).scalars())
        rest = [draft.idempotency_key for draft in drafts if draft.id not in new]
        there = select(Job.idempotency_key, Job.id, Job.request_hash).where(
            Job.tenant_id == drafts[0].tenant_id,
            Job.idempotency_key == any_(literal(rest, ARRAY(Text()))),
        )
        known = {row[0]: Placed(row[1], row[2], is_new=False) for row in self.session.execute(there)}
        return [
            Placed(draft.id, draft.request_hash, is_new=True)
            if draft.id in new
            else known[draft.idempotency_key]
            for draft in drafts
        ]

    def insert_batch(self, draft: BatchDraft) -> Placed:
        statement = insert(Batch).values(
            id=draft.id,
            tenant_id=draft.tenant_id,
            name=draft.name,
            lane=draft.lane,
            max_failure_rate=draft.max_failure_rate,
            idempotency_key=draft.idempotency_key,
            request_hash=draft.request_hash,
        )
        # Waits for another transaction that inserts under the same key just now.
        unless_known = statement.on_conflict_do_nothing(index_elements=["tenant_id", "idempotency_key"])
        is_new = self.session.execute(unless_known.returning(Batch.id)).scalar_one_or_none() is not None
        return self._find_placed(Batch, draft, is_new=is_new)

    def _find_placed(self, table: type[Job | Batch], draft: JobDraft | BatchDraft, *, is_new: bool) -> Placed:
        """Return the row that was inserted, or the one that has its key."""
        if is_new:
            return Placed(draft.id, draft.request_hash, is_new=True)
        there = select(table.id, table.request_hash).where(
            table.tenant_id == draft.tenant_id, table.idempotency_key == draft.idempotency_key
        )
        row = self.session.execute(there).one()
        return Placed(row.id, row.request_hash, is_new=False)

    def count_over_quota(self, tenant_id: str) -> int:
        tenant = self.session.execute(select(Tenant.jobs_max).where(Tenant.id == tenant_id)).one_or_none()
        if tenant is None:
            raise RequestRefused(Reason.NOT_FOUND, f"there is no tenant {tenant_id}")
        if tenant.jobs_max is None:
            return 0
        # Two at once would count without each other's job. Whoever comes second waits for the first to
        # commit, and counts it: the next statement looks again.
        self.session.execute(_LOCK_QUOTA, {"tenant": tenant_id})
        live = select(func.count()).select_from(Job).where(Job.tenant_id == tenant_id, IS_LIVE)
        to_come = select(func.coalesce(func.sum(Batch.places), 0)).where(
            Batch.tenant_id == tenant_id, Batch.places > 0, Batch.places_until > func.now()
        )
        counted = select(live.scalar_subquery() + to_come.scalar_subquery())
        return max(0, self.session.execute(counted).scalar_one() - tenant.jobs_max)

    def count_known_jobs(self, tenant_id: str, keys: Collection[str]) -> int:
        # One array and no list of parameters: a manifest may have more lines than a statement parameters.
        among = Job.idempotency_key == any_(literal(list(keys), ARRAY(Text())))
        known = select(func.count()).select_from(Job).where(Job.tenant_id == tenant_id, among)
        return self.session.execute(known).scalar_one()

    def insert_shards(self, drafts: Sequence[ShardDraft]) -> None:
        rows = [
            {
                "of_job": draft.key.job_id,
                "at_index": draft.key.index,
                "of_tenant": draft.tenant_id,
                "of_kind": draft.kind,
                "in_lane": draft.lane,
                "at_cost": draft.cost,
                "from_fence": draft.fence,
                "by_plan": None if draft.plan is None else dict(draft.plan),
            }
            for draft in drafts
        ]
        # Several at once are sent in the driver's pipeline mode, which costs one alone more than it saves.
        self.connection.execute(_INSERT_SHARD, rows if len(rows) > 1 else rows[0])

    def insert_doorbells(self, keys: Sequence[ShardKey], delay_s: float = 0.0) -> None:
        if not keys:
            return
        silent = update(Shard).where(is_among(keys), Shard.ring_time.is_not(None)).values(ring_time=None)
        self.session.execute(silent, execution_options=PLAIN)
        rows = select(
            Shard.tenant_id,
            literal(DOORBELL_TOPIC),
            Shard.job_id,
            Shard.index,
            Shard.lane,
            Shard.cost,
            func.now() + seconds(delay_s),
        ).where(is_among(keys))
        columns = ["tenant_id", "topic", "job_id", "shard_index", "lane", "cost", "due_time"]
        statement = insert(Outbox).from_select(columns, rows.order_by(Shard.job_id, Shard.index))
        moved = statement.on_conflict_do_update(
            index_elements=["job_id", "shard_index"],
            index_where=IS_DOORBELL,
            set_={"due_time": statement.excluded.due_time},
        )
        self.session.execute(moved)

    def insert_event(self, job: JobRow, topic: str) -> None:
        payload: dict[str, object] = {
            "job_id": job.id,
            "state": job.state,
            "batch_id": job.batch_id,
            "analysis_id": job.analysis_id,
            "reused_analysis": job.reused_analysis,
            "reason": job.reason,
        }
        values = {"tenant_id": job.tenant_id, "topic": topic, "job_id": job.id, "lane": job.lane}
        self.session.execute(insert(Outbox).values(**values, payload=payload))
