"""What people say of an item they hold: before the score is shown, for good, not at all, or taken back."""

import hashlib
from collections.abc import Mapping

from sqlalchemy import delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.reasons import Reason
from fakesieve.records.analysis_tables import Analysis, FaceTrack
from fakesieve.records.audit import record_audit
from fakesieve.records.reviews import ReviewDecision, ReviewItem, ReviewQueue, TrackDecision
from fakesieve.reviews.again import open_again
from fakesieve.reviews.claim import is_skip_counted, lock_held, put_back
from fakesieve.reviews.items import lock_item
from fakesieve.reviews.queues import load_queue
from fakesieve.reviews.states import Act, move
from fakesieve.reviews.values import UNDO_S
from fakesieve.values.reviews import (
    DecisionDraft,
    Disposition,
    EntryKind,
    ReasonCode,
    ReviewKind,
    ReviewState,
    check_comment,
)
from fakesieve.values.webhooks import EventType
from fakesieve.webhooks.events import record_event, withdraw_event

SKIPS_MAX = 3
"""After so many people passed over an item it is offered to nobody any more."""


def reveal_score(session: Session, item_id: str, reviewer: str, disposition: Disposition) -> None:
    """Write down what the reviewer says without the score, then let them see it.

    How far the final word moves from this one says how much the score leads people. Raises RequestRefused
    (STATE_CONFLICT) for an item that is not blind or that shows its score already.
    """
    item = lock_held(session, item_id, reviewer, Act.REVEAL)
    if not item.is_blind or item.reveal_time is not None:
        raise RequestRefused(Reason.STATE_CONFLICT, f"{item_id} hides no score from you")
    entry = _make_entry(item, reviewer, EntryKind.BLIND)
    entry.disposition, entry.is_blind = disposition, _is_person(reviewer)
    session.add(entry)
    item.reveal_time = func.now()
    session.flush()
    _note(session, item, reviewer, "review.revealed", {"blind_disposition": disposition})


def decide_item(session: Session, item_id: str, reviewer: str, draft: DecisionDraft) -> str:
    """Write a decision, close the item and announce it; return the decision's id.

    One that escalates opens an item for somebody who has not decided this one, whichever look it was.
    The announcement waits until the decision can no longer be taken back; that of a known item is told to
    nobody. Raises RequestRefused:
    STATE_CONFLICT where the item is not the reviewer's, INVALID_REQUEST for a face that is not there.
    """
    item = lock_held(session, item_id, reviewer, Act.DECIDE)
    _check_tracks(session, item, draft)
    entry = _make_entry(item, reviewer, EntryKind.DECISION)
    entry.disposition, entry.reason_code = draft.disposition, draft.reason_code
    entry.comment, entry.policy_ref = draft.comment, draft.policy_ref
    entry.automated_means = draft.automated_means
    entry.is_blind = item.is_blind and item.reveal_time is None and _is_person(reviewer)
    session.add(entry)
    session.flush()
    _add_tracks(session, entry, draft)
    _close(item, entry)
    session.flush()
    passed_to = None
    if draft.disposition is Disposition.ESCALATED:
        passed_to = _pass_on(session, item, draft)
    else:
        _ask_by_rate(session, item)
    if item.made_for is None:
        _announce(session, item, entry)
    details = {"disposition": draft.disposition, "reason_code": draft.reason_code, "decision_id": entry.id}
    if passed_to is not None:
        details["review_id"] = passed_to
    _note(session, item, reviewer, "review.decided", details)
    return entry.id


def skip_item(
    session: Session, item_id: str, reviewer: str, reason: ReasonCode, comment: str | None = None
) -> ReviewState:
    """Pass over an item, which is offered to others; return where it now stands.

    Raises ValueError for a comment that cannot be kept.
    """
    check_comment(reason, comment)
    item = lock_held(session, item_id, reviewer, Act.SKIP)
    entry = _make_entry(item, reviewer, EntryKind.SKIP)
    entry.reason_code, entry.comment = reason, comment
    session.add(entry)
    session.flush()
    people = session.scalar(
        select(func.count(ReviewDecision.reviewer.distinct()))
        .join(ReviewItem, ReviewItem.id == ReviewDecision.item_id)
        .where(ReviewItem.id == item.id, ReviewDecision.kind == EntryKind.SKIP, is_skip_counted())
    )
    state = ReviewState.SKIPPED if (people or 0) >= SKIPS_MAX else ReviewState.OPEN
    put_back(item, state)
    session.flush()
    _note(session, item, reviewer, "review.skipped", {"reason_code": reason})
    return state


def reopen_item(session: Session, item_id: str, actor: str) -> None:
    """Offer an item again that too many people have passed over, to them too.

    Raises RequestRefused (STATE_CONFLICT) where nobody could take it, as its queue is closed.
    """
    item = lock_item(session, item_id, actor)
    state = move(item.state, Act.REOPEN)
    if not load_queue(session, item.queue_id).is_active:
        hint = "open the queue first"
        raise RequestRefused(Reason.STATE_CONFLICT, f"the queue {item.queue_id} is closed", hint)
    item.state = state
    item.reopen_time = func.now()
    session.flush()
    _note(session, item, actor, "review.reopened")


def undo_decision(session: Session, item_id: str, reviewer: str) -> None:
    """Take back one's own decision within ten seconds; the item is the reviewer's again.

    Raises RequestRefused (STATE_CONFLICT) where it is too late, where it was not theirs, or where somebody
    has begun to look at it a second time.
    """
    item = lock_item(session, item_id, reviewer)
    move(item.state, Act.UNDO)
    decision_id = item.decision_id
    assert decision_id is not None
    in_time = ReviewItem.decide_time > func.now() - func.make_interval(0, 0, 0, 0, 0, 0, UNDO_S)
    if item.decided_by != reviewer or not session.scalar(select(in_time).where(ReviewItem.id == item_id)):
        raise RequestRefused(
            Reason.STATE_CONFLICT,
            f"a decision can be taken back for {UNDO_S:g} seconds by whoever made it",
            "ask for a second opinion",
        )
    _drop_children(session, item)
    entry = _make_entry(item, reviewer, EntryKind.UNDO)
    entry.undone_id = decision_id
    session.add(entry)
    _reclaim(session, item, reviewer)
    session.flush()
    withdraw_event(session, "decision_id", decision_id)
    _note(session, item, reviewer, "review.undone", {"decision_id": decision_id})


def _is_person(reviewer: str) -> bool:
    """Whether somebody is kept from the score until they have said a word.

    A key is not: it reads whatever its tenant may read while it holds no item, so its word is never blind.
    """
    return reviewer.startswith(f"{IdPrefix.USER}_")


def _make_entry(item: ReviewItem, reviewer: str, kind: EntryKind) -> ReviewDecision:
    spent = func.greatest(0, func.extract("epoch", func.now() - item.claim_time))
    return ReviewDecision(
        id=new_id(IdPrefix.DECISION),
        tenant_id=item.tenant_id,
        item_id=item.id,
        analysis_id=item.analysis_id,
        kind=kind,
        reviewer=reviewer,
        seconds_spent=None if item.claim_time is None else spent,
    )


def _check_tracks(session: Session, item: ReviewItem, draft: DecisionDraft) -> None:
    wanted = [track.ordinal for track in draft.tracks]
    known = session.scalars(
        select(FaceTrack.ordinal).where(
            FaceTrack.analysis_id == item.analysis_id, FaceTrack.ordinal.in_(wanted)
        )
    )
    missing = sorted(set(wanted) - set(known))
    if missing:
        raise RequestRefused(Reason.INVALID_REQUEST, f"the analysis has no face number {missing[0]}")


def _add_tracks(session: Session, entry: ReviewDecision, draft: DecisionDraft) -> None:
    rows = [
        {
            "tenant_id": entry.tenant_id,
            "decision_id": entry.id,
            "analysis_id": entry.analysis_id,
            "ordinal": track.ordinal,
            "disposition": track.disposition,
            "reason_code": track.reason_code,
        }
        for track in draft.tracks
    ]
    if rows:
        session.execute(insert(TrackDecision), rows)


def _close(item: ReviewItem, entry: ReviewDecision) -> None:
    item.state = ReviewState.DECIDED
    item.claimed_by = item.claim_time = item.claim_until = None
    item.decision_id, item.disposition = entry.id, entry.disposition
    item.decided_by, item.decide_time = entry.reviewer, func.now()


def _reclaim(session: Session, item: ReviewItem, reviewer: str) -> None:
    lease_s = session.get_one(ReviewQueue, item.queue_id).lease_s
    item.state = ReviewState.CLAIMED
    item.decision_id = item.disposition = item.decided_by = item.decide_time = None
    item.claimed_by, item.claim_time = reviewer, func.now()
    item.claim_until = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, lease_s)
    if item.is_blind:  # after a decision the score was seen
        item.reveal_time = func.now()


def _drop_children(session: Session, item: ReviewItem) -> None:
    """Remove a second look that nobody has begun; refuse where somebody has, and where it is an appeal."""
    said = exists().where(ReviewDecision.item_id == ReviewItem.id).label("is_begun")
    children = select(ReviewItem.id, ReviewItem.state, ReviewItem.kind, said)
    children = children.where(ReviewItem.parent_id == item.id).with_for_update()
    rows = session.execute(children).all()
    is_free = [row.state is ReviewState.OPEN and row.kind is not ReviewKind.APPEAL for row in rows]
    if not all(is_free) or any(row.is_begun for row in rows):
        raise RequestRefused(Reason.STATE_CONFLICT, "somebody looks at it a second time already")
    session.execute(delete(ReviewItem).where(ReviewItem.id.in_([row.id for row in rows])))


def _pass_on(session: Session, item: ReviewItem, draft: DecisionDraft) -> str:
    """Have somebody else look, and return the new item.

    They are shown what this item says, such as the words of an appeal, and the comment. Of an item that is
    judged blindly they judge blindly too, and are shown no comment.
    """
    words = (item.statement, None if item.is_blind else draft.comment)
    statement = "\n\n".join(each for each in words if each) or None
    return open_again(session, item, ReviewKind.SECOND_OPINION, is_blind=item.is_blind, statement=statement)


def _ask_by_rate(session: Session, item: ReviewItem) -> None:
    """Ask somebody else too for the share of items that the queue wants; which ones is in their ids."""
    if item.kind is not ReviewKind.FIRST:
        return
    rate = session.get_one(ReviewQueue, item.queue_id).second_opinion_rate
    spread = int.from_bytes(hashlib.sha256(item.id.encode()).digest()[:4], "big") / 2**32
    if spread < rate:
        open_again(session, item, ReviewKind.SECOND_OPINION, is_blind=True)


def _announce(session: Session, item: ReviewItem, entry: ReviewDecision) -> None:
    video_id = session.scalar(select(Analysis.video_id).where(Analysis.id == item.analysis_id))
    data = {
        "review_id": item.id,
        "decision_id": entry.id,
        "analysis_id": item.analysis_id,
        "video_id": video_id,
        "kind": item.kind,
        "disposition": entry.disposition,
        "reason_code": entry.reason_code,
    }
    record_event(session, item.tenant_id, EventType.REVIEW_DECIDED, data, delay_s=UNDO_S)


def _note(
    session: Session, item: ReviewItem, actor: str, action: str, details: Mapping[str, object] | None = None
) -> None:
    owner = {"tenant_id": item.tenant_id, "actor": actor, "subject": item.id}
    record_audit(session, **owner, action=action, details=details)
