"""Two models held against each other on the videos that both have judged. Changes no row.

The pairs are built once: whatever is said of them is counted in one walk over them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Row,
    Select,
    String,
    Text,
    case,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session, aliased

from engine.results import VerdictValue
from fakesieve.filters.check import EVERYTHING, Filter
from fakesieve.records.analysis_lists import select_standing
from fakesieve.records.filter_sql import compile_filter
from fakesieve.records.standings import Standing
from fakesieve.records.statement_bounds import bounded

FLIPS_MAX = 1000
BINS = 40


@dataclass(frozen=True)
class Flip:
    """One video of which two models lead to different verdicts."""

    video_id: str
    base_id: str
    other_id: str
    base: VerdictValue | None
    other: VerdictValue | None
    base_score: float | None
    other_score: float | None

    @property
    def distance(self) -> float:
        """How far the scores lie apart; 1, the farthest, where one has none."""
        if self.base_score is None or self.other_score is None:
            return 1.0
        return abs(self.other_score - self.base_score)


@dataclass(frozen=True)
class PairCell:
    """Videos whose scores lie in one cell of the square. Bin i of n holds scores from i/n up to (i + 1)/n."""

    base_bin: int
    other_bin: int
    count: int
    flip_count: int


@dataclass(frozen=True)
class Comparison:
    """Two models over the videos that both have judged. ``mean_difference`` is other - base, of scores.

    ``cells`` count the videos that both have scored; those without one are left out.
    """

    counts: tuple[tuple[VerdictValue | None, VerdictValue | None, int], ...]
    mean_difference: float | None
    mean_distance: float | None
    cells: tuple[PairCell, ...]
    flips: tuple[Flip, ...]

    @property
    def video_count(self) -> int:
        """Videos that both have judged."""
        return sum(count for _, _, count in self.counts)

    @property
    def flip_count(self) -> int:
        """Videos whose verdict differs."""
        return sum(count for base, other, count in self.counts if base is not other)


def compare_models(
    session: Session,
    tenant_id: str,
    base_id: str,
    other_id: str,
    wanted: Filter = EVERYTHING,
    *,
    flips_max: int = 100,
) -> Comparison:
    """Hold two models against each other on the videos of a tenant that both have judged.

    The filter is about the base's analyses. Of several by one model, as after a change of the pipeline, the
    newest counts. Flips begin with those whose scores lie farthest apart.
    """
    pairs = _pair(tenant_id, base_id, other_id, wanted)
    statement = union_all(_count(pairs), select(_find_flips(pairs, min(flips_max, FLIPS_MAX))))
    with bounded(session):
        rows = session.execute(statement).all()
    return _read([row for row in rows if row.video_id is None], [row for row in rows if row.video_id])


def _pair(tenant_id: str, base_id: str, other_id: str, wanted: Filter) -> CTE:
    base, other = _select_base(tenant_id, base_id, wanted), _select_other(tenant_id, other_id)
    columns = [
        base.c.video_id,
        base.c.analysis_id.label("base_id"),
        other.c.analysis_id.label("other_id"),
        base.c.verdict.label("base"),
        other.c.verdict.label("other"),
        base.c.score.label("base_score"),
        other.c.score.label("other_score"),
    ]
    joined = select(*columns).join_from(base, other, base.c.video_id == other.c.video_id)
    return joined.cte("pairs").prefix_with("MATERIALIZED", dialect="postgresql")


def _select_base(tenant_id: str, model_id: str, wanted: Filter) -> CTE:
    return (
        select_standing(
            compile_filter(wanted, tenant_id),
            tenant_id,
            Standing.video_id.label("video_id"),
            cast(Standing.verdict, String()).label("verdict"),
            Standing.score.label("score"),
        )
        .where(Standing.model_id == model_id)
        .ext(distinct_on(Standing.video_id))
        .order_by(Standing.video_id, Standing.create_time.desc())
        .cte("base")
    )


def _select_other(tenant_id: str, model_id: str) -> CTE:
    standing = aliased(Standing)
    verdict = cast(standing.verdict, String()).label("verdict")
    return (
        select(standing.analysis_id, standing.video_id, verdict, standing.score)
        .where(standing.tenant_id == tenant_id, standing.model_id == model_id)
        .ext(distinct_on(standing.video_id))
        .order_by(standing.video_id, standing.create_time.desc())
        .cte("other")
    )


def _count(pairs: CTE) -> Select[Any]:
    """Return the statement of counts by verdicts and cell, with the sums by which scores differ."""
    difference = pairs.c.other_score - pairs.c.base_score
    keys = [pairs.c.base, pairs.c.other, _bin(pairs.c.base_score), _bin(pairs.c.other_score)]
    sums = [func.count(), func.count(difference), func.sum(difference), func.sum(func.abs(difference))]
    nothing = [cast(null(), Text()).label(name) for name in ("video_id", "base_id", "other_id")]
    scores = [cast(null(), Standing.score.type).label(name) for name in ("base_score", "other_score")]
    names = ("base", "other", "base_bin", "other_bin", "n", "n_scored", "difference", "distance")
    found = [column.label(name) for name, column in zip(names, [*keys, *sums], strict=True)]
    return select(*nothing, *scores, *found).group_by(*keys)


def _find_flips(pairs: CTE, limit: int) -> Any:
    """Return the pairs whose verdicts differ, in the columns of the counts, the farthest apart first."""
    distance = func.abs(pairs.c.other_score - pairs.c.base_score)
    whole = cast(null(), Integer())
    number = cast(null(), Standing.score.type)
    return (
        select(
            pairs.c.video_id, pairs.c.base_id, pairs.c.other_id, pairs.c.base_score, pairs.c.other_score,
            pairs.c.base, pairs.c.other,
            whole.label("base_bin"), whole.label("other_bin"),
            literal(1).label("n"), literal(0).label("n_scored"),
            number.label("difference"), number.label("distance"),
        )
        .where(pairs.c.base.is_distinct_from(pairs.c.other))
        .order_by(func.coalesce(distance, 1.0).desc(), pairs.c.video_id)
        .limit(limit)
        .subquery()
    )  # fmt: skip


def _bin(score: ColumnElement[float]) -> ColumnElement[int]:
    place = func.least(BINS - 1, func.floor(score * BINS)).cast(Integer())
    return case((score.is_not(None), place))  # LEAST passes over null


def _read(counted: Sequence[Row[Any]], flips: Sequence[Row[Any]]) -> Comparison:
    counts: dict[tuple[VerdictValue | None, VerdictValue | None], int] = {}
    cells: dict[tuple[int, int], tuple[int, int]] = {}
    for row in counted:
        key = (_read_value(row.base), _read_value(row.other))
        counts[key] = counts.get(key, 0) + row.n
        if row.base_bin is not None and row.other_bin is not None:
            count, flipped = cells.get((row.base_bin, row.other_bin), (0, 0))
            n_flips = row.n if row.base != row.other else 0
            cells[row.base_bin, row.other_bin] = (count + row.n, flipped + n_flips)
    scored = sum(row.n_scored for row in counted)
    ordered = sorted(counts.items(), key=lambda item: tuple(str(value or "~") for value in item[0]))
    return Comparison(
        tuple((base, other, count) for (base, other), count in ordered),
        sum(row.difference or 0.0 for row in counted) / scored if scored else None,
        sum(row.distance or 0.0 for row in counted) / scored if scored else None,
        tuple(PairCell(*place, *found) for place, found in sorted(cells.items())),
        tuple(sorted((_read_flip(row) for row in flips), key=lambda flip: (-flip.distance, flip.video_id))),
    )


def _read_flip(row: Row[Any]) -> Flip:
    values = (_read_value(row.base), _read_value(row.other))
    return Flip(row.video_id, row.base_id, row.other_id, *values, row.base_score, row.other_score)


def _read_value(value: str | None) -> VerdictValue | None:
    return None if value is None else VerdictValue(value)
