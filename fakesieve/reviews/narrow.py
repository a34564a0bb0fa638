"""The items of one queue, narrowed by what is known of their analyses, listed and counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.orm import Session, aliased

from engine.results import VerdictValue
from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.blind import VIEWER, keep_from_viewer
from fakesieve.records.review_known import is_item_for, is_listed, may_know
from fakesieve.records.reviews import ReviewItem, ReviewQueue
from fakesieve.records.standings import Standing
from fakesieve.records.words import is_spoken_of
from fakesieve.reviews.items import view_items
from fakesieve.reviews.rules import match_rule
from fakesieve.reviews.values import ReviewView
from fakesieve.values.reviews import Disposition, QueueRule, ReviewState


@dataclass(frozen=True)
class Narrowing:
    """Which items of a queue. ``is_disputed`` keeps those of which another analysis has another verdict.

    ``until`` keeps those whose analysis is at least so old, ``disposition`` those of which people say this
    now: of what was escalated, the items that wait because of it too.
    """

    rule: QueueRule = field(default_factory=QueueRule)
    is_disputed: bool = False
    until: datetime | None = None
    disposition: Disposition | None = None

    @property
    def tells_findings(self) -> bool:
        """Whether being on the list says something of the score, which a blind queue must not."""
        known = QueueRule(since=self.rule.since, tags=self.rule.tags, sample_rate=self.rule.sample_rate)
        return self.is_disputed or self.rule != known


def check_narrowing(queue: ReviewQueue, only: Narrowing) -> None:
    """Raise RequestRefused (INVALID_REQUEST) for a filter that would tell a blind queue's scores."""
    if queue.is_blind and only.tells_findings:
        raise RequestRefused(
            Reason.INVALID_REQUEST,
            "the items of a blind-first queue cannot be filtered by what was found",
            "filter by age alone",
        )


def list_matches(
    session: Session,
    queue: ReviewQueue,
    only: Narrowing,
    state: ReviewState | None,
    *,
    after: tuple[float, str] | None = None,
    limit: int = 50,
) -> Sequence[ReviewView]:
    """Return items in the order in which the queue offers them, behind a position of ``find_place``."""
    check_narrowing(queue, only)
    wanted = select_matches(queue, only)
    if state is not None:
        wanted = wanted.where(ReviewItem.state == state)
    if after is not None:
        wanted = wanted.where(func.row(ReviewItem.rank, ReviewItem.id) > func.row(*after))
    ids = session.scalars(wanted.order_by(ReviewItem.rank, ReviewItem.id).limit(limit)).all()
    return view_items(session, ids)


def find_place(session: Session, item_id: str) -> tuple[float, str]:
    """Return where an item stands in its queue."""
    rank = session.scalars(select(ReviewItem.rank).where(ReviewItem.id == item_id)).one()
    return float(rank), item_id


def count_bands(session: Session, queue: ReviewQueue) -> Mapping[VerdictValue | None, int]:
    """Return how many open items have which verdict, without any that are one person's alone.

    A blind queue tells nothing, nor does one with known answers to those who review.
    """
    if queue.is_blind or (queue.known_share > 0 and not session.scalar(select(may_know()))):
        return {}
    rows = session.execute(
        select(Standing.verdict, func.count())
        .join(ReviewItem, ReviewItem.analysis_id == Standing.analysis_id)
        .where(
            ReviewItem.queue_id == queue.id,
            ReviewItem.state == ReviewState.OPEN,
            ReviewItem.made_for.is_(None),
            keep_from_viewer(ReviewItem.analysis_id),
        )
        .group_by(Standing.verdict)
    )
    return {row[0]: row[1] for row in rows}


def select_matches(queue: ReviewQueue, only: Narrowing) -> Select[str]:
    """Return the ids of a queue's items that fit, whoever holds them."""
    parts = [ReviewItem.queue_id == queue.id, match_rule(only.rule), is_item_for(VIEWER), is_listed()]
    if only.is_disputed:
        parts.append(_is_disputed())
    if only.until is not None:
        parts.append(Standing.create_time <= only.until)
    if only.disposition is not None:
        parts.append(is_spoken_of(queue.tenant_id, only.disposition))
    if only.tells_findings or only.disposition is not None:
        parts.append(keep_from_viewer(ReviewItem.analysis_id))
    return (
        select(ReviewItem.id)
        .join(Standing, Standing.analysis_id == ReviewItem.analysis_id)
        .where(Standing.tenant_id == queue.tenant_id, *parts)
    )


def _is_disputed() -> ColumnElement[bool]:
    mine, other, theirs = aliased(Analysis), aliased(Analysis), aliased(Standing)
    return exists().where(
        mine.id == Standing.analysis_id,
        other.video_id == mine.video_id,
        other.id != mine.id,
        theirs.analysis_id == other.id,
        theirs.verdict.is_distinct_from(Standing.verdict),
    )
