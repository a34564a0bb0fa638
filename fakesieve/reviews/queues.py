"""Queues: made, changed, and filled with items for the analyses that match."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, exists, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.types import Double

from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.reviews import ReviewItem, ReviewQueue
from fakesieve.records.standings import Standing
from fakesieve.reviews.rules import match_rule
from fakesieve.values.reviews import QueueDraft, QueueOrder, QueueRule, ReviewKind, ReviewState

FILL_S = 5.0
"""A queue looks for new matches when somebody asks it for work, but not more often than this."""
FILL_ROWS = 500
FILL_BELOW = 100
"""While so many items wait, no more are added: who works on them would not get to the new ones."""


def create_queue(session: Session, tenant_id: str, draft: QueueDraft, *, actor: str) -> ReviewQueue:
    """Make a queue. Raises RequestRefused (STATE_CONFLICT) where the tenant has one of this name."""
    queue = ReviewQueue(
        id=new_id(IdPrefix.QUEUE),
        tenant_id=tenant_id,
        name=draft.name,
        rule=draft.rule.to_json(),
        order=draft.order,
        is_blind=draft.is_blind,
        lease_s=draft.lease_s,
        second_opinion_rate=draft.second_opinion_rate,
    )
    try:
        with session.begin_nested():
            session.add(queue)
    except IntegrityError as error:
        raise RequestRefused(
            Reason.STATE_CONFLICT, f"there is a queue named {draft.name!r}", "use another name"
        ) from error
    session.refresh(queue)
    details = {"is_blind": draft.is_blind}
    record_audit(
        session, tenant_id=tenant_id, actor=actor, action="queue.created", subject=queue.id, details=details
    )
    return queue


def load_queue(session: Session, queue_id: str) -> ReviewQueue:
    """Return a queue of the tenant at hand. Raises RequestRefused (NOT_FOUND)."""
    queue = session.get(ReviewQueue, queue_id)
    if queue is None:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no queue {queue_id}")
    return queue


def change_queue(session: Session, queue_id: str, *, is_active: bool, actor: str) -> ReviewQueue:
    """Open or close a queue. What people hold from a closed one they may finish."""
    queue = load_queue(session, queue_id)
    action = "queue.opened" if is_active else "queue.closed"
    record_audit(session, tenant_id=queue.tenant_id, actor=actor, action=action, subject=queue_id)
    session.execute(update(ReviewQueue).where(ReviewQueue.id == queue_id).values(is_active=is_active))
    return session.get_one(ReviewQueue, queue_id, populate_existing=True)


def list_queues(
    session: Session, *, after: tuple[datetime, str] | None = None, limit: int = 100
) -> Sequence[ReviewQueue]:
    """Return queues, oldest first, behind a position."""
    wanted = select(ReviewQueue).order_by(ReviewQueue.create_time, ReviewQueue.id).limit(limit)
    if after is not None:
        wanted = wanted.where(func.row(ReviewQueue.create_time, ReviewQueue.id) > func.row(*after))
    return session.scalars(wanted).all()


def count_items(session: Session, queue_ids: Sequence[str]) -> Mapping[str, Mapping[ReviewState, int]]:
    """Return how many items of each queue are in each state; a lease that is over counts as open."""
    is_over = (ReviewItem.state == ReviewState.CLAIMED) & (ReviewItem.claim_until < func.now())
    rows = session.execute(
        select(ReviewItem.queue_id, ReviewItem.state, is_over.label("is_over"), func.count().label("items"))
        .where(ReviewItem.queue_id.in_(queue_ids))
        .group_by(ReviewItem.queue_id, ReviewItem.state, is_over)
    )
    counts: dict[str, dict[ReviewState, int]] = {queue_id: {} for queue_id in queue_ids}
    for row in rows:
        state = ReviewState.OPEN if row.is_over else row.state
        counts[row.queue_id][state] = counts[row.queue_id].get(state, 0) + row.items
    return counts


def fill_queue(session: Session, queue: ReviewQueue) -> int:
    """Add items for analyses that match and have none yet, the newest first; return how many.

    Of two that fill a queue at once, one passes. Nothing is done while enough items wait.
    """
    if not queue.is_active or not _begin_filling(session, queue.id):
        return 0
    rule = QueueRule.from_json(queue.rule)
    has_item = exists().where(
        ReviewItem.queue_id == queue.id,
        ReviewItem.analysis_id == Standing.analysis_id,
        ReviewItem.kind == ReviewKind.FIRST,
    )
    matches = session.execute(
        select(Standing.analysis_id, _rank(queue.order).label("rank"))
        .where(Standing.tenant_id == queue.tenant_id, match_rule(rule), ~has_item)
        .order_by(Standing.create_time.desc(), Standing.analysis_id.desc())
        .limit(FILL_ROWS)
    ).all()
    owned = {"tenant_id": queue.tenant_id, "queue_id": queue.id, "is_blind": queue.is_blind}
    rows = [
        {"id": new_id(IdPrefix.REVIEW), "analysis_id": match.analysis_id, "rank": match.rank, **owned}
        for match in matches
    ]
    if rows:
        session.execute(insert(ReviewItem).on_conflict_do_nothing(), rows)
    return len(rows)


def _begin_filling(session: Session, queue_id: str) -> bool:
    """Say that this transaction fills the queue; False where somebody does or just did, or enough waits."""
    waiting = (
        select(literal(1))
        .where(ReviewItem.queue_id == queue_id, ReviewItem.state == ReviewState.OPEN)
        .limit(FILL_BELOW)
        .subquery()
    )
    if (session.scalar(select(func.count()).select_from(waiting)) or 0) >= FILL_BELOW:
        return False
    is_due = func.coalesce(
        ReviewQueue.fill_time < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, FILL_S), True
    )
    free = select(ReviewQueue.id).where(ReviewQueue.id == queue_id, is_due).with_for_update(skip_locked=True)
    begun = update(ReviewQueue).where(ReviewQueue.id.in_(free)).values(fill_time=func.now())
    done = session.scalar(begun.returning(ReviewQueue.id), execution_options={"synchronize_session": False})
    return done is not None


def _rank(order: QueueOrder) -> ColumnElement[float]:
    score = func.coalesce(Standing.score, 0.0)
    match order:
        case QueueOrder.OLDEST:
            return func.extract("epoch", Standing.create_time).cast(Double)
        case QueueOrder.HIGHEST_SCORE:
            return -score
        case QueueOrder.NEAREST_MIDDLE:
            return func.abs(score - 0.5)
