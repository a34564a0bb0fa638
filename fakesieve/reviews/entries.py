"""The list of everything that was said: decisions, skips, what was taken back, and callers' feedback."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, union_all
from sqlalchemy.orm import Session

from fakesieve.database import Database
from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.reasons import Reason
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.audit import record_audit
from fakesieve.records.blind import keep_from_viewer
from fakesieve.records.review_known import is_entry_for_viewer
from fakesieve.records.reviews import ReviewDecision, ReviewItem, TrackDecision
from fakesieve.records.tenants import list_older_keys
from fakesieve.records.videos import Video
from fakesieve.values.reviews import (
    AutomatedMeans,
    Disposition,
    EntryKind,
    FeedbackCategory,
    ReasonCode,
    TrackDraft,
    check_comment,
)

STEP_ROWS = 500


@dataclass(frozen=True)
class Entry:
    """One row of the list. ``is_undone`` is what a decision becomes when a later row takes it back."""

    id: str
    create_time: datetime
    kind: EntryKind
    item_id: str | None
    analysis_id: str
    video_id: str
    reviewer: str
    disposition: Disposition | None
    reason_code: ReasonCode | None
    policy_ref: str | None
    comment: str | None
    automated_means: AutomatedMeans | None
    category: FeedbackCategory | None
    is_blind: bool
    is_undone: bool
    seconds_spent: float | None
    tracks: tuple[TrackDraft, ...] = ()


def give_feedback(
    session: Session,
    tenant_id: str,
    analysis_id: str,
    reviewer: str,
    category: FeedbackCategory,
    comment: str | None = None,
) -> str:
    """Keep what a caller says of a result, and return the row's id; NOT_FOUND where there is no result."""
    check_comment(ReasonCode.NO_SIGN_FOUND, comment)
    seen = select(Analysis.id).join(Video, Video.id == Analysis.video_id)
    if session.scalar(seen.where(Analysis.id == analysis_id, Video.delete_time.is_(None))) is None:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no analysis {analysis_id}")
    entry = ReviewDecision(
        id=new_id(IdPrefix.DECISION),
        tenant_id=tenant_id,
        analysis_id=analysis_id,
        kind=EntryKind.FEEDBACK,
        reviewer=reviewer,
        category=category,
        comment=comment,
    )
    session.add(entry)
    session.flush()
    details = {"category": category}
    record_audit(
        session,
        tenant_id=tenant_id,
        actor=reviewer,
        action="feedback.given",
        subject=entry.id,
        details=details,
    )
    return entry.id


def load_feedback(session: Session, feedback_id: str, key_id: str) -> ReviewDecision:
    """Return feedback of a key, or of one that it has taken over from; of deleted videos none is shown.

    Raises RequestRefused (NOT_FOUND).
    """
    entry, keys = ReviewDecision, [key_id, *list_older_keys(session, key_id)]
    wanted = (
        select(entry)
        .join(Analysis, Analysis.id == entry.analysis_id)
        .join(Video, Video.id == Analysis.video_id)
        .where(entry.id == feedback_id, entry.kind == EntryKind.FEEDBACK, entry.reviewer.in_(keys))
        .where(Video.delete_time.is_(None))
    )
    found = session.scalar(wanted)
    if found is None:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no feedback {feedback_id} of this key")
    return found


def find_analyses(session: Session, ids: Collection[str]) -> Mapping[str, str]:
    """Return, by their ids, the analyses that those items and entries among some ids belong to."""
    items = select(ReviewItem.id, ReviewItem.analysis_id).where(ReviewItem.id.in_(ids))
    entries = select(ReviewDecision.id, ReviewDecision.analysis_id).where(ReviewDecision.id.in_(ids))
    return {row.id: row.analysis_id for row in session.execute(union_all(items, entries))}


def list_entries(
    session: Session,
    *,
    kinds: Sequence[EntryKind] = (),
    analysis_id: str | None = None,
    item_id: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 100,
    real_only: bool = False,
) -> list[Entry]:
    """Return rows, newest first, behind a position.

    Those of deleted videos are left out, and what was said of videos that the viewer is to judge blindly.
    What was said of a known item is shown to whoever has said it, unless ``real_only`` leaves it out.
    """
    entry = ReviewDecision
    undone = select(entry.undone_id).where(entry.undone_id.is_not(None))
    wanted = (
        select(entry, Analysis.video_id, entry.id.in_(undone).label("is_undone"))
        .join(Analysis, Analysis.id == entry.analysis_id)
        .join(Video, Video.id == Analysis.video_id)
        .join(ReviewItem, ReviewItem.id == entry.item_id, isouter=True)
        .where(Video.delete_time.is_(None), keep_from_viewer(entry.analysis_id), is_entry_for_viewer())
    )
    if kinds:
        wanted = wanted.where(entry.kind.in_(kinds))
    if analysis_id is not None:
        wanted = wanted.where(entry.analysis_id == analysis_id)
    if item_id is not None:
        wanted = wanted.where(entry.item_id == item_id)
    if real_only:
        wanted = wanted.where(ReviewItem.made_for.is_(None))
    if before is not None:
        wanted = wanted.where(func.row(entry.create_time, entry.id) < func.row(*before))
    rows = session.execute(wanted.order_by(entry.create_time.desc(), entry.id.desc()).limit(limit)).all()
    tracks = _load_tracks(session, [row.ReviewDecision.id for row in rows])
    return [_write(row.ReviewDecision, row.video_id, tracks, is_undone=row.is_undone) for row in rows]


def page_entries(
    database: Database, tenant_id: str, viewer: str | None, *, real_only: bool = False
) -> Iterator[Entry]:
    """Yield the rows that :func:`list_entries` shows, newest first, each step in a transaction of its own.

    Whoever reads them slowly holds none open.
    """
    before: tuple[datetime, str] | None = None
    while True:
        with database.transaction(tenant_id=tenant_id, viewer=viewer) as session:
            step = list_entries(session, before=before, limit=STEP_ROWS, real_only=real_only)
        yield from step
        if len(step) < STEP_ROWS:
            return
        before = (step[-1].create_time, step[-1].id)


def _load_tracks(session: Session, decision_ids: Sequence[str]) -> dict[str, list[TrackDraft]]:
    wanted = select(TrackDecision).where(TrackDecision.decision_id.in_(decision_ids))
    found: dict[str, list[TrackDraft]] = {}
    for row in session.scalars(wanted.order_by(TrackDecision.decision_id, TrackDecision.ordinal)):
        found.setdefault(row.decision_id, []).append(
            TrackDraft(row.ordinal, row.disposition, row.reason_code)
        )
    return found


def _write(
    entry: ReviewDecision, video_id: str, tracks: dict[str, list[TrackDraft]], *, is_undone: bool
) -> Entry:
    return Entry(
        id=entry.id,
        create_time=entry.create_time,
        kind=entry.kind,
        item_id=entry.item_id,
        analysis_id=entry.analysis_id,
        video_id=video_id,
        reviewer=entry.reviewer,
        disposition=entry.disposition,
        reason_code=entry.reason_code,
        policy_ref=entry.policy_ref,
        comment=entry.comment,
        automated_means=entry.automated_means,
        category=entry.category,
        is_blind=entry.is_blind,
        is_undone=is_undone,
        seconds_spent=entry.seconds_spent,
        tracks=tuple(tracks.get(entry.id, ())),
    )
