"""Items as they are read: one, a list, and what a person may see of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.blind import VIEWER, is_viewer, keep_from_viewer
from fakesieve.records.review_known import is_item_for, is_listed
from fakesieve.records.reviews import ReviewItem
from fakesieve.records.standings import Standing
from fakesieve.records.videos import Video
from fakesieve.records.words import is_newest_word
from fakesieve.reviews.values import Finding, ReviewView
from fakesieve.values.reviews import Disposition, ReviewKind, ReviewState


@dataclass(frozen=True)
class ItemFilter:
    """Which items a list shows; None does not restrict."""

    queue_id: str | None = None
    state: ReviewState | None = None
    kind: ReviewKind | None = None
    disposition: Disposition | None = None
    analysis_id: str | None = None


def lock_item(session: Session, item_id: str, actor: str) -> ReviewItem:
    """Return an item that nobody else may move until the transaction ends.

    Raises RequestRefused (NOT_FOUND) where there is none, or none for the actor.
    """
    wanted = select(ReviewItem).where(ReviewItem.id == item_id, _is_there(), is_item_for(actor))
    wanted = wanted.with_for_update(of=ReviewItem)
    item = session.scalar(wanted, execution_options={"populate_existing": True})
    if item is None:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no review {item_id}")
    return item


def view_item(session: Session, item_id: str) -> ReviewView:
    """Return an item as it may be seen. Raises RequestRefused (NOT_FOUND)."""
    found = view_items(session, [item_id])
    if not found:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no review {item_id}")
    return found[0]


def list_items(
    session: Session,
    only: ItemFilter,
    *,
    before: tuple[datetime, str] | None = None,
    limit: int = 100,
) -> Sequence[ReviewView]:
    """Return items, newest first, behind a position.

    Asked for by what was said, those are left out of which that is kept from the viewer.
    """
    wanted = _SHOWN
    equal = {
        ReviewItem.queue_id: only.queue_id,
        ReviewItem.state: only.state,
        ReviewItem.kind: only.kind,
        ReviewItem.disposition: only.disposition,
        ReviewItem.analysis_id: only.analysis_id,
    }
    wanted = wanted.where(*[column == value for column, value in equal.items() if value is not None])
    if only.disposition is not None:
        wanted = wanted.where(keep_from_viewer(ReviewItem.analysis_id))
    if before is not None:
        wanted = wanted.where(func.row(ReviewItem.create_time, ReviewItem.id) < func.row(*before))
    newest = wanted.order_by(ReviewItem.create_time.desc(), ReviewItem.id.desc()).limit(limit)
    return view_items(session, session.scalars(newest).all())


def find_dispositions(session: Session, analysis_ids: Sequence[str]) -> Mapping[str, Disposition]:
    """Return what people say now of analyses that were reviewed: the newest decision that stands.

    What was said of a known analysis is told to whoever has said it alone.
    """
    said = select(ReviewItem.analysis_id, ReviewItem.disposition)
    rows = session.execute(said.where(ReviewItem.analysis_id.in_(analysis_ids), is_newest_word()))
    return {row.analysis_id: row.disposition for row in rows}


def _is_there() -> ColumnElement[bool]:
    return ReviewItem.analysis_id.in_(
        select(Analysis.id).join(Video, Video.id == Analysis.video_id).where(Video.delete_time.is_(None))
    )


# Every review page asks for both, four times over with what it draws: to make such a statement takes Python
# longer than the database to answer it.
_SHOWN = select(ReviewItem.id).where(_is_there(), is_item_for(VIEWER), is_listed())
_VIEWED = (
    select(
        ReviewItem,
        Analysis.video_id,
        Standing.outcome,
        Standing.score,
        Standing.verdict,
        is_viewer(ReviewItem.claimed_by).label("is_own"),
        keep_from_viewer(ReviewItem.analysis_id).label("is_free"),
    )
    .join(Analysis, Analysis.id == ReviewItem.analysis_id)
    .join(Standing, Standing.analysis_id == ReviewItem.analysis_id)
    .join(Video, Video.id == Analysis.video_id)
    .where(Video.delete_time.is_(None), is_item_for(VIEWER))
)


def view_items(session: Session, item_ids: Sequence[str]) -> list[ReviewView]:
    """Return items as the viewer of the transaction may see them, in the order of the ids.

    Those that are gone are left out.
    """
    if not item_ids:
        return []
    wanted = _VIEWED.where(ReviewItem.id.in_(item_ids))
    rows = session.execute(wanted, execution_options={"populate_existing": True})
    views: dict[str, ReviewView] = {}
    for row in rows:
        item, finding = row.ReviewItem, Finding(row.outcome, row.score, row.verdict)
        is_shown = row.is_free and _has_answer(item, is_own=row.is_own)
        views[item.id] = _write(item, row.video_id, finding if is_shown else None, is_free=row.is_free)
    return [views[item_id] for item_id in item_ids if item_id in views]


def _has_answer(item: ReviewItem, *, is_own: bool) -> bool:
    """Whether what was found hides nothing any more: it is decided, or its holder has said a first word."""
    is_revealed = item.reveal_time is not None and is_own
    return not item.is_blind or is_revealed or item.state is ReviewState.DECIDED


def _write(item: ReviewItem, video_id: str, finding: Finding | None, *, is_free: bool) -> ReviewView:
    """Return an item. What others said is hidden like the score from whoever is to judge blindly.

    An appeal is no reviewer's word.
    """
    is_told = is_free or item.kind is ReviewKind.APPEAL
    return ReviewView(
        id=item.id,
        queue_id=item.queue_id,
        analysis_id=item.analysis_id,
        video_id=video_id,
        kind=item.kind,
        parent_id=item.parent_id,
        state=item.state,
        is_blind=item.is_blind,
        finding=finding,
        claimed_by=item.claimed_by,
        claim_until=item.claim_until,
        disposition=item.disposition if is_free else None,
        decision_id=item.decision_id,
        decided_by=item.decided_by,
        decide_time=item.decide_time,
        statement=item.statement if is_told else None,
        create_time=item.create_time,
    )
