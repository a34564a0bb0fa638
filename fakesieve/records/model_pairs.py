"""Two models drawn against each other: how many videos have which two scores. Changes no row."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Integer, func, select
from sqlalchemy.orm import Session

from fakesieve.filters.check import EVERYTHING, Filter
from fakesieve.records.analysis_lists import bounded
from fakesieve.records.model_lists import pair_judgements

BINS = 40


@dataclass(frozen=True)
class PairCell:
    """Videos whose scores lie in one cell of the square. Bin i of n holds scores from i/n up to (i + 1)/n."""

    base_bin: int
    other_bin: int
    count: int
    flip_count: int


def draw_pairs(
    session: Session,
    tenant_id: str,
    base_id: str,
    other_id: str,
    wanted: Filter = EVERYTHING,
    *,
    bins: int = BINS,
) -> Sequence[PairCell]:
    """Count the videos that both models have scored by the two scores; cells without one are left out."""
    base, other = pair_judgements(tenant_id, base_id, other_id, wanted)
    across, up = _bin(base.c.score, bins), _bin(other.c.score, bins)
    flipped = func.count().filter(base.c.verdict.is_distinct_from(other.c.verdict))
    with bounded(session):
        rows = session.execute(
            select(across, up, func.count(), flipped)
            .select_from(base.join(other, base.c.video_id == other.c.video_id))
            .where(base.c.score.is_not(None), other.c.score.is_not(None))
            .group_by(across, up)
        ).all()
    return [PairCell(*row) for row in rows]


def _bin(score: ColumnElement[float], bins: int) -> ColumnElement[int]:
    return func.least(bins - 1, func.floor(score * bins)).cast(Integer())
