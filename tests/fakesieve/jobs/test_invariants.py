"""Each rule finds what breaks it, and a healthy database breaks none."""

import pytest
from sqlalchemy import text

from fakesieve.database import Database
from fakesieve.jobs.cancel import cancel_job
from fakesieve.jobs.fan_out import FanOut
from fakesieve.jobs.invariants import INVARIANTS, find_violations
from tests.job_cases import LIMITS, JobCase
from tests.job_stores import make_sql_case


@pytest.fixture
def case(job_database: Database) -> JobCase:
    """Jobs in every state that is no failure."""
    case = make_sql_case(job_database)
    case.finish(case.submit("scored"), content="same")
    assert case.prepare(case.submit("reused"), content="same") is FanOut.REUSED
    cancel_job(case.store, case.submit("cancelled"))
    case.prepare(case.submit("running"), shards=2)
    case.submit("queued")
    return case


def find(case: JobCase, *acked: str) -> set[str]:
    return {each.name for each in case.store.run(lambda tx: find_violations(tx.session, LIMITS, acked))}


def test_a_healthy_fleet_breaks_no_rule(case: JobCase) -> None:
    assert find(case, case.submit("one more")) == set()


def test_a_job_that_is_gone_is_missed(case: JobCase) -> None:
    assert find(case, "job_gone") == {"I1"}


BREAKS = {
    "I3": "UPDATE job SET n_shards = n_shards + 1 WHERE n_shards = 2",
    "I4": "UPDATE job SET deadline = now() - interval '10 minutes' WHERE state = 'running'",
    "I5": "UPDATE shard SET fence = 0",
    "I6": "DELETE FROM outbox WHERE topic = 'doorbell'",
    "I7": "UPDATE shard SET attempts = 4, deliveries = 9",
    "I9": "UPDATE job SET reused_analysis = NOT reused_analysis WHERE state = 'succeeded'",
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_a_rule_is_found(case: JobCase, name: str) -> None:
    case.store.run(lambda tx: tx.session.execute(text(BREAKS[name])))
    assert find(case) == {name}


def test_an_overdue_reconciler_shows(case: JobCase) -> None:
    case.offer_slots(8)
    case.relay()
    case.pass_time(LIMITS.doorbell_wait_s + 60)
    assert find(case) == {"I6"}


def test_rules_are_numbered_and_told() -> None:
    assert [rule.name for rule in INVARIANTS] == [f"I{n}" for n in range(1, 10)]
    assert all(rule.says for rule in INVARIANTS)
