"""How many analyses there are of each kind. Nothing here changes a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, String, Text, cast, func, select, true
from sqlalchemy.orm import Session

from fakesieve.filters.check import EVERYTHING, Filter
from fakesieve.records.analysis_lists import select_standing
from fakesieve.records.filter_sql import FilterSql, Source, compile_filter
from fakesieve.records.jobs import Job
from fakesieve.records.models import Model
from fakesieve.records.policies import PolicyVersion
from fakesieve.records.standings import Standing
from fakesieve.records.statement_bounds import bounded
from fakesieve.records.words import find_word

BY_MAX = 3
GROUPS_MAX = 10_000


class CountBy(StrEnum):
    """What analyses are counted by. Of ``reason`` and ``verdict_reason`` one analysis may have several."""

    VERDICT = "verdict"
    OUTCOME = "outcome"
    REASON = "reason"
    VERDICT_REASON = "verdict_reason"
    DAY = "day"
    MODEL = "model"
    POLICY = "policy"
    DISPOSITION = "disposition"
    TENANT = "tenant"


@dataclass(frozen=True)
class Group:
    """One line of counts: a value for each thing that was counted by, and how many."""

    keys: tuple[str | None, ...]
    count: int


# Of a list each element counts for itself: a row for each, joined, so that two lists give all their pairs.
def _spread(column: Any, name: str) -> Any:
    return func.unnest(column, type_=Text()).table_valued("value", name=name).render_derived()


_REASONS = _spread(Standing.reasons, "reasons_of")
_VERDICT_REASONS = _spread(Standing.verdict_reasons, "verdict_reasons_of")
_KEYS: Mapping[CountBy, tuple[tuple[Source, ...], ColumnElement[Any]]] = {
    CountBy.VERDICT: ((), cast(Standing.verdict, String())),
    CountBy.OUTCOME: ((), cast(Standing.outcome, String())),
    CountBy.REASON: ((), _REASONS.c.value),
    CountBy.VERDICT_REASON: ((), _VERDICT_REASONS.c.value),
    CountBy.DAY: ((), func.to_char(func.timezone("UTC", Standing.create_time), "YYYY-MM-DD")),
    CountBy.MODEL: ((Source.MODEL,), Model.name.expression),
    CountBy.POLICY: (
        (Source.POLICY,),
        func.concat(PolicyVersion.name, "@", PolicyVersion.version, type_=Text()),
    ),
    CountBy.DISPOSITION: ((), cast(find_word(), String())),
    CountBy.TENANT: ((), Standing.tenant_id.expression),
}


@dataclass(frozen=True)
class Counts:
    """Groups, and how many analyses there are in all: with lists, groups overlap or leave some out.

    ``is_cut`` says that there are more groups than are shown.
    """

    groups: tuple[Group, ...]
    total: int
    is_cut: bool = False


def count_analyses(
    session: Session, tenant_id: str, by: Sequence[CountBy], wanted: Filter = EVERYTHING
) -> Counts:
    """Return how many analyses of a tenant fit a filter, by up to three things, ordered by these.

    Analyses of deleted videos are not counted. An analysis without any reason has no line under ``reason``;
    those of which people say nothing have one under ``disposition``, as those without a verdict have.
    Raises FilterInvalid for a filter that takes too long.
    """
    if len(by) > BY_MAX or len(set(by)) < len(by):
        raise ValueError(f"analyses are counted by up to {BY_MAX} different things")
    found = compile_filter(wanted, tenant_id)
    lines = _select_lines(found, tenant_id, by).subquery()
    keys = [lines.c[f"key_{index}"] for index in range(len(by))]
    groups = select(*keys, func.count()).group_by(*keys).order_by(*keys).limit(GROUPS_MAX + 1)
    with bounded(session):
        rows = session.execute(groups).all()
        is_whole = len(rows) <= GROUPS_MAX and not _LISTS & set(by)
        every = select(func.count()).select_from(select_standing(found, tenant_id).subquery())
        total = sum(row[-1] for row in rows) if is_whole else session.scalar(every) or 0
    shown = tuple(Group(tuple(row[:-1]), row[-1]) for row in rows[:GROUPS_MAX])
    return Counts(shown, total, len(rows) > GROUPS_MAX)


_LISTS = frozenset({CountBy.REASON, CountBy.VERDICT_REASON})


def _select_lines(found: FilterSql, tenant_id: str, by: Sequence[CountBy]) -> Select[Any]:
    """Return the statement with a row for each analysis, or for each element of the lists counted by."""
    columns = [_KEYS[each][1].label(f"key_{index}") for index, each in enumerate(by)]
    needs = [source for each in by for source in _KEYS[each][0]]
    statement = select_standing(found, tenant_id, *columns, needs=needs)
    if CountBy.REASON in by:
        statement = statement.join(_REASONS, true())
    if CountBy.VERDICT_REASON in by:
        statement = statement.join(_VERDICT_REASONS, true())
    return statement


def count_faults(session: Session, tenant_id: str) -> Counts:
    """Return how many jobs of a tenant ended without a result, by reason."""
    rows = session.execute(
        select(cast(Job.error_reason, String()), func.count())
        .where(Job.tenant_id == tenant_id, Job.error_reason.is_not(None))
        .group_by(Job.error_reason)
        .order_by(Job.error_reason)
    ).all()
    groups = tuple(Group((row[0],), row[1]) for row in rows)
    return Counts(groups, sum(group.count for group in groups))
