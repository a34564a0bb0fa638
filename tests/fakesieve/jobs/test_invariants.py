"""Each rule finds what breaks it, and a healthy database breaks none."""

import pytest
from sqlalchemy import text

from fakesieve.database import Database
from fakesieve.jobs.cancel import cancel_job
from fakesieve.jobs.fan_out import FanOut
from fakesieve.jobs.sql.invariants import COUNTED, INVARIANTS, WATCHED, Look, find_violations, look
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
    # Constraints forbid the first of them and the last but one: they are what a restored table may lack.
    "I2": "ALTER TABLE analysis DROP CONSTRAINT uq_analysis_video_id_pipeline_fingerprint;"
    " CREATE TEMP TABLE twin ON COMMIT DROP AS SELECT * FROM analysis LIMIT 1;"
    " UPDATE twin SET id = 'ana_twin'; INSERT INTO analysis SELECT * FROM twin",
    "I3": "UPDATE job SET n_shards = n_shards + 1 WHERE n_shards = 2",
    "I4": "UPDATE job SET deadline = now() - interval '10 minutes' WHERE state = 'running'",
    "I5": "UPDATE shard SET fence = 0",
    "I6": "DELETE FROM outbox WHERE topic = 'doorbell'",
    "I7": "UPDATE shard SET attempts = 4, deliveries = 9",
    "I8": "ALTER TABLE job DROP CONSTRAINT ck_job_error_reason;"
    " UPDATE job SET error_reason = NULL WHERE state = 'cancelled'",
    "I9": "UPDATE job SET reused_analysis = NOT reused_analysis WHERE state = 'succeeded'",
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_a_rule_is_found_by_tests_and_monitor(
    case: JobCase, name: str, module_database_as_owner: Database
) -> None:
    with module_database_as_owner.transaction(tenant_id=None) as session:
        for statement in BREAKS[name].split(";"):
            session.execute(text(statement))
        assert {each.name for each in find_violations(session, LIMITS)} == {name}
        assert {each.name for each in look(session, LIMITS).violations} == {name}
        session.rollback()


def test_an_overdue_reconciler_shows(case: JobCase) -> None:
    case.offer_slots(8)
    case.relay()
    case.pass_time(LIMITS.doorbell_wait_s + 60)
    assert find(case) == {"I6"}


def look_at(case: JobCase, jobs: int) -> Look:
    return case.store.run(lambda tx: look(tx.session, LIMITS, jobs))


def test_a_monitor_finds_a_healthy_fleet_well(case: JobCase) -> None:
    seen = look_at(case, 1000)
    assert seen == Look(5, ())
    assert seen.count() == dict.fromkeys([rule.name for rule in WATCHED], 0)


def test_a_look_takes_in_the_ends_of_the_tables_alone(case: JobCase) -> None:
    for number in range(12):
        case.submit(f"later {number}")
    # One that should end first, and one that ended last.
    assert look_at(case, 1).jobs == 2
    assert look_at(case, 1000).jobs == 17


def test_what_is_stuck_behind_others_is_seen_as_they_end(case: JobCase) -> None:
    stuck = case.submit("stuck", deadline_s=3600.0)
    case.store.run(
        lambda tx: tx.session.execute(text("DELETE FROM outbox WHERE job_id = :id"), {"id": stuck})
    )
    for number in range(3):
        case.submit(f"later {number}", deadline_s=7200.0)
    seen = look_at(case, 1)
    assert [(each.name, each.subject) for each in seen.violations] == [("I6", f"{stuck}/0")]


def test_what_ended_last_is_seen_however_long_ago_it_came(case: JobCase) -> None:
    wrong = case.submit("wrong")
    for number in range(3):
        case.submit(f"later {number}")
    case.finish(wrong)
    case.store.run(lambda tx: tx.session.execute(text("DELETE FROM usage WHERE job_id = :id"), {"id": wrong}))
    assert [(each.name, each.subject) for each in look_at(case, 1).violations] == [("I9", wrong)]


def test_violations_are_counted_up_to_a_hundred(case: JobCase) -> None:
    for number in range(COUNTED + 5):
        case.submit(f"many {number}")
    case.store.run(lambda tx: tx.session.execute(text("DELETE FROM outbox WHERE topic = 'doorbell'")))
    assert look_at(case, 1000).count()["I6"] == COUNTED


def test_rules_are_numbered_and_told() -> None:
    assert [rule.name for rule in INVARIANTS] == [f"I{n}" for n in range(1, 10)]
    assert all(rule.says for rule in INVARIANTS)
