"""Asks the questions: times at the side of the caller, and the plan of each statement."""

import time
from collections.abc import Iterator, Mapping
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


def ask_all(api: Database, fleet: Database, only: str = "") -> Iterator[Asked]:
    """Ask all questions whose name has ``only`` in it, each as the role that asks it."""
    with fleet.transaction(tenant_id=None) as session:
        rows = read_row_counts(session)
        picker = Picker(session)
    for question in list_questions():
        if only in question.name:
            yield ask(question, api if question.asker is Asker.API else fleet, picker, rows)


def ask(question: Question, database: Database, picker: Picker, rows: Mapping[str, int]) -> Asked:
    """Ask one question until its runs or its time are over; the first run warms up and is not counted."""
    times, began = list[float](), time.perf_counter()
    try:
        _ask_once(question, database, picker.pick())
        while len(times) < question.runs:
            times.append(_ask_once(question, database, picker.pick()))
            if time.perf_counter() - began > SECONDS_MAX and len(times) >= RUNS_MIN:
                break
        plans, count = _explain(question, database, picker.pick(), rows)
    except Unavailable:  # the statement's time was over
        return Asked(question.name, question.goal_ms, tuple(times) or (60_000.0,), (), 0)
    return Asked(question.name, question.goal_ms, tuple(times), tuple(plans), count)


def _ask_once(question: Question, database: Database, pick: Pick) -> float:
    begun = time.perf_counter()
    ended = begun
    with suppress(Undone), database.transaction(tenant_id=_whose(question, pick)) as session:
        question.ask(session, pick)
        ended = time.perf_counter()
        raise Undone
    return 1000 * (ended - begun)


def _explain(
    question: Question, database: Database, pick: Pick, rows: Mapping[str, int]
) -> tuple[list[Plan], int]:
    plans, noted = list[Plan](), list[Statement]()
    with suppress(Undone), database.transaction(tenant_id=_whose(question, pick)) as session:
        with note_statements(session.connection()) as noted:
            question.ask(session, pick)
        raise Undone
    with suppress(Undone), database.transaction(tenant_id=_whose(question, pick)) as session:
        distinct = {statement.text: statement for statement in noted if statement.is_explained}
        plans += (explain(session, statement, rows) for statement in distinct.values())
        raise Undone
    return plans, len(noted)


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
