"""Who is shown an item that was made for one person: one rule, which every list and every act obeys.

Such an item shows a reviewer an analysis whose truth is known (decision 0032). It is there for them alone,
and has to look like any other. Nobody else has looked at what a queue gives out for the first time, so of an
analysis that they were given in this way they see no other item, and nothing that others have said.
"""

from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, case, exists, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from fakesieve.records.blind import IS_PERSON, VIEWER, count_kept
from fakesieve.records.reviews import ReviewDecision, ReviewItem, ReviewQueue
from fakesieve.records.tenants import ApiKey
from fakesieve.records.users import AppUser
from fakesieve.scopes import Scope
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import ReviewKind, ReviewState

Who = str | ScalarSelect[Any]
_GIVEN = aliased(ReviewItem)  # made once: to make it takes longer than to ask the database


def is_item_for(who: Who, item: type[ReviewItem] = ReviewItem) -> ColumnElement[bool]:
    """Return the condition that an item is there for somebody, be it for all or for them alone."""
    return case(
        (item.made_for.is_not(None), item.made_for == who),
        else_=~is_given(item.analysis_id, who),
    )


def is_listed() -> ColumnElement[bool]:
    """Return the condition that a list may show the viewer an item, over ``review_item``.

    What waits for a first look in a queue with known answers is on no list of those who review: an item that
    they are given and that stood on none would be a known one.
    """
    may_tell = select(ReviewQueue.id).where(ReviewQueue.known_share > 0)
    return or_(
        ReviewItem.state != ReviewState.OPEN,
        ReviewItem.kind != ReviewKind.FIRST,
        ReviewItem.queue_id.not_in(may_tell),
        may_know(),
    )


def may_know() -> ColumnElement[bool]:
    """Return the condition that the viewer may look up what is known: leads, and where nobody looks."""
    is_lead = exists().where(AppUser.id == VIEWER, AppUser.role == UserRole.ADMIN)
    is_lead_key = exists().where(ApiKey.id == VIEWER, ApiKey.scopes.contains([Scope.REVIEW_ADMIN.value]))
    return or_(VIEWER == "", is_lead, is_lead_key)


def count_left_out(session: Session) -> int | None:
    """Return how many analyses are kept from the viewer; None where that number would give known ones away.

    Each decision takes one off it. What waits in the queue falls by one too, but for a known item only until
    new matches come: who holds the two numbers against each other would see which it was.
    """
    would_tell = exists().where(ReviewQueue.is_active, ReviewQueue.is_blind, ReviewQueue.known_share > 0)
    if session.scalar(select(would_tell & IS_PERSON & ~may_know())):
        return None
    return count_kept(session)


def is_entry_for_viewer() -> ColumnElement[bool]:
    """Return the same of what was said, for the viewer of the transaction.

    ``review_decision`` is joined with its item, which feedback has not.
    """
    is_told = or_(ReviewDecision.reviewer == VIEWER, ~is_given(ReviewDecision.analysis_id))
    return case((ReviewItem.made_for.is_not(None), ReviewItem.made_for == VIEWER), else_=is_told)


def is_given(
    analysis_id: ColumnElement[Any] | InstrumentedAttribute[Any], who: Who = VIEWER
) -> ColumnElement[bool]:
    """Return the condition that somebody was given an analysis as a known one."""
    wanted = select(_GIVEN.analysis_id).where(_GIVEN.made_for == who, _GIVEN.kind == ReviewKind.FIRST)
    return analysis_id.in_(wanted)
