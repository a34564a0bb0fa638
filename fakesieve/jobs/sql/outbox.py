"""The backlog as the relay sees it, and the hosts that work on it."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import (
    Interval,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from fakesieve.jobs.rows import WAITING_MAX, HostBeat, HostModel, ShardKey, Waiting
from fakesieve.jobs.sql.reading import (
    IS_DELAYED,
    IS_LIVE,
    PLAIN,
    AnyRow,
    SqlRows,
    is_among,
    seconds,
)
from fakesieve.jobs.states import Lane, ShardState
from fakesieve.records.jobs import IS_DOORBELL, Job, Outbox, Shard, WorkerHost
from fakesieve.records.models import ensure_model, store_card, store_model_policy
from fakesieve.records.policies import ensure_policy

# The first rows of each queue without reading the others: the recursion jumps from one pair of lane and
# tenant to the next along the index, so a backlog of a million costs as much as one of ten.
_FIRST_OF_EACH_QUEUE = text("""
WITH RECURSIVE queue AS (
    (SELECT lane, tenant_id FROM outbox WHERE topic = 'doorbell' ORDER BY lane, tenant_id LIMIT 1)
    UNION ALL
    SELECT following.lane, following.tenant_id
    FROM queue CROSS JOIN LATERAL (
        SELECT lane, tenant_id FROM outbox
        WHERE topic = 'doorbell' AND (lane, tenant_id) > (queue.lane, queue.tenant_id)
        ORDER BY lane, tenant_id LIMIT 1
    ) AS following
), number AS (
    SELECT least(:per_queue, greatest(1, :in_all / greatest(1, count(*)))) AS each FROM queue
)
SELECT first.id, first.job_id, first.shard_index, first.tenant_id, first.lane, first.cost, tenant.weight,
       extract(epoch FROM now() - first.due_time) AS waited_s
FROM queue
JOIN tenant ON tenant.id = queue.tenant_id
CROSS JOIN LATERAL (
    SELECT id, job_id, shard_index, tenant_id, lane, cost, due_time FROM outbox
    WHERE topic = 'doorbell' AND lane = queue.lane AND tenant_id = queue.tenant_id AND due_time <= now()
    ORDER BY due_time, id LIMIT (SELECT each FROM number)
) AS first
ORDER BY first.due_time, first.id
""")

# What each turn of a relay asks, built once: five times a second building it took longer than running it.
_SINCE = func.now() - bindparam("span", type_=Interval)
_COUNT_RINGING = (
    select(Shard.lane, func.count())
    .join(Job, Job.id == Shard.job_id)
    .where(IS_LIVE, Shard.state == ShardState.PENDING, Shard.ring_time >= _SINCE)
    .group_by(Shard.lane)
)
# Along the index of rung shards, which are few whatever waits: the relay rings as many as slots can answer.
_IS_RUNG = and_(Shard.state == literal_column(f"'{ShardState.PENDING}'"), Shard.ring_time.is_not(None))
_AGE_RINGING = (
    select(
        Shard.lane,
        func.extract("epoch", func.now() - func.min(func.greatest(Shard.create_time, Shard.retry_time))),
    )
    .join(Job, Job.id == Shard.job_id)
    .where(IS_LIVE, _IS_RUNG, ~IS_DELAYED)
    .group_by(Shard.lane)
)
_COUNT_SLOTS = select(func.coalesce(func.sum(WorkerHost.slots), 0)).where(
    WorkerHost.beat_time >= _SINCE, ~WorkerHost.is_draining
)


def drop_doorbells(session: Session, job_ids: Sequence[str]) -> None:
    """Delete what waits in the outbox for jobs that have ended.

    A row that a relay holds is passed over, so that an end never waits for the broker: the relay is about to
    ring or to drop it.
    """
    waiting = (
        select(Outbox.id).where(Outbox.job_id.in_(job_ids), IS_DOORBELL).with_for_update(skip_locked=True)
    )
    session.execute(delete(Outbox).where(Outbox.id.in_(waiting)), execution_options=PLAIN)


class SqlOutbox(SqlRows):
    """The part ``OutboxRows`` of the protocol."""

    def list_waiting(self, per_queue: int, in_all: int = WAITING_MAX) -> list[Waiting]:
        rows = self.connection.execute(_FIRST_OF_EACH_QUEUE, {"per_queue": per_queue, "in_all": in_all})
        return [_read_waiting(row, row.weight, float(row.waited_s)) for row in rows]

    def take_doorbells(self, outbox_ids: Sequence[int]) -> list[Waiting]:
        locked = (
            select(Outbox.id, Outbox.job_id, Outbox.shard_index, Outbox.tenant_id, Outbox.lane, Outbox.cost)
            .where(Outbox.id.in_(outbox_ids))
            .order_by(Outbox.id)
            .with_for_update(skip_locked=True)
        )
        found = {row.id: _read_waiting(row, 1.0) for row in self.session.execute(locked)}
        if not found:
            return []
        claimable, held = self._look_at([waiting.key for waiting in found.values()])
        taken = [waiting for waiting in found.values() if waiting.key in claimable]
        if taken:
            keys = [waiting.key for waiting in taken]
            rung = update(Shard).where(is_among(keys)).values(ring_time=func.now())
            self.session.execute(rung, execution_options=PLAIN)
        gone = [outbox_id for outbox_id, waiting in found.items() if waiting.key not in held]
        self.session.execute(delete(Outbox).where(Outbox.id.in_(gone)), execution_options=PLAIN)
        order = {outbox_id: place for place, outbox_id in enumerate(outbox_ids)}
        return sorted(taken, key=lambda waiting: order[waiting.outbox_id])

    def _look_at(self, keys: Sequence[ShardKey]) -> tuple[set[ShardKey], set[ShardKey]]:
        """Lock the shards; return those that may be claimed and those whose doorbell must stay for now."""
        shard_key = tuple_(Shard.job_id, Shard.index)
        locked = (
            select(
                Shard.job_id, Shard.index, Shard.state, IS_DELAYED.label("is_delayed"), IS_LIVE.label("live")
            )
            .join(Job, Job.id == Shard.job_id)
            .where(is_among(keys))
            .order_by(shard_key)
            .with_for_update(of=Shard, skip_locked=True, key_share=True)
        )
        seen = {ShardKey(row[0], row[1]): row for row in self.session.execute(locked)}
        there = self.session.execute(select(Shard.job_id, Shard.index).where(is_among(keys)))
        busy = {ShardKey(row[0], row[1]) for row in there} - set(seen)
        waiting = {key for key, row in seen.items() if row.state is ShardState.PENDING and row.live}
        delayed = {key for key in waiting if seen[key].is_delayed}
        return waiting - delayed, busy | delayed

    def count_ringing(self, wait_s: float) -> Mapping[Lane, int]:
        found = self.connection.execute(_COUNT_RINGING, {"span": seconds(wait_s)})
        return {row[0]: row[1] for row in found}

    def keep_doorbells(self, lanes: Collection[Lane], age_s: float) -> int:
        shard_key = tuple_(Shard.job_id, Shard.index)
        old = (
            select(Shard.job_id, Shard.index)
            .where(_IS_RUNG, Shard.lane.in_(lanes), Shard.ring_time < func.now() - seconds(age_s))
            .order_by(shard_key)
            .with_for_update(skip_locked=True, key_share=True)
        )
        kept = update(Shard).where(shard_key.in_(old)).values(ring_time=func.now()).returning(Shard.job_id)
        return len(self.session.execute(kept, execution_options=PLAIN).all())

    def age_ringing(self) -> Mapping[Lane, float]:
        return {row[0]: float(row[1]) for row in self.connection.execute(_AGE_RINGING)}

    def beat_host(self, beat: HostBeat) -> None:
        model = beat.model
        values = {
            "model_id": None if model is None else self._note_model(model),
            "pipeline_fingerprint": None if model is None else model.fingerprint,
            "name": beat.name,
            "version": beat.version,
            "slots": beat.slots,
            "is_draining": beat.is_draining,
            "rss_bytes": beat.rss_bytes,
            "beat_time": func.now(),
        }
        statement = insert(WorkerHost).values(owner=beat.owner, **values)
        self.session.execute(statement.on_conflict_do_update(index_elements=["owner"], set_=values))

    def _note_model(self, model: HostModel) -> str:
        """Return the id of a host's model, which is known from now on even if it never made a score."""
        model_id = ensure_model(self.session, model.facts)
        if model.card:
            store_card(self.session, model_id, model.card)
        if model.policy is not None:
            store_model_policy(self.session, model_id, ensure_policy(self.session, model.policy))
        return model_id

    def remove_host(self, owner: str) -> None:
        statement = delete(WorkerHost).where(WorkerHost.owner == owner)
        self.session.execute(statement, execution_options=PLAIN)

    def count_slots(self, silence_s: float, fingerprint: str | None = None) -> int:
        values: dict[str, object] = {"span": seconds(silence_s)}
        if fingerprint is None:
            return int(self.connection.execute(_COUNT_SLOTS, values).scalar_one())
        of_pipeline = _COUNT_SLOTS.where(WorkerHost.pipeline_fingerprint == fingerprint)
        return int(self.connection.execute(of_pipeline, values).scalar_one())


def _read_waiting(row: AnyRow, weight: float, waited_s: float = 0.0) -> Waiting:
    key = ShardKey(row.job_id, row.shard_index)
    return Waiting(row.id, key, row.tenant_id, Lane(row.lane), row.cost, weight, waited_s)
