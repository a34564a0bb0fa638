"""Looking again at what was decided: a second opinion that somebody asks for, and an appeal."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.reviews import ReviewItem
from fakesieve.reviews.items import lock_item
from fakesieve.reviews.states import Act, move
from fakesieve.texts import is_storable
from fakesieve.values.reviews import COMMENT_LETTERS_MAX, ReviewKind


def ask_second_opinion(session: Session, item_id: str, actor: str, *, is_blind: bool = True) -> str:
    """Have somebody else look at a decided item, and return the id of the new one.

    Raises RequestRefused: STATE_CONFLICT where nothing is decided yet or somebody was asked already.
    """
    item = _lock_decided(session, item_id, actor, ReviewKind.SECOND_OPINION)
    child = open_again(session, item, ReviewKind.SECOND_OPINION, is_blind=is_blind)
    _note(session, item, actor, "review.second_opinion_asked", child)
    return child


def appeal_decision(session: Session, item_id: str, actor: str, statement: str) -> str:
    """Take an objection to a decision, to be looked at by somebody who did not make it.

    Raises RequestRefused as above, ValueError for a statement that cannot be kept.
    """
    if not 1 <= len(statement) <= COMMENT_LETTERS_MAX or not is_storable(statement):
        raise ValueError(f"a statement has 1 to {COMMENT_LETTERS_MAX} letters, and no NUL")
    item = _lock_decided(session, item_id, actor, ReviewKind.APPEAL)
    child = open_again(session, item, ReviewKind.APPEAL, is_blind=False, statement=statement)
    _note(session, item, actor, "review.appealed", child)
    return child


def open_again(
    session: Session, item: ReviewItem, kind: ReviewKind, *, is_blind: bool, statement: str | None = None
) -> str:
    """Add the item under which a decided one is looked at again, before all others of its queue.

    Of an item that was made for one person it is theirs too, so that nobody is ever offered it.
    """
    child = ReviewItem(
        id=new_id(IdPrefix.REVIEW),
        tenant_id=item.tenant_id,
        queue_id=item.queue_id,
        analysis_id=item.analysis_id,
        kind=kind,
        parent_id=item.id,
        made_for=item.made_for,
        rank=item.rank - 1e12,
        is_blind=is_blind,
        statement=statement,
    )
    session.add(child)
    session.flush()
    return child.id


def _lock_decided(session: Session, item_id: str, actor: str, kind: ReviewKind) -> ReviewItem:
    item = lock_item(session, item_id, actor)
    move(item.state, Act.ASK_AGAIN)
    asked = select(ReviewItem.id).where(ReviewItem.parent_id == item_id, ReviewItem.kind == kind)
    if session.scalar(asked) is not None:
        raise RequestRefused(Reason.STATE_CONFLICT, f"{item_id} has its {kind.replace('_', ' ')} already")
    return item


def _note(session: Session, item: ReviewItem, actor: str, action: str, child: str) -> None:
    details = {"review_id": child}
    record_audit(
        session, tenant_id=item.tenant_id, actor=actor, action=action, subject=item.id, details=details
    )
