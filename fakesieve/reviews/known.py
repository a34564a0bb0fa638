"""Analyses whose truth is known: declared, taken back, listed, and shown to reviewers among all others."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Row, Select, delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id_at, read_time_ms
from fakesieve.reasons import Reason
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.audit import record_audit
from fakesieve.records.blind import has_said
from fakesieve.records.review_notes import ReviewNote
from fakesieve.records.reviews import KnownAnalysis, ReviewDecision, ReviewItem, ReviewQueue
from fakesieve.records.standings import Standing
from fakesieve.records.videos import Video
from fakesieve.reviews.fill import rank_matches, tells_scores
from fakesieve.reviews.rules import match_rule
from fakesieve.values.reviews import KnownDraft, QueueRule, ReviewKind, ReviewState

KNOWN_MAX = 1000
"""Known analyses of a tenant at most: each reviewer sees each of them once."""
_BESIDE = timedelta(minutes=1)
_CHANCE = random.SystemRandom()


def declare_known(
    session: Session, tenant_id: str, analysis_id: str, draft: KnownDraft, *, actor: str
) -> KnownAnalysis:
    """Keep what is known of an analysis. Items of it that nobody has touched leave their queues.

    Raises RequestRefused: NOT_FOUND where there is no such result, STATE_CONFLICT where something is known of
    it already, QUOTA_EXCEEDED over a thousand.
    """
    _check(session, analysis_id)
    row = {"tenant_id": tenant_id, "analysis_id": analysis_id, "declared_by": actor}
    values = row | {"truth": draft.truth, "note": draft.note}
    kept = insert(KnownAnalysis).values(values).on_conflict_do_nothing().returning(KnownAnalysis.analysis_id)
    if session.scalar(kept) is None:
        seen = f"something is known of {analysis_id} already"
        raise RequestRefused(Reason.STATE_CONFLICT, seen, "take that back first")
    _drop_untouched(session, analysis_id)
    details = {"truth": draft.truth}  # without the note: an erased video leaves ids alone in the log
    record_audit(
        session,
        tenant_id=tenant_id,
        actor=actor,
        action="known.declared",
        subject=analysis_id,
        details=details,
    )
    return session.get_one(KnownAnalysis, analysis_id)


def take_back_known(session: Session, analysis_id: str, *, actor: str) -> None:
    """Forget what was known. What was said of it counts for nobody any more, and queues take it in again.

    Raises RequestRefused (NOT_FOUND).
    """
    known = session.get(KnownAnalysis, analysis_id)
    if known is None:
        raise RequestRefused(Reason.NOT_FOUND, f"nothing is known of {analysis_id}")
    details = {"truth": known.truth}
    owner = {"tenant_id": known.tenant_id, "actor": actor, "subject": analysis_id}
    session.delete(known)
    session.flush()
    _drop_untouched(session, analysis_id)
    record_audit(session, **owner, action="known.taken_back", details=details)


def list_known(
    session: Session, *, before: tuple[datetime, str] | None = None, limit: int = 100
) -> Sequence[KnownAnalysis]:
    """Return what is known, the newest first, behind a position; without deleted videos."""
    known, wanted = KnownAnalysis, _select_known()
    if before is not None:
        wanted = wanted.where(func.row(known.create_time, known.analysis_id) < func.row(*before))
    newest = wanted.order_by(known.create_time.desc(), known.analysis_id.desc())
    return session.scalars(newest.limit(limit)).all()


def load_known(session: Session, analysis_id: str) -> KnownAnalysis:
    """Return what is known of an analysis; of one whose video was deleted nothing is.

    Raises RequestRefused (NOT_FOUND).
    """
    known = session.scalar(_select_known().where(KnownAnalysis.analysis_id == analysis_id))
    if known is None:
        raise RequestRefused(Reason.NOT_FOUND, f"nothing is known of {analysis_id}")
    return known


def _select_known() -> Select[KnownAnalysis]:
    return (
        select(KnownAnalysis)
        .join(Analysis, Analysis.id == KnownAnalysis.analysis_id)
        .join(Video, Video.id == Analysis.video_id)
        .where(Video.delete_time.is_(None))
    )


def make_known_item(
    session: Session, queue: ReviewQueue, place: ReviewItem, reviewer: str
) -> ReviewItem | None:
    """Make an item of a known analysis for one reviewer, in the place of the one that was to come.

    None where they have seen all that fit the queue, and where the item to come is no first look: an appeal
    waits for nobody. When it was made is told like that of the other one, in its id too.
    """
    if place.kind is not ReviewKind.FIRST or place.made_for is not None:
        return None
    found = _find_known(session, queue, place, reviewer)
    if found is None:
        return None
    time = _choose_time(session, place, found.create_time)
    lag_ms = read_time_ms(place.id, IdPrefix.REVIEW) - _count_ms(place.create_time)
    row = {
        "id": new_id_at(IdPrefix.REVIEW, _count_ms(time) + lag_ms),
        "tenant_id": queue.tenant_id,
        "queue_id": queue.id,
        "analysis_id": found.analysis_id,
        "made_for": reviewer,
        "rank": place.rank if tells_scores(queue) else found.rank,
        "is_blind": queue.is_blind,
        "create_time": time,
    }
    # Of two requests of one reviewer at once one makes the item, and the other one goes on without.
    made = session.scalar(insert(ReviewItem).values(row).on_conflict_do_nothing().returning(ReviewItem.id))
    return None if made is None else session.get_one(ReviewItem, made)


def _choose_time(session: Session, place: ReviewItem, analysis_time: datetime) -> datetime:
    """Return when a known item is to have been made: never before its analysis.

    A time that many items of one fill share is shared; one that a single item has would tell that the two
    belong together, so another is taken, a little before it.
    """
    if analysis_time >= place.create_time:
        now = session.scalars(select(func.now())).one()
        return analysis_time + (now - analysis_time) * _CHANCE.random()
    same = ReviewItem.create_time == place.create_time
    others = select(ReviewItem.id).where(
        ReviewItem.queue_id == place.queue_id, same, ReviewItem.id != place.id
    )
    if session.scalar(others.limit(1)) is not None:
        return place.create_time
    earliest = max(analysis_time, place.create_time - _BESIDE)
    return earliest + (place.create_time - earliest) * _CHANCE.random()


def _count_ms(time: datetime) -> int:
    return int(1000 * time.timestamp())


def _find_known(
    session: Session, queue: ReviewQueue, place: ReviewItem, reviewer: str
) -> Row[str, float, datetime] | None:
    """Return a known analysis that fits a queue and is new to the reviewer, with its rank and its time.

    The one that comes nearest to the place in the queue's order, as another would stand out there.
    """
    rule = replace(QueueRule.from_json(queue.rule), sample_rate=1.0)
    rank = rank_matches(queue.order)
    distance = func.random() if tells_scores(queue) else func.abs(rank - place.rank)
    wanted = (
        select(Standing.analysis_id, rank.label("rank"), Standing.create_time)
        .join(KnownAnalysis, KnownAnalysis.analysis_id == Standing.analysis_id)
        .where(
            Standing.tenant_id == queue.tenant_id,
            match_rule(rule),
            _is_new_to(reviewer),
            ~_was_touched(reviewer),
        )
        .order_by(distance, func.random())
        .limit(1)
    )
    return session.execute(wanted).first()


def _is_new_to(reviewer: str) -> ColumnElement[bool]:
    """The condition that somebody neither knows the truth of an analysis nor has had to do with it."""
    had = exists().where(
        ReviewItem.analysis_id == KnownAnalysis.analysis_id,
        (ReviewItem.made_for == reviewer) | (ReviewItem.claimed_by == reviewer),
    )
    wrote = exists().where(
        ReviewDecision.analysis_id == KnownAnalysis.analysis_id, ReviewDecision.reviewer == reviewer
    )
    is_new = ~had & ~wrote & ~has_said(Standing.video_id, reviewer)
    return is_new & (KnownAnalysis.declared_by != reviewer)


def _was_touched(reviewer: str) -> ColumnElement[bool]:
    """The condition that an analysis stands in a queue, or that somebody else judged it or wrote a note.

    A reviewer who is given it sees nothing of that from then on. Whoever looked at results before would find
    the one of which it has vanished, and know the item by it.
    """
    is_real = exists().where(
        ReviewItem.analysis_id == KnownAnalysis.analysis_id, ReviewItem.made_for.is_(None)
    )
    is_judged = exists().where(
        ReviewDecision.analysis_id == KnownAnalysis.analysis_id, ReviewDecision.item_id.is_(None)
    )
    return is_real | is_judged | _has_note(reviewer)


def _has_note(reviewer: str) -> ColumnElement[bool]:
    """The condition that somebody else wrote a note on an analysis, but as its reviewer.

    Reviewers note on known items too. If that counted, the first of them would take it from all others.
    """
    by_reviewer = exists().where(
        ReviewItem.analysis_id == ReviewNote.analysis_id, ReviewItem.made_for == ReviewNote.author
    )
    return exists().where(
        ReviewNote.analysis_id == KnownAnalysis.analysis_id, ReviewNote.author != reviewer, ~by_reviewer
    )


def _check(session: Session, analysis_id: str) -> None:
    there = (
        select(Standing.analysis_id)
        .join(Video, Video.id == Standing.video_id)
        .where(Standing.analysis_id == analysis_id, Video.delete_time.is_(None))
    )
    if session.scalar(there) is None:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no analysis {analysis_id}")
    if (session.scalar(select(func.count()).select_from(KnownAnalysis)) or 0) >= KNOWN_MAX:
        seen = f"the truth of {KNOWN_MAX} analyses is known already"
        raise RequestRefused(Reason.QUOTA_EXCEEDED, seen, "take back what reviewers have seen")


def _drop_untouched(session: Session, analysis_id: str) -> None:
    is_touched = exists().where(ReviewDecision.item_id == ReviewItem.id)
    gone = delete(ReviewItem).where(
        ReviewItem.analysis_id == analysis_id,
        ReviewItem.state == ReviewState.OPEN,
        ReviewItem.kind == ReviewKind.FIRST,
        ~is_touched,
    )
    session.execute(gone, execution_options={"synchronize_session": False})
