"""Results by verdict and outcome: the same page whether few analyses are rated so or many."""

from typing import Any

import pytest
from sqlalchemy import text

from engine.results import Outcome, VerdictValue
from fakesieve.database import Database
from fakesieve.jobs.cancel import cancel_job
from fakesieve.jobs.fan_out import FanOut
from fakesieve.records import result_lists
from fakesieve.records.result_lists import ResultLine, list_results
from tests.job_cases import JobCase
from tests.job_stores import job_database, make_sql_case

__all__ = ["job_database"]

LIKELY, UNSURE = VerdictValue.LIKELY_MANIPULATED, VerdictValue.INCONCLUSIVE


@pytest.fixture(params=[0, 1000], ids=["walked", "found"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Up to how many analyses are looked up one by one: so that all are many, or all few."""
    monkeypatch.setattr(result_lists, "FEW", request.param)
    return request.param


@pytest.fixture
def case(job_database: Database) -> JobCase:
    """Two tenants with an empty history."""
    return make_sql_case(job_database)


def rate(case: JobCase, job_id: str, verdict: VerdictValue) -> str:
    """Have the analysis of a job say this; return the job."""
    said = "UPDATE standing SET score = 0.5, verdict = :verdict, outcome = 'scored'"
    of_job = " WHERE analysis_id = (SELECT analysis_id FROM job WHERE id = :job)"
    case.store.run(lambda tx: tx.session.execute(text(said + of_job), {"job": job_id, "verdict": verdict}))
    return job_id


def screen(case: JobCase, name: str, verdict: VerdictValue | None = None, tenant: int = 0) -> str:
    """A job that was scored; without a verdict its video shows no face."""
    job_id = case.submit(name, tenant)
    case.finish(job_id, content=name)
    return job_id if verdict is None else rate(case, job_id, verdict)


def ask(database: Database, case: JobCase, **wanted: Any) -> list[str]:
    return [line.job_id for line in ask_lines(database, case, **wanted)]


def ask_lines(database: Database, case: JobCase, **wanted: Any) -> list[ResultLine]:
    with database.transaction(tenant_id=case.tenants[0]) as session:
        return list_results(session, **wanted)


def test_a_verdict_chooses_the_newest_first_and_no_other_tenants(
    case: JobCase, few: int, job_database: Database
) -> None:
    oldest = screen(case, "a", LIKELY)
    screen(case, "b", UNSURE)
    screen(case, "c")
    screen(case, "a", LIKELY, tenant=1)
    newest = screen(case, "d", LIKELY)
    assert ask(job_database, case, verdict=LIKELY) == [newest, oldest]
    assert ask(job_database, case, verdict=VerdictValue.NO_MANIPULATION_FOUND) == []


def test_an_outcome_chooses_alone_and_beside_a_verdict(
    case: JobCase, few: int, job_database: Database
) -> None:
    scored, empty = screen(case, "a", LIKELY), screen(case, "b")
    assert ask(job_database, case, outcome=Outcome.SCORED) == [scored]
    assert ask(job_database, case, outcome=Outcome.NO_FACE) == [empty]
    assert ask(job_database, case, outcome=Outcome.SCORED, verdict=LIKELY) == [scored]
    assert ask(job_database, case, outcome=Outcome.NO_FACE, verdict=LIKELY) == []


def test_a_page_begins_behind_the_last_line_of_the_one_before(
    case: JobCase, few: int, job_database: Database
) -> None:
    jobs = [screen(case, name, LIKELY) for name in "abcd"]
    first = ask_lines(job_database, case, verdict=LIKELY, limit=2)
    assert [line.job_id for line in first] == [jobs[3], jobs[2]]
    place = (first[-1].create_time, first[-1].job_id)
    assert ask(job_database, case, verdict=LIKELY, limit=2, before=place) == [jobs[1], jobs[0]]


def test_each_job_that_was_answered_by_an_analysis_has_its_line(
    case: JobCase, few: int, job_database: Database
) -> None:
    own = screen(case, "same", LIKELY)
    screen(case, "other", UNSURE)
    again = case.submit("same again")
    assert case.prepare(again, content="same") is FanOut.REUSED
    assert ask(job_database, case, verdict=LIKELY) == [again, own]


def test_jobs_without_an_analysis_are_left_out(case: JobCase, few: int, job_database: Database) -> None:
    scored = screen(case, "a", LIKELY)
    cancelled = case.submit("b")
    cancel_job(case.store, cancelled)
    case.submit("c")
    assert ask(job_database, case, verdict=LIKELY) == [scored]
    assert ask(job_database, case) == [cancelled, scored]


def test_one_job_is_shown_where_it_fits(case: JobCase, job_database: Database) -> None:
    scored = screen(case, "a", LIKELY)
    assert ask(job_database, case, job_id=scored, verdict=LIKELY) == [scored]
    assert ask(job_database, case, job_id=scored, verdict=UNSURE) == []
