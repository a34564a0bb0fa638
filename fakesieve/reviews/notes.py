"""Notes on spans of a video: added by who looks, listed by time, removed by their author or an admin."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.reasons import Reason
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.audit import record_audit
from fakesieve.records.blind import VIEWER
from fakesieve.records.evidence import list_ordinals
from fakesieve.records.review_known import is_given
from fakesieve.records.review_notes import NOTE_LETTERS_MAX, ReviewNote
from fakesieve.records.videos import Video
from fakesieve.texts import is_storable

NOTES_MAX = 200
"""So many notes an analysis may have."""


@dataclass(frozen=True)
class NoteDraft:
    """What is noted of a span ``[start_us, end_us)``; without an ordinal it is of no face in particular."""

    start_us: int
    end_us: int
    text: str
    ordinal: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start_us <= self.end_us:
            raise ValueError("a note's span begins at or after 0 and does not end before it begins")
        if not (0 < len(self.text) <= NOTE_LETTERS_MAX and is_storable(self.text)):
            raise ValueError(f"a note has 1 to {NOTE_LETTERS_MAX} letters, and no NUL")


def find_noted(session: Session, analysis_id: str) -> Analysis:
    """Return an analysis whose video is there. Raises RequestRefused (NOT_FOUND)."""
    wanted = select(Analysis).join(Video, Video.id == Analysis.video_id)
    found = session.scalar(wanted.where(Analysis.id == analysis_id, Video.delete_time.is_(None)))
    if found is None:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no analysis {analysis_id}")
    return found


def add_note(session: Session, analysis_id: str, author: str, draft: NoteDraft) -> str:
    """Keep a note and return its id.

    Raises RequestRefused: NOT_FOUND where there is no such analysis, INVALID_REQUEST for a span behind the
    video's end or a face that is not there, QUOTA_EXCEEDED over two hundred notes.
    """
    analysis = find_noted(session, analysis_id)
    if draft.start_us > analysis.total_us:
        raise RequestRefused(Reason.INVALID_REQUEST, "the note lies behind the end of the video")
    if draft.ordinal is not None and draft.ordinal not in list_ordinals(session, analysis_id):
        raise RequestRefused(Reason.INVALID_REQUEST, f"the analysis has no face number {draft.ordinal}")
    there = select(func.count()).select_from(ReviewNote).where(ReviewNote.analysis_id == analysis_id)
    if (session.scalar(there) or 0) >= NOTES_MAX:
        seen = f"the analysis has {NOTES_MAX} notes already"
        raise RequestRefused(Reason.QUOTA_EXCEEDED, seen, "remove one that is not needed")
    note = ReviewNote(
        id=new_id(IdPrefix.NOTE),
        tenant_id=analysis.tenant_id,
        analysis_id=analysis_id,
        ordinal=draft.ordinal,
        start_us=draft.start_us,
        end_us=draft.end_us,
        author=author,
        text=draft.text,
    )
    session.add(note)
    session.flush()
    _audit(session, note, author, "note.added")
    return note.id


def list_notes(session: Session, analysis_id: str) -> Sequence[ReviewNote]:
    """Return the notes of an analysis in order of time.

    Whoever was given it as a known one sees their own alone.
    """
    is_shown = or_(ReviewNote.author == VIEWER, ~is_given(ReviewNote.analysis_id))
    wanted = select(ReviewNote).where(ReviewNote.analysis_id == analysis_id, is_shown)
    return session.scalars(wanted.order_by(ReviewNote.start_us, ReviewNote.id).limit(NOTES_MAX)).all()


def remove_note(session: Session, analysis_id: str, note_id: str, actor: str, *, is_admin: bool) -> None:
    """Remove a note. Raises RequestRefused: NOT_FOUND, or MISSING_SCOPE for one of somebody else."""
    note = session.get(ReviewNote, note_id)
    if note is None or note.analysis_id != analysis_id:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no note {note_id}")
    if note.author != actor and not is_admin:
        raise RequestRefused(
            Reason.MISSING_SCOPE, "that note is somebody else's", "ask its author or an admin"
        )
    session.delete(note)
    session.flush()
    _audit(session, note, actor, "note.removed")


def _audit(session: Session, note: ReviewNote, actor: str, action: str) -> None:
    owner = {"tenant_id": note.tenant_id, "actor": actor, "subject": note.analysis_id}
    record_audit(session, **owner, action=action, details={"note_id": note.id})
