"""What is kept from whoever is to judge a video without the score: one rule, which every list obeys.

Who looks is a property of the transaction, like the tenant: ``Database.transaction`` names the viewer. All
analyses of a video are kept from them together, as another one would tell the answer.

People who review are kept from every video that waits for a blind look which they may still take, until
they have said a word about it, and so from every known analysis that a blind queue may show them. A key is a
program, which may read what its tenant may read; it is kept from what it holds for a blind look this moment.
"""

from collections.abc import Collection
from enum import Enum, auto
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    ScalarSelect,
    Select,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from fakesieve.database import VIEWER_VARIABLE
from fakesieve.ids import IdPrefix
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.reviews import KnownAnalysis, ReviewDecision, ReviewItem, ReviewQueue
from fakesieve.values.reviews import EntryKind, ReviewState


class Looker(Enum):
    """What kind of viewer a transaction has; ``ANY`` where that is not known."""

    NOBODY = auto()
    KEY = auto()
    PERSON = auto()
    ANY = auto()


def find_looker(session: Session) -> Looker:
    """Return the kind of viewer that the transaction at hand names."""
    viewer = cast("str | None", session.info.get(VIEWER_VARIABLE))
    if viewer is None:
        return Looker.ANY
    if viewer in ("", ONLOOKER):
        return Looker.NOBODY
    return Looker.PERSON if viewer.startswith(_PERSON) else Looker.KEY


def keep_from_viewer(
    analysis_id: ColumnElement[Any] | InstrumentedAttribute[Any], looker: Looker = Looker.ANY
) -> ColumnElement[bool]:
    """Return the condition that an analysis is not kept from the viewer of the transaction.

    With the kind of viewer named it asks for what concerns that kind alone. To plan the whole rule takes the
    database longer than to find a page.
    """
    if looker is Looker.NOBODY:
        return true()
    return analysis_id.not_in(_HELD if looker is Looker.KEY else _KEPT)


def is_kept(session: Session, analysis_id: str) -> bool:
    """Whether an analysis is kept from the viewer of the transaction."""
    return session.scalar(select(literal(1)).where(literal(analysis_id).in_(_KEPT))) is not None


def find_kept(session: Session, analysis_ids: Collection[str]) -> set[str]:
    """Return those of some analyses that are kept from the viewer of the transaction."""
    wanted = select(Analysis.id).where(Analysis.id.in_(analysis_ids), Analysis.id.in_(_KEPT))
    return set(session.scalars(wanted))


def count_kept(session: Session) -> int:
    """Return how many analyses are kept from the viewer of the transaction, for lists that leave them out."""
    kept = _KEPT.subquery()
    return session.scalar(select(func.count(kept.c.id.distinct()))) or 0


def is_viewer(column: ColumnElement[Any] | InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Return the condition that a column names the viewer of the transaction; true where nobody looks."""
    return or_(VIEWER == "", func.coalesce(column == VIEWER, false()))


VIEWER = select(func.coalesce(func.current_setting(VIEWER_VARIABLE, true()), "")).scalar_subquery()
"""The viewer of the transaction; empty where nobody looks."""
ONLOOKER = "onlooker"
"""The viewer where a person looks who reviews nothing: nothing is kept from them, and no secret is theirs."""
_PERSON = f"{IdPrefix.USER}_"
IS_PERSON = func.starts_with(VIEWER, _PERSON)


def _select_held() -> Select[Any]:
    """Return the ids of what is kept from a viewer that is a key: what it holds for a blind look."""
    seen, same, item = aliased(Analysis), aliased(Analysis), aliased(ReviewItem)
    return (
        select(same.id)
        .select_from(item)
        .join(seen, seen.id == item.analysis_id)
        .join(same, same.video_id == seen.video_id)
        .where(item.is_blind, item.state != ReviewState.DECIDED, _is_held(item))
    )


def _is_held(item: type[ReviewItem]) -> ColumnElement[bool]:
    return and_(item.claimed_by == VIEWER, item.reveal_time.is_(None))


def _select_kept() -> Select[Any]:
    """Return the ids of what is kept: few, as a queue takes in some hundred items at a time."""
    seen, same, item = aliased(Analysis), aliased(Analysis), aliased(ReviewItem)
    is_revealed = and_(item.claimed_by == VIEWER, item.reveal_time.is_not(None))
    may_judge = and_(~is_revealed, _may_take(item), ~has_said(seen.video_id, VIEWER))
    return (
        select(same.id)
        .select_from(item)
        .join(seen, seen.id == item.analysis_id)
        .join(same, same.video_id == seen.video_id)
        .where(
            VIEWER != "",  # first and alone: without a viewer nothing is looked at
            item.is_blind,
            item.state != ReviewState.DECIDED,
            case((IS_PERSON, may_judge), else_=_is_held(item)),
        )
    )


def _select_kept_known() -> Select[Any]:
    """Return the ids of known analyses, and others of their videos, that a blind queue may show a person.

    But not what they have declared themselves, which they are never given, nor what they were given in a
    queue that hides nothing.
    """
    known, seen, same = aliased(KnownAnalysis), aliased(Analysis), aliased(Analysis)
    queue, shown = aliased(ReviewQueue), aliased(ReviewItem)
    is_shown = exists().where(
        shown.made_for == VIEWER, shown.analysis_id == known.analysis_id, shown.is_blind.is_(False)
    )
    return (
        select(same.id)
        .select_from(known)
        .join(seen, seen.id == known.analysis_id)
        .join(same, same.video_id == seen.video_id)
        .where(
            IS_PERSON,
            exists().where(queue.is_active, queue.is_blind, queue.known_share > 0),
            known.declared_by != VIEWER,
            ~is_shown,
            ~has_said(seen.video_id, VIEWER),
        )
    )


def _may_take(item: type[ReviewItem]) -> ColumnElement[bool]:
    """Whether a person holds an item or may come to hold it: nobody gets one of a closed queue.

    Nor does anybody get what was made for somebody else.
    """
    queue = aliased(ReviewQueue)
    is_open = exists().where(queue.id == item.queue_id, queue.is_active)
    is_theirs = or_(item.made_for.is_(None), item.made_for == VIEWER)
    return or_(item.claimed_by == VIEWER, and_(is_open, is_theirs))


def has_said(
    video_id: ColumnElement[Any] | InstrumentedAttribute[Any] | ScalarSelect[Any],
    reviewer: str | ColumnElement[Any],
) -> ColumnElement[bool]:
    """Return the condition that somebody has said a word about a video, and may have seen its score."""
    said, of = aliased(ReviewDecision), aliased(Analysis)
    return exists().where(
        of.video_id == video_id,
        said.analysis_id == of.id,
        said.kind.in_((EntryKind.BLIND, EntryKind.DECISION)),
        said.reviewer == reviewer,
    )


_HELD: Select[Any] = _select_held()
_KEPT: CompoundSelect[Any] = union_all(_select_kept(), _select_kept_known())
