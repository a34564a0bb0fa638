"""Queues: made, changed, listed and counted. How they are filled is in ``fill.py``."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.blind import VIEWER
from fakesieve.records.review_known import may_know
from fakesieve.records.reviews import ReviewItem, ReviewQueue
from fakesieve.values.reviews import QueueDraft, ReviewKind, ReviewState

_HELD_OR_DECIDED = (ReviewState.CLAIMED, ReviewState.DECIDED)


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
        known_share=draft.known_share,
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
    """Return how many items of each queue are in each state; a lease that is over counts as open.

    Known items are no work that waits: those of the viewer count while they hold them and once they have
    decided them, and nobody else's do. Who reviews is told of fewer open ones then, as if they had been among
    those, and of a second look at one as if it waited: until new matches come, which move the number anyway.
    """
    is_over = (ReviewItem.state == ReviewState.CLAIMED) & (ReviewItem.claim_until < func.now())
    is_done = (ReviewItem.made_for == VIEWER) & ReviewItem.state.in_(_HELD_OR_DECIDED)
    rows = session.execute(
        select(ReviewItem.queue_id, ReviewItem.state, is_over.label("is_over"), func.count().label("items"))
        .where(ReviewItem.queue_id.in_(queue_ids), or_(ReviewItem.made_for.is_(None), is_done & ~is_over))
        .group_by(ReviewItem.queue_id, ReviewItem.state, is_over)
    )
    counts: dict[str, dict[ReviewState, int]] = {queue_id: {} for queue_id in queue_ids}
    for row in rows:
        state = ReviewState.OPEN if row.is_over else row.state
        counts[row.queue_id][state] = counts[row.queue_id].get(state, 0) + row.items
    for queue_id, (given, again) in _count_given(session, queue_ids).items():
        waiting = counts[queue_id].get(ReviewState.OPEN, 0)
        counts[queue_id][ReviewState.OPEN] = max(waiting - given, min(waiting, 1)) + again
    return counts


def _count_given(session: Session, queue_ids: Sequence[str]) -> Mapping[str, tuple[int, int]]:
    """Return what the viewer had of known items of each queue since the last matches came.

    How many they hold or have decided, and how many second looks at these wait, as who passes an item on or
    is asked for by a rate sees one more wait. Nothing for whoever may look up what is known.
    """
    taken_in = aliased(ReviewItem)
    newest = (
        select(func.max(taken_in.create_time))
        .where(taken_in.queue_id == ReviewItem.queue_id, taken_in.kind == ReviewKind.FIRST)
        .where(taken_in.made_for.is_(None))
        .scalar_subquery()
    )
    is_held = (ReviewItem.state == ReviewState.CLAIMED) & (ReviewItem.claim_until >= func.now())
    is_first = ReviewItem.kind == ReviewKind.FIRST
    is_given = is_first & or_(is_held, ReviewItem.decide_time > newest)
    is_again = ~is_first & (ReviewItem.state == ReviewState.OPEN) & (ReviewItem.create_time > newest)
    rows = session.execute(
        select(ReviewItem.queue_id, func.count().filter(is_given), func.count().filter(is_again))
        .where(ReviewItem.made_for == VIEWER, ReviewItem.queue_id.in_(queue_ids), ~may_know())
        .where(or_(is_given, is_again))
        .group_by(ReviewItem.queue_id)
    )
    return {row[0]: (row[1], row[2]) for row in rows}
