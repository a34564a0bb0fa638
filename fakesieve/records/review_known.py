"""Who is shown an item that was made for one person: one rule, which every list and every act obeys.

Such an item shows a reviewer an analysis whose truth is known (decision 0032). It is there for them alone,
and has to look like any other. Nobody else has looked at what a queue gives out for the first time, so of an
analysis that they were given in this way they see no other item, and nothing that others have said.
"""

from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, case, or_, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from fakesieve.records.blind import VIEWER
from fakesieve.records.reviews import ReviewDecision, ReviewItem
from fakesieve.values.reviews import ReviewKind

Who = str | ScalarSelect[Any]


def is_item_for(who: Who) -> ColumnElement[bool]:
    """Return the condition that an item is there for somebody, be it for all or for them alone."""
    return case(
        (ReviewItem.made_for.is_not(None), ReviewItem.made_for == who),
        else_=~is_given(ReviewItem.analysis_id, who),
    )


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
    given = aliased(ReviewItem)
    wanted = select(given.analysis_id).where(given.made_for == who, given.kind == ReviewKind.FIRST)
    return analysis_id.in_(wanted)
