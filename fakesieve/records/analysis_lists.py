"""Analyses as people and programs list them: filtered, ordered, page by page. Nothing here changes a row."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    func,
    or_,
    select,
    text,
    tuple_,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.elements import SQLCoreOperations
from sqlalchemy.types import NullType

from engine.results import EvidenceReason, MediaWarning, VerdictReason
from fakesieve.filters.check import EVERYTHING, Filter
from fakesieve.filters.order import NEWEST_FIRST, Order
from fakesieve.filters.shape import count_tests, split_values
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.blind import Looker, find_looker, keep_from_viewer
from fakesieve.records.filter_sql import FilterSql, Source, SqlText, compile_filter, name_values
from fakesieve.records.models import Model
from fakesieve.records.policies import PolicyVersion
from fakesieve.records.rulings import name_policy_in_force
from fakesieve.records.standings import NO_SCORE, Standing
from fakesieve.records.statement_bounds import QUERY_MS_MAX, bounded
from fakesieve.records.table import ID_TYPE
from fakesieve.records.tags import VideoTag
from fakesieve.records.videos import Video
from fakesieve.records.words import find_word
from fakesieve.values.analysis_lines import AnalysisLine, Position, Untold

PAGE_MAX = 1000
KEPT_TESTS_MAX = 8
"""Comparisons of a filter whose statement is kept for the next one of its shape."""
_UNKEPT: Mapping[str, Any] = {"compiled_cache": None}


@dataclass(frozen=True)
class AnalysisQuery:
    """Which analyses, in which order, behind which one.

    ``with_words``: with what people say of them, for somebody who may know it.
    """

    tenant_id: str
    wanted: Filter = EVERYTHING
    order: Order = NEWEST_FIRST
    after: Position | None = None
    limit: int = 50
    with_words: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= PAGE_MAX:
            raise ValueError(f"a page has 1 to {PAGE_MAX} lines, not {self.limit}")


# What can be ordered by; never null, so that one comparison of rows says what comes behind a line.
_KEYS: dict[str, tuple[Source, ColumnElement[Any]]] = {
    "create_time": (Source.STANDING, Standing.create_time.expression),
    "score": (Source.STANDING, func.coalesce(Standing.score, text(f"({NO_SCORE:.0f})::double precision"))),
    "duration_us": (Source.VIDEO, func.coalesce(Video.duration_us, -1)),
    "coverage.ratio": (Source.STANDING, Standing.coverage.expression),
}


def list_analyses(session: Session, query: AnalysisQuery) -> list[AnalysisLine]:
    """Return a page of a tenant's analyses; those of deleted videos are not among them.

    Raises FilterInvalid for a filter that takes longer than 15 seconds.
    """
    shape, values = split_values(query.wanted)
    is_short = count_tests(shape) <= KEPT_TESTS_MAX
    build = _build_list if is_short else _build_list.__wrapped__
    kind = _ListKind(query.order, find_looker(session), query.after is not None, query.with_words)
    statement = build(shape, kind)
    after = _name_position(query.order, query.after) if query.after is not None else {}
    asked = {"tenant": query.tenant_id, "lines": query.limit, **name_values(values), **after}
    with bounded(session):
        found = session.connection().execute(
            statement, asked, execution_options=None if is_short else _UNKEPT
        )
        return [_read_line(row, with_words=query.with_words) for row in found]


def find_line(
    session: Session, tenant_id: str, analysis_id: str, *, with_words: bool = False
) -> AnalysisLine | None:
    """Return one analysis in short; None where the tenant has none such, or its video is deleted.

    So it is for one that is kept from the viewer, which ``is_kept`` tells apart.
    """
    asked = {"tenant": tenant_id, "analysis": analysis_id}
    kind = _ListKind(NEWEST_FIRST, find_looker(session), is_behind=False, with_words=with_words)
    row = session.connection().execute(_build_line(kind), asked).one_or_none()
    return None if row is None else _read_line(row, with_words=with_words)


def count_up_to(session: Session, query: AnalysisQuery, limit: int, limit_ms: int | None = None) -> int:
    """Return how many analyses a query has, counted no further than to a limit.

    Raises FilterInvalid where that takes longer than ``limit_ms``, or than any filter may take.
    """
    found = select_standing(compile_filter(query.wanted, query.tenant_id), query.tenant_id).limit(limit)
    with bounded(session, limit_ms or QUERY_MS_MAX):
        return session.scalar(select(func.count()).select_from(found.subquery())) or 0


def find_video_id(session: Session, analysis_id: str) -> str | None:
    """Return the video of an analysis of the tenant at hand; None as ``find_line``, but not for the kept."""
    video = select(Analysis.video_id).join(Video, Video.id == Analysis.video_id)
    return session.scalar(video.where(Analysis.id == analysis_id, Video.delete_time.is_(None)))


def walk_analyses(session: Session, query: AnalysisQuery) -> Generator[AnalysisLine]:
    """Yield all analyses of a query, page by page, in the transaction at hand."""
    while True:
        page = list_analyses(session, query)
        yield from page
        if len(page) < query.limit:
            return
        query = replace(query, after=page[-1].position)


_TENANT = bindparam("tenant", type_=ID_TYPE)


def select_standing(
    found: FilterSql,
    tenant_id: SqlText,
    *columns: ColumnElement[Any],
    needs: Iterable[Source] = (),
    looker: Looker = Looker.ANY,
) -> Select[Any]:
    """Return the statement of all results of a tenant that fit a filter, joined to what it needs.

    The joined tables are there for conditions and columns that the caller adds. Analyses of deleted videos
    are left out, and those that are kept from the viewer of the transaction; ``looker`` is its kind.
    """
    wanted = {*found.needs, *needs}
    statement = (
        select(Standing.analysis_id, *columns)
        .select_from(Standing)
        .where(
            Standing.tenant_id == tenant_id,
            Standing.analysis_id.not_in(select_deleted(tenant_id)),
            keep_from_viewer(Standing.analysis_id, looker),
        )
    )
    if Source.ANALYSIS in wanted:
        statement = statement.join(Analysis, Analysis.id == Standing.analysis_id)
    if Source.VIDEO in wanted:
        statement = statement.join(Video, Video.id == Standing.video_id)
    if Source.MODEL in wanted:
        statement = statement.join(Model, Model.id == Standing.model_id)
    if Source.POLICY in wanted:
        in_force = name_policy_in_force(tenant_id, Standing.use_id, Standing.policy_id)
        statement = statement.join(PolicyVersion, PolicyVersion.id == in_force)
    return statement if found.where is None else statement.where(found.where)


def select_deleted(tenant_id: SqlText) -> Select[Any]:
    """Return the ids of analyses whose video is deleted: few, so that the rest is found without a join."""
    analysis, video = _OF_DELETED
    return (
        select(analysis.id)
        .join(video, video.id == analysis.video_id)
        .where(video.tenant_id == tenant_id, video.purge_time.is_not(None))
    )


_OF_DELETED = aliased(Analysis), aliased(Video)


@dataclass(frozen=True)
class _ListKind:
    """What a list's statement depends on beside its filter."""

    order: Order
    looker: Looker
    is_behind: bool
    with_words: bool


# Building a statement takes longer than most lists take the database. What people and programs ask for again
# is built once; tenant, page, position and what a filter compares with are parameters. Not so what only a
# program writes: 256 statements of 60 comparisons, the most there may be, take 72 MB, and of 8 they take 34.
@lru_cache(maxsize=256)
def _build_list(shape: Filter, kind: _ListKind) -> Select[Any]:
    """Return the statement of a page: its rows are found first and alone, then shown."""
    order, found = kind.order, compile_filter(shape, _TENANT)
    keys = {_KEYS[term.name][0] for term in order.terms}
    page = select_standing(found, _TENANT, *_COLUMNS, *_label_keys(order), needs=keys, looker=kind.looker)
    if kind.is_behind:
        page = page.where(_come_behind(order))
    lines = bindparam("lines", type_=Integer())
    return _select_details(page.order_by(*_order_columns(order)).limit(lines), kind)


@lru_cache
def _build_line(kind: _ListKind) -> Select[Any]:
    shown: list[ColumnElement[Any]] = [Standing.analysis_id.expression, *_COLUMNS, *_label_keys(kind.order)]
    page = select(*shown).where(
        Standing.tenant_id == _TENANT,
        Standing.analysis_id == bindparam("analysis", type_=ID_TYPE),
        keep_from_viewer(Standing.analysis_id, kind.looker),
    )
    return _select_details(page, kind).where(Video.delete_time.is_(None))


def _label_keys(order: Order) -> list[ColumnElement[Any]]:
    return [_KEYS[term.name][1].label(f"key_{index}") for index, term in enumerate(order.terms)]


def _order_columns(order: Order) -> list[ColumnElement[Any]]:
    keys = [
        _KEYS[term.name][1].desc() if term.is_descending else _KEYS[term.name][1].asc()
        for term in order.terms
    ]
    last = Standing.analysis_id.desc() if order.terms[-1].is_descending else Standing.analysis_id.asc()
    return [*keys, last]


def _name_position(order: Order, after: Position) -> dict[str, Any]:
    """Return the keys of a position as the parameters of ``_come_behind``."""
    if len(after) != len(order.terms) + 1:
        raise ValueError(f"a position in this order has {len(order.terms) + 1} keys, not {len(after)}")
    return {f"after_{place}": value for place, value in enumerate(after)}


def _come_behind(order: Order) -> ColumnElement[bool]:
    """Return the condition of all lines behind a position."""
    columns = [*(_KEYS[term.name][1] for term in order.terms), Standing.analysis_id.expression]
    falling = [*(term.is_descending for term in order.terms), order.terms[-1].is_descending]
    values = [bindparam(f"after_{place}", type_=column.type) for place, column in enumerate(columns)]
    if order.is_one_way:
        keys, place = tuple_(*columns), tuple_(*values)
        return keys < place if falling[0] else keys > place
    steps: list[ColumnElement[bool]] = []
    for index, column in enumerate(columns):
        same = [columns[before] == values[before] for before in range(index)]
        beyond = column < values[index] if falling[index] else column > values[index]
        steps.append(and_(*same, beyond))
    return or_(*steps)


def _select_details(page: Select[Any], kind: _ListKind) -> Select[Any]:
    """Return the statement of the lines of a page, which is found first and alone.

    What people say is asked in it too, so that it is of the moment in which a filter has looked at it.
    """
    order = kind.order
    rows = page.cte("page").prefix_with("MATERIALIZED", dialect="postgresql")
    keys = [rows.c[f"key_{index}"] for index in range(len(order.terms))]
    falling = [term.is_descending for term in order.terms]
    ways = zip([*keys, rows.c.analysis_id], [*falling, falling[-1]], strict=True)
    tags = select(func.jsonb_object_agg(VideoTag.name, VideoTag.value, type_=JSONB())).where(
        VideoTag.video_id == rows.c.video_id
    )
    words = [find_word(rows.c.analysis_id).label("disposition")] if kind.with_words else []
    policy_id = name_policy_in_force(_TENANT, rows.c.use_id, rows.c.policy_id)
    shown: dict[str, ColumnElement[Any]] = {
        "id": rows.c.analysis_id.label("id"),
        **{name: rows.c[name] for name in _SHOWN},
        # The driver gives these as lists of texts; SQLAlchemy would go over each element once more.
        **{name: type_coerce(rows.c[name], NullType()).label(name) for name in _REASONS},
        **_BESIDE,
        "tags": tags.scalar_subquery().label("tags"),
    }
    return (
        select(*(shown[name] for name in _LINE), *words, *keys)
        .select_from(rows)
        .join(Video, Video.id == rows.c.video_id)
        .join(Model, Model.id == rows.c.model_id)
        .join(PolicyVersion, PolicyVersion.id == policy_id)
        .order_by(*(key.desc() if is_falling else key.asc() for key, is_falling in ways))
    )


# What a line shows of its row in ``standing``, and of the rows that this names.
_SHOWN: Mapping[str, SQLCoreOperations[Any]] = {
    "video_id": Standing.video_id,
    "create_time": Standing.create_time,
    "outcome": Standing.outcome,
    "score_raw": Standing.score_raw,
    "score_calibrated": Standing.score_calibrated,
    "score_low": Standing.score_low,
    "score_high": Standing.score_high,
    "verdict": Standing.verdict,
    "verdict_reasons": Standing.verdict_reasons,
    "coverage_ratio": Standing.coverage,
    "scored_us": Standing.scored_us,
    "total_us": Standing.total_us,
    "faces_scored": Standing.faces_scored,
    "reasons": Standing.reasons,
    "warnings": Standing.warnings,
    "model_id": Standing.model_id,
    "engine": Standing.engine,
    "precision": Standing.precision,
    "fingerprint": Standing.pipeline_fingerprint,
}
_COLUMNS: list[ColumnElement[Any]] = [
    *(column.label(name) for name, column in _SHOWN.items()),
    Standing.policy_id.expression,
    Standing.use_id.expression,
]
_BESIDE: Mapping[str, ColumnElement[Any]] = {
    "external_id": Video.external_id.expression,
    "duration_us": Video.duration_us.expression,
    "policy": PolicyVersion.name.label("policy"),
    "policy_version": PolicyVersion.version.label("policy_version"),
    "low": PolicyVersion.low.expression,
    "high": PolicyVersion.high.expression,
    "model": Model.name.label("model"),
    "weights_sha256": Model.weights_sha256.expression,
}
_LINE = tuple(each.name for each in fields(AnalysisLine) if each.name not in ("disposition", "position"))
"""What a row holds, in the order of a line. What people say, if asked for, and the keys come behind."""
_REASONS: Mapping[str, type[StrEnum]] = {
    "verdict_reasons": VerdictReason,
    "reasons": EvidenceReason,
    "warnings": MediaWarning,
}
_REASONS_AT = tuple((_LINE.index(name), kind) for name, kind in _REASONS.items())
_TAGS_AT = _LINE.index("tags")


def _read_line(row: Sequence[Any], *, with_words: bool) -> AnalysisLine:
    values, keys = list(row[: len(_LINE)]), row[len(_LINE) + with_words :]
    for place, kind in _REASONS_AT:
        values[place] = _read_reasons(kind, tuple(values[place]))
    tags: dict[str, str] = values[_TAGS_AT] or {}
    values[_TAGS_AT] = tuple(sorted(tags.items()))
    disposition = row[len(_LINE)] if with_words else Untold.UNTOLD
    return AnalysisLine(*values, disposition=disposition, position=(*keys, values[0]))


@lru_cache(maxsize=1024)  # there are few of them, and many lines with the same
def _read_reasons(kind: type[StrEnum], names: tuple[str, ...]) -> tuple[StrEnum, ...]:
    return tuple(kind(name) for name in names)


def read_position(order: Order, keys: Sequence[str | int | float | bool | None]) -> Position:
    """Return a position from the keys of a page token, in which times are text.

    Raises ValueError where they do not fit the order.
    """
    if len(keys) != len(order.terms) + 1:
        raise ValueError("a page token has one key for each of the order and an id")
    times = [term.name == "create_time" for term in order.terms] + [False]
    known = [key for key in keys if key is not None]
    return tuple(
        datetime.fromisoformat(str(key)) if is_time else key
        for key, is_time in zip(known, times, strict=True)
    )


def write_position(position: Position) -> list[str | int | float]:
    """Return a position as JSON knows it."""
    return [key.isoformat() if isinstance(key, datetime) else key for key in position]
