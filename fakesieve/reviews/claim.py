"""Who has an item: claims with a lease on the database's clock, so that no two people hold one."""

import random
from collections.abc import Callable, Sequence

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.audit import record_audit
from fakesieve.records.blind import has_said
from fakesieve.records.review_known import is_item_for
from fakesieve.records.reviews import ReviewDecision, ReviewItem, ReviewQueue
from fakesieve.records.videos import Video
from fakesieve.reviews.fill import fill_queue, wait_for_fill
from fakesieve.reviews.items import lock_item
from fakesieve.reviews.known import make_known_item
from fakesieve.reviews.queues import load_queue
from fakesieve.reviews.states import Act, move
from fakesieve.values.reviews import EntryKind, ReviewKind, ReviewState

_CHANCE = random.SystemRandom()
_IS_FREE = or_(
    ReviewItem.state == ReviewState.OPEN,
    and_(ReviewItem.state == ReviewState.CLAIMED, ReviewItem.claim_until < func.now()),
)


def claim_next(
    session: Session, queue_id: str, reviewer: str, *, draw: Callable[[], float] = _CHANCE.random
) -> str | None:
    """Give the reviewer the first item of a queue that is free for them; None when there is none.

    Raises ``Unavailable`` where nothing is found while somebody else takes long to fill the queue. Whoever
    holds one already gets that one again, with a new lease. Nobody gets what they have skipped, nor
    a second look at what they decided themselves; what they gave back comes after all others. Two who ask at
    once never get the same item. ``draw`` gives a number from 0 to 1: below the queue's ``known_share`` they
    get a known analysis in the place of the item.
    """
    queue = load_queue(session, queue_id)
    held = session.scalar(
        select(ReviewItem)
        .where(
            ReviewItem.queue_id == queue_id,
            ReviewItem.state == ReviewState.CLAIMED,
            ReviewItem.claimed_by == reviewer,
            _may_be_seen(),
        )
        .order_by(ReviewItem.claim_time)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if held is not None:
        _lease(session, held, reviewer, queue.lease_s)
        return held.id
    if not queue.is_active:
        raise RequestRefused(Reason.STATE_CONFLICT, f"the queue {queue_id} is closed")
    item = _find_offered(session, queue, reviewer)
    if item is None:
        # Of two who fill a queue at once one passes, and sees nothing of what the other adds before its end.
        wait_for_fill(session, queue_id)
        item = _find_offered(session, queue, reviewer)
    if item is None:
        return None
    if draw() < queue.known_share:
        item = make_known_item(session, queue, item, reviewer) or item
    _lease(session, item, reviewer, queue.lease_s)
    return item.id


def _find_offered(session: Session, queue: ReviewQueue, reviewer: str) -> ReviewItem | None:
    """Fill the queue, and lock the first item that is offered to the reviewer."""
    fill_queue(session, queue)
    offered = (
        select(ReviewItem)
        .where(ReviewItem.queue_id == queue.id, is_offered_to(reviewer))
        .order_by(ReviewItem.rank, ReviewItem.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    item = session.scalar(offered.where(ReviewItem.released_by.is_distinct_from(reviewer)))
    return session.scalar(offered) if item is None else item


def claim_item(session: Session, item_id: str, reviewer: str) -> None:
    """Give the reviewer this item, or lengthen the lease of one that is theirs.

    Raises RequestRefused: STATE_CONFLICT while somebody else holds it, once it is decided, where its queue
    is closed, or where the reviewer has decided on the analysis before, in this queue or in another.
    """
    item = lock_item(session, item_id, reviewer)
    move(item.state, Act.CLAIM)
    queue = load_queue(session, item.queue_id)
    if item.claimed_by != reviewer and not queue.is_active:
        raise RequestRefused(Reason.STATE_CONFLICT, f"the queue {queue.id} is closed")
    if not session.scalar(select(ReviewItem.id).where(ReviewItem.id == item_id, _is_independent(reviewer))):
        raise RequestRefused(
            Reason.STATE_CONFLICT,
            "whoever has decided on an analysis does not look at it again",
            "ask somebody else",
        )
    is_free = session.scalar(select(_IS_FREE).where(ReviewItem.id == item_id))
    if item.claimed_by != reviewer and not is_free:
        raise RequestRefused(
            Reason.STATE_CONFLICT,
            f"somebody else holds {item_id}",
            "claim another, or wait until the lease ends",
        )
    _lease(session, item, reviewer, queue.lease_s)


def is_offered_to(reviewer: str) -> ColumnElement[bool]:
    """The condition that an item is free, that its video is there, and that this person may take it."""
    return and_(_IS_FREE, _is_for(reviewer), _may_be_seen())


def find_free(session: Session, item_ids: Sequence[str], reviewer: str) -> set[str]:
    """Return those of the items that this person may claim now, skipped ones too."""
    if not item_ids:
        return set()
    may_take = and_(_IS_FREE, _is_independent(reviewer), is_item_for(reviewer))
    return set(session.scalars(select(ReviewItem.id).where(ReviewItem.id.in_(item_ids), may_take)))


def release_item(session: Session, item_id: str, reviewer: str) -> None:
    """Give an item back without a word. Raises RequestRefused (STATE_CONFLICT) where it is not theirs."""
    item = lock_held(session, item_id, reviewer, Act.RELEASE)
    put_back(item, ReviewState.OPEN)
    item.released_by = reviewer
    session.flush()
    _note(session, item, reviewer, "review.released")


def lock_held(session: Session, item_id: str, reviewer: str, act: Act) -> ReviewItem:
    """Return an item that the reviewer holds and that the act may move.

    A lease that is over still counts until somebody else takes the item. Raises RequestRefused
    (STATE_CONFLICT, NOT_FOUND).
    """
    item = lock_item(session, item_id, reviewer)
    move(item.state, act)
    if item.claimed_by != reviewer:
        raise RequestRefused(
            Reason.STATE_CONFLICT, f"{item_id} is held by somebody else", "claim it first; its lease was over"
        )
    return item


def put_back(item: ReviewItem, state: ReviewState) -> None:
    """Take the item from whoever holds it."""
    item.state = state
    item.claimed_by = item.claim_time = item.claim_until = item.reveal_time = None


def _lease(session: Session, item: ReviewItem, reviewer: str, lease_s: int) -> None:
    is_new = item.state is not ReviewState.CLAIMED or item.claimed_by != reviewer
    # Asked before anything is changed: half a claim would be written with the question.
    has_seen = is_new and item.is_blind and _has_seen(session, item, reviewer)
    if is_new:
        item.state = ReviewState.CLAIMED
        item.claimed_by = reviewer
        item.claim_time = func.now()
        # Who has seen the score before, and given the item back since, sees it at once.
        item.reveal_time = func.now() if has_seen else None
    item.claim_until = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, lease_s)
    session.flush()
    if is_new:
        _note(session, item, reviewer, "review.claimed")


def _has_seen(session: Session, item: ReviewItem, reviewer: str) -> bool:
    video_id = select(Analysis.video_id).where(Analysis.id == item.analysis_id).scalar_subquery()
    return bool(session.scalar(select(has_said(video_id, reviewer))))


def _note(session: Session, item: ReviewItem, reviewer: str, action: str) -> None:
    record_audit(session, tenant_id=item.tenant_id, actor=reviewer, action=action, subject=item.id)


def _is_for(reviewer: str) -> ColumnElement[bool]:
    skipped = exists().where(
        ReviewDecision.item_id == ReviewItem.id,
        ReviewDecision.kind == EntryKind.SKIP,
        ReviewDecision.reviewer == reviewer,
        is_skip_counted(),
    )
    return ~skipped & _is_independent(reviewer) & is_item_for(reviewer)


def is_skip_counted() -> ColumnElement[bool]:
    """The condition that a skip is newer than the moment when somebody opened its item again, if any did."""
    return or_(ReviewItem.reopen_time.is_(None), ReviewDecision.create_time > ReviewItem.reopen_time)


def _is_independent(reviewer: str) -> ColumnElement[bool]:
    """The condition that they may judge an item: they have decided on its analysis nowhere else.

    For a second look they may have said nothing of it at all.
    """
    earlier = aliased(ReviewDecision)
    said = exists().where(
        earlier.analysis_id == ReviewItem.analysis_id,
        earlier.item_id != ReviewItem.id,
        earlier.reviewer == reviewer,
        or_(
            earlier.kind == EntryKind.DECISION,
            and_(earlier.kind == EntryKind.BLIND, ReviewItem.kind != ReviewKind.FIRST),
        ),
    )
    return ~said


def _may_be_seen() -> ColumnElement[bool]:
    return ReviewItem.analysis_id.in_(
        select(Analysis.id).join(Video, Video.id == Analysis.video_id).where(Video.delete_time.is_(None))
    )
