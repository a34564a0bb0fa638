"""Asks the questions: times at the side of the caller, and the plan of each statement."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median, quantiles

from sqlalchemy import text
from sqlalchemy.orm import Session

from bench.database.asked import Asker, Pick, Picker, Question, list_questions
from bench.database.explain import Plan, Statement, explain, note_statements
from fakesieve.database import Database
from fakesieve.errors import Unavailable

SECONDS_MAX = 5.0  # for one question; a slow one is asked less often, but three times
RUNS_MIN = 3
STATEMENT_MS_MAX = 60_000.0  # as the fleet's connections ask the server to cut it


class Undone(Exception):
    """Leaves a transaction without what it wrote."""


@dataclass(frozen=True)
class Asked:
    """A question with the times of its runs and the plans of its statements. No time: it took too long."""

    name: str
    goal_ms: float | None
    times_ms: tuple[float, ...]
    plans: tuple[Plan, ...]
    statements: int  # round trips of one run

    @property
    def p50_ms(self) -> float:
        """The middle of the times."""
        return median(self.times_ms)

    @property
    def p99_ms(self) -> float:
        """99 of 100 times are below; of fewer runs it is the greatest."""
        return percentile(self.times_ms, 99)

    @property
    def scans(self) -> tuple[str, ...]:
        """Large tables that were read whole."""
        return tuple(dict.fromkeys(table for plan in self.plans for table, _ in plan.scans))


def percentile(values: tuple[float, ...], share: int) -> float:
    """Return a percentile; of few values the greatest."""
    if len(values) < 100:
        return max(values)
    return quantiles(values, n=100)[share - 1]


def ask_all(api: Database, fleet: Database, only: str = "", seconds: float = SECONDS_MAX) -> Iterator[Asked]:
    """Ask all questions whose name has ``only`` in it, each as the role that asks it."""
    with fleet.transaction(tenant_id=None) as session:
        rows = read_row_counts(session)
        picker = Picker(session)
    for question in list_questions():
        if only in question.name:
            database = api if question.asker is Asker.API else fleet
            yield ask(question, database, picker, rows, seconds=seconds)


def ask(
    question: Question,
    database: Database,
    picker: Picker,
    rows: Mapping[str, int],
    *,
    seconds: float = SECONDS_MAX,
) -> Asked:
    """Ask one question until its runs or its time are over.

    The first run warms up and is not counted, unless it is the only one.
    """
    times, began = list[float](), time.perf_counter()
    pick = picker.pick(question.history)
    name = question.name if question.history is None else f"{question.name}, {pick.analyses:,} analyses"
    try:
        first_ms, noted = _ask_noted(question, database, pick)
        if question.runs == 1:
            times.append(first_ms)
        while len(times) < question.runs:
            times.append(_ask_noted(question, database, picker.pick(question.history))[0])
            if time.perf_counter() - began > seconds and len(times) >= RUNS_MIN:
                break
        plans = _explain(database, _whose(question, pick), noted, rows)
    except Unavailable:  # the statement's time was over
        return Asked(name, question.goal_ms, tuple(times) or (STATEMENT_MS_MAX,), (), 0)
    return Asked(name, question.goal_ms, tuple(times), plans, len(noted))


def _ask_noted(question: Question, database: Database, pick: Pick) -> tuple[float, list[Statement]]:
    """Ask once and undo what was written; return the milliseconds and the statements."""
    noted, begun = list[Statement](), time.perf_counter()
    ended = begun
    with suppress(Undone), database.transaction(tenant_id=_whose(question, pick)) as session:
        with note_statements(session.connection()) as noted:
            question.ask(session, pick)
        ended = time.perf_counter()
        raise Undone
    return 1000 * (ended - begun), noted


def _explain(
    database: Database, tenant_id: str | None, noted: Sequence[Statement], rows: Mapping[str, int]
) -> tuple[Plan, ...]:
    plans = list[Plan]()
    distinct = {statement.text: statement for statement in noted}
    with suppress(Undone), database.transaction(tenant_id=tenant_id) as session:
        for statement in distinct.values():
            if statement.is_setting:  # what follows is planned by it
                session.connection().exec_driver_sql(statement.text, statement.parameters)
            elif statement.is_explained:
                plans.append(explain(session, statement, rows))
        raise Undone
    return tuple(plans)


def _whose(question: Question, pick: Pick) -> str | None:
    return None if question.asker is Asker.FLEET else pick.tenant_id


def read_row_counts(session: Session) -> dict[str, int]:
    """Return the planner's count of rows by table, partitions each by itself."""
    found = session.execute(
        text(
            "SELECT relname, reltuples FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
    )
    return {name: int(count) for name, count in found}
