"""What people say of an analysis now: the newest decision that stands. One rule for lists and filters."""

from typing import Any

from sqlalchemy import BindParameter, ColumnElement, ScalarSelect, and_, exists, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from fakesieve.records.blind import VIEWER
from fakesieve.records.review_known import is_item_for
from fakesieve.records.reviews import ReviewItem
from fakesieve.records.standings import Standing
from fakesieve.values.reviews import Disposition, ReviewState


def is_newest_word() -> ColumnElement[bool]:
    """Return the condition that an item holds what people say of its analysis, over ``review_item``.

    Of each analysis one item at most does. What was said of a known analysis is told to whoever has said it
    alone, who is told nothing that others have said of it.
    """
    newer = aliased(ReviewItem)
    is_later = func.row(newer.decide_time, newer.id) > func.row(ReviewItem.decide_time, ReviewItem.id)
    of_same = newer.analysis_id == ReviewItem.analysis_id
    return and_(
        ReviewItem.state == ReviewState.DECIDED,
        is_item_for(VIEWER),
        ~exists().where(of_same, newer.state == ReviewState.DECIDED, is_item_for(VIEWER, newer), is_later),
    )


def find_word(
    analysis_id: ColumnElement[Any] | InstrumentedAttribute[Any] = Standing.analysis_id,
) -> ScalarSelect[Disposition | None]:
    """Return what people say of the analysis that a column names; null where they say nothing."""
    said = select(ReviewItem.disposition).where(ReviewItem.analysis_id == analysis_id, is_newest_word())
    return said.correlate_except(ReviewItem).scalar_subquery()


def is_spoken_of(
    tenant_id: str | BindParameter[str], disposition: Disposition | None = None
) -> ColumnElement[bool]:
    """Return the condition over ``standing`` that people say this, or anything, of an analysis of a tenant.

    It starts from the decisions, which are few beside the analyses, where the database finds that cheaper.
    """
    said: list[ColumnElement[Any]] = [
        ReviewItem.tenant_id == tenant_id,
        ReviewItem.analysis_id == Standing.analysis_id,
        is_newest_word(),
    ]
    if disposition is not None:
        said.append(ReviewItem.disposition == disposition)
    return select(literal(1)).where(*said).correlate(Standing).exists()
