"""One decision for many items: counted first, and made only while the count still holds."""

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.records.audit import gather_audit
from fakesieve.records.blind import keep_from_viewer
from fakesieve.records.reviews import ReviewItem, ReviewQueue
from fakesieve.reviews.claim import claim_item, is_offered_to
from fakesieve.reviews.decide import decide_item
from fakesieve.reviews.narrow import Narrowing, check_narrowing, select_matches
from fakesieve.reviews.queues import load_queue
from fakesieve.values.reviews import DecisionDraft

BULK_MAX = 200
"""Decided at once at most: each is claimed, kept, announced and written into the log like any other."""


def count_decidable(session: Session, queue: ReviewQueue, only: Narrowing, reviewer: str) -> int:
    """Return how many items a reviewer would decide at once: free ones that fit and that they may take."""
    check_narrowing(queue, only)
    wanted = _select_decidable(queue, only, reviewer)
    return session.scalar(select(func.count()).select_from(wanted.subquery())) or 0


def decide_many(
    session: Session, queue_id: str, only: Narrowing, reviewer: str, draft: DecisionDraft, *, expected: int
) -> int:
    """Decide all items of a queue that fit and that nobody holds; return how many.

    Raises RequestRefused: STATE_CONFLICT where there are more or fewer than expected, as somebody has
    worked on them meanwhile, for a blind queue, where each one must be looked at, and without any.
    QUOTA_EXCEEDED over two hundred.
    """
    queue = load_queue(session, queue_id)
    _refuse_blind(queue)
    wanted = _select_decidable(queue, only, reviewer).order_by(ReviewItem.rank, ReviewItem.id)
    found = session.scalars(wanted.limit(BULK_MAX + 1).with_for_update(of=ReviewItem)).all()
    if len(found) > BULK_MAX:
        seen = f"more than {BULK_MAX} items fit"
        raise RequestRefused(Reason.QUOTA_EXCEEDED, seen, "narrow the list, and decide the rest after that")
    if len(found) != expected or not found:
        seen = f"{len(found)} items fit now, and {expected} were to be decided"
        raise RequestRefused(Reason.STATE_CONFLICT, seen, "look at the list again")
    with gather_audit(session):
        for item_id in found:
            claim_item(session, item_id, reviewer)
            decide_item(session, item_id, reviewer, draft)
    return len(found)


def _refuse_blind(queue: ReviewQueue) -> None:
    if queue.is_blind:
        raise RequestRefused(
            Reason.STATE_CONFLICT,
            "in a blind-first queue every item is looked at before it is decided",
            "review them one by one",
        )


def _select_decidable(queue: ReviewQueue, only: Narrowing, reviewer: str) -> Select[str]:
    return select_matches(queue, only).where(
        is_offered_to(reviewer), ReviewItem.is_blind.is_(False), keep_from_viewer(ReviewItem.analysis_id)
    )
