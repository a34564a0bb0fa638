"""Filling a queue: items for the analyses that match, those first that the queue's order wants first.

The order is that of all matches, however many there are: a fill walks along an index of ``standing`` in that
order. While enough items wait it takes in those alone that come before them. In a blind-first queue by score
the highest are taken in first too, but those that wait are offered in no order, which would tell of scores.
"""

import random
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, exists, func, literal, select, text, union_all, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.types import Double

from fakesieve.errors import Unavailable
from fakesieve.ids import IdPrefix, new_id
from fakesieve.reasons import Reason
from fakesieve.records.reviews import KnownAnalysis, ReviewItem, ReviewQueue
from fakesieve.records.standings import NO_SCORE, Standing
from fakesieve.reviews.rules import match_rule
from fakesieve.values.reviews import QueueOrder, QueueRule, ReviewKind, ReviewState

FILL_S = 5.0
"""A queue looks for new matches when somebody asks it for work, but not more often than this."""
FILL_WAIT_S = 1.0
"""How long somebody who found nothing waits for one who fills the queue at that moment."""
FILL_ROWS = 500
FILL_BELOW = 100
"""While so many items wait, none is added behind them: who works on them would not get to it."""
_LOCK_NOT_AVAILABLE = "55P03"
_SET_LOCK_TIMEOUT = text("SELECT set_config('lock_timeout', :value, true)")  # for the transaction at hand
_LAST = 1.0
"""Rank of an analysis without a score in an order by score: behind all that have one."""
_MIDDLE = 0.5
_CHANCE = random.SystemRandom()
# As the index has it: what has no score is below all that have one.
_score_key = func.coalesce(Standing.score, text(f"({NO_SCORE:.0f})::double precision"))


def fill_queue(session: Session, queue: ReviewQueue) -> int:
    """Add items for analyses that match and have none yet, in the queue's order; return how many.

    A known analysis gets none: nobody has to find out what it is. Of two that fill a queue at once, one
    passes.
    """
    if not queue.is_active or not _begin(session, queue.id):
        return 0
    bound = _find_bound(session, queue.id)
    if bound is not None and tells_scores(queue):
        return 0
    return _add(session, queue, session.execute(_select_first(queue, bound)).all())


def wait_for_fill(session: Session, queue_id: str) -> None:
    """Wait until nobody else fills the queue, and keep others from it until this transaction ends.

    Raises ``Unavailable`` for a fill that takes longer than a second.
    """
    before = session.scalar(select(func.current_setting("lock_timeout")))
    _set_lock_timeout(session, f"{round(1000 * FILL_WAIT_S)}ms")
    held = select(ReviewQueue.id).where(ReviewQueue.id == queue_id).with_for_update(key_share=True)
    try:
        session.execute(held)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise Unavailable(
            Reason.DATABASE_UNAVAILABLE,
            f"somebody else fills the queue {queue_id}, and that takes longer than usual",
            "ask again in a moment",
        ) from error
    _set_lock_timeout(session, str(before))


def _set_lock_timeout(session: Session, value: str) -> None:
    session.execute(_SET_LOCK_TIMEOUT, {"value": value})


def tells_scores(queue: ReviewQueue) -> bool:
    """Whether the order of a queue would tell its reviewers of scores that are hidden from them."""
    return queue.is_blind and queue.order is not QueueOrder.OLDEST


def _add(session: Session, queue: ReviewQueue, matches: Sequence[Row[Any, Any]]) -> int:
    """Add the items. Where their order would tell of hidden scores they are offered in no order at all."""
    places = [(match.analysis_id, match.rank) for match in matches]
    if tells_scores(queue):
        places = [(analysis_id, _CHANCE.random()) for analysis_id, _ in _CHANCE.sample(places, len(places))]
    owned = {"tenant_id": queue.tenant_id, "queue_id": queue.id, "is_blind": queue.is_blind}
    rows = [
        {"id": new_id(IdPrefix.REVIEW), "analysis_id": analysis_id, "rank": rank, **owned}
        for analysis_id, rank in places
    ]
    if rows:
        session.execute(insert(ReviewItem).on_conflict_do_nothing(), rows)
    return len(rows)


def _begin(session: Session, queue_id: str) -> bool:
    """Say that this transaction fills the queue; False where somebody does or just did."""
    is_due = func.coalesce(
        ReviewQueue.fill_time < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, FILL_S), True
    )
    free = select(ReviewQueue.id).where(ReviewQueue.id == queue_id, is_due).with_for_update(skip_locked=True)
    begun = update(ReviewQueue).where(ReviewQueue.id.in_(free)).values(fill_time=func.now())
    done = session.scalar(begun.returning(ReviewQueue.id), execution_options={"synchronize_session": False})
    return done is not None


def _find_bound(session: Session, queue_id: str) -> float | None:
    """Return the rank before which a match still has to lie; None while too few items wait."""
    waiting = select(ReviewItem.rank).where(
        ReviewItem.queue_id == queue_id,
        ReviewItem.state == ReviewState.OPEN,
        ReviewItem.kind == ReviewKind.FIRST,
        ReviewItem.made_for.is_(None),
    )
    return session.scalar(waiting.order_by(ReviewItem.rank, ReviewItem.id).offset(FILL_BELOW - 1).limit(1))


def rank_matches(order: QueueOrder) -> ColumnElement[Any]:
    """Return the rank of an analysis in an order, lowest first, over ``standing``."""
    match order:
        case QueueOrder.OLDEST:
            return func.extract("epoch", Standing.create_time).cast(Double)
        case QueueOrder.HIGHEST_SCORE:
            return func.coalesce(-Standing.score, literal(_LAST, Double()))
        case QueueOrder.NEAREST_MIDDLE:
            return func.coalesce(func.abs(Standing.score - _MIDDLE), literal(_LAST, Double()))


def _select_first(queue: ReviewQueue, bound: float | None) -> Select[Any, Any]:
    """Return the statement that gives the first matches of a queue, with their ranks, the lowest first."""
    match queue.order:
        case QueueOrder.OLDEST:
            wanted = _select_matches(queue, rank_matches(queue.order))
            if bound is not None:
                wanted = wanted.where(Standing.create_time < func.to_timestamp(bound))
            return wanted.order_by(Standing.create_time, Standing.analysis_id)
        case QueueOrder.HIGHEST_SCORE:
            wanted = _select_matches(queue, rank_matches(queue.order))
            if bound is not None:
                wanted = wanted.where(_score_key > (NO_SCORE if bound == _LAST else -bound))
            return wanted.order_by(_score_key.desc(), Standing.analysis_id.desc())
        case QueueOrder.NEAREST_MIDDLE:
            return _select_nearest(queue, bound)


def _select_nearest(queue: ReviewQueue, bound: float | None) -> Select[Any, Any]:
    """Return the same by the distance from the middle: the first on each side, and of these the first."""
    distance = rank_matches(QueueOrder.NEAREST_MIDDLE)
    above = _select_matches(queue, distance).where(_score_key >= _MIDDLE)
    below = _select_matches(queue, distance).where(_score_key < _MIDDLE)
    if bound is not None:
        above = above.where(_score_key < _MIDDLE + bound)
        below = below.where(_score_key > _MIDDLE - bound)
    both = union_all(
        above.order_by(_score_key, Standing.analysis_id),
        below.order_by(_score_key.desc(), Standing.analysis_id.desc()),
    ).subquery()
    return select(both.c.analysis_id, both.c.rank).order_by(both.c.rank, both.c.analysis_id).limit(FILL_ROWS)


def _select_matches(queue: ReviewQueue, rank: ColumnElement[Any]) -> Select[Any, Any]:
    has_item = exists().where(
        ReviewItem.queue_id == queue.id,
        ReviewItem.analysis_id == Standing.analysis_id,
        ReviewItem.kind == ReviewKind.FIRST,
        ReviewItem.made_for.is_(None),
    )
    is_known = exists().where(KnownAnalysis.analysis_id == Standing.analysis_id)
    rule = match_rule(QueueRule.from_json(queue.rule))
    found = select(Standing.analysis_id, rank.label("rank"))
    return found.where(Standing.tenant_id == queue.tenant_id, rule, ~has_item, ~is_known).limit(FILL_ROWS)
