"""How well reviewers decide, on items whose truth is known for certain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import sqrt

from sqlalchemy import String, cast, exists, func, select
from sqlalchemy.orm import Session

from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.reviews import KnownAnalysis, ReviewDecision, ReviewItem
from fakesieve.records.videos import Video
from fakesieve.values.reviews import Disposition, EntryKind, ReviewKind, ReviewState, Truth

SURE_MIN = 20
"""With fewer sure words a share says little: the interval of 19 of 19 still reaches down to 0.83."""
MISSES_MAX = 500
"""Named at most, the newest, of all reviewers together and of no deleted video; all of them are counted."""
_Z = 1.959964  # of a normal distribution, 2.5 % lie above


@dataclass(frozen=True)
class Miss:
    """A sure word that was wrong."""

    item_id: str
    analysis_id: str
    reviewer: str
    said: Disposition
    truth: Truth
    decide_time: datetime


@dataclass(frozen=True)
class Accuracy:
    """What a reviewer has said of known items. Only ``right`` and ``wrong`` are sure words.

    ``misses`` are the newest of those that were wrong.
    """

    right: int
    wrong: int
    inconclusive: int
    escalated: int
    skipped: int
    misses: tuple[Miss, ...] = ()

    def __post_init__(self) -> None:
        counts = (self.right, self.wrong, self.inconclusive, self.escalated, self.skipped)
        if min(counts) < 0 or len(self.misses) > self.wrong:
            raise ValueError("counts are at least 0, and who misses is counted as wrong")

    @property
    def decided(self) -> int:
        """Number of known items decided, surely or not."""
        return self.right + self.wrong + self.inconclusive + self.escalated

    @property
    def share(self) -> float | None:
        """Share of sure words that were right, 0 to 1; None with fewer than 20."""
        sure = self.right + self.wrong
        return self.right / sure if sure >= SURE_MIN else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the share by Wilson's score; None where there is no share."""
        return None if self.share is None else find_interval(self.right, self.right + self.wrong)


def find_interval(right: int, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of a share (E. B. Wilson, JASA 1927). ``count`` is at least 1."""
    share, z2 = right / count, _Z * _Z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    # Rounding alone would leave 0 and 1 by some parts in 10^17.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def measure_reviewers(session: Session) -> Mapping[str, Accuracy]:
    """Return for each reviewer of the tenant at hand what they have said of known items, as it stands now.

    What was taken back does not count, nor does an analysis whose truth was.
    """
    item, is_decided = ReviewItem, ReviewItem.state == ReviewState.DECIDED
    is_sure = item.disposition.in_([Disposition(truth) for truth in Truth])
    is_right = cast(item.disposition, String) == cast(KnownAnalysis.truth, String)
    skipped = exists().where(ReviewDecision.item_id == item.id, ReviewDecision.kind == EntryKind.SKIP)
    rows = session.execute(
        select(
            item.made_for,
            func.count().filter(is_decided, is_right),
            func.count().filter(is_decided, is_sure, ~is_right),
            func.count().filter(is_decided, item.disposition == Disposition.INCONCLUSIVE),
            func.count().filter(is_decided, item.disposition == Disposition.ESCALATED),
            func.count().filter(~is_decided, skipped),
        )
        .join(KnownAnalysis, KnownAnalysis.analysis_id == item.analysis_id)
        .where(item.made_for.is_not(None), item.kind == ReviewKind.FIRST)
        .group_by(item.made_for)
        .order_by(item.made_for)
    )
    misses = _list_misses(session)
    found = {str(row[0]): Accuracy(row[1], row[2], row[3], row[4], row[5]) for row in rows}
    return {
        who: replace(each, misses=tuple(miss for miss in misses if miss.reviewer == who))
        for who, each in found.items()
        if each.decided or each.skipped
    }


def _list_misses(session: Session) -> Sequence[Miss]:
    item = ReviewItem
    rows = session.execute(
        select(
            item.id,
            item.analysis_id,
            item.decided_by,
            item.disposition,
            KnownAnalysis.truth,
            item.decide_time,
        )
        .join(KnownAnalysis, KnownAnalysis.analysis_id == item.analysis_id)
        .join(Analysis, Analysis.id == item.analysis_id)
        .join(Video, Video.id == Analysis.video_id)
        .where(
            Video.delete_time.is_(None),
            item.made_for.is_not(None),
            item.kind == ReviewKind.FIRST,
            item.state == ReviewState.DECIDED,
            item.disposition.in_([Disposition(truth) for truth in Truth]),
            cast(item.disposition, String) != cast(KnownAnalysis.truth, String),
        )
        .order_by(item.decide_time.desc(), item.id)
        .limit(MISSES_MAX)
    )
    return [Miss(*row) for row in rows]
