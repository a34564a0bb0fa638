"""The checker sees what it is there to see: a checker that finds nothing may be blind."""

from collections.abc import Mapping

import pytest
from sqlalchemy import text

from fakesieve.database import Database
from fakesieve.ids import IdPrefix, new_id
from fakesieve.jobs.cancel import cancel_job
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import JobState
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.tenants import ensure_tenant
from tests.chaos.checker import Expected, Report, check

CANCELLED = Expected("short", JobState.CANCELLED, Reason.CANCELLED_BY_CALLER)


@pytest.fixture
def job_id(database: Database) -> str:
    """A job that was cancelled, as the checker of these tests expects."""
    store = SqlJobStore(database)
    with database.transaction(tenant_id=None) as session:
        tenant_id = ensure_tenant(session, "default")
    found = submit_video(store, NewJob(tenant_id, VideoRef("videos", "a.mp4"))).job_id
    assert cancel_job(store, found)
    return found


def ask(database: Database, acked: Mapping[str, Expected], change: str = "", **values: str) -> Report:
    """Change something behind the back of the fleet, and ask the checker."""
    with database.transaction(tenant_id=None) as session:
        if change:
            session.execute(text(change), values)
        return check(session, acked, {}, JobLimits())


def test_job_that_ended_as_expected_is_clean(database: Database, job_id: str) -> None:
    report = ask(database, {job_id: CANCELLED})
    assert report.line == "lost=0 dup=0 phantom=0 stale=0 wrong=0 stuck=0 sometimes=0/0"
    assert report.is_clean, report.describe()


def test_job_that_is_not_there_is_lost(database: Database, job_id: str) -> None:
    report = ask(database, {job_id: CANCELLED, new_id(IdPrefix.JOB): CANCELLED})
    assert len(report.lost) == 1


def test_second_end_is_a_duplicate(database: Database, job_id: str) -> None:
    change = (
        "INSERT INTO outbox (tenant_id, topic, job_id, lane)"
        " SELECT tenant_id, 'job.succeeded', id, lane FROM job WHERE id = :job"
    )
    assert len(ask(database, {job_id: CANCELLED}, change, job=job_id).dup) == 1


def test_job_that_nobody_was_told_of_is_a_phantom(database: Database, job_id: str) -> None:
    assert len(ask(database, {}).phantom) == 1


def test_write_under_an_old_fence_is_stale(database: Database, job_id: str) -> None:
    change = (
        "INSERT INTO attempt (tenant_id, job_id, shard_index, fence, kind, number, owner, start_time)"
        " SELECT tenant_id, id, 0, 7, 'prepare', 1, 'hst_a', now() FROM job WHERE id = :job"
    )
    assert len(ask(database, {job_id: CANCELLED}, change, job=job_id).stale) == 1


def test_other_end_than_promised_is_wrong(database: Database, job_id: str) -> None:
    assert len(ask(database, {job_id: Expected("short")}).wrong) == 1


def test_end_without_an_event_is_wrong(database: Database, job_id: str) -> None:
    report = ask(database, {job_id: CANCELLED}, "DELETE FROM outbox WHERE job_id = :job", job=job_id)
    assert len(report.wrong) == 1


def test_job_that_waits_is_stuck(database: Database, job_id: str) -> None:
    with database.transaction(tenant_id=None) as session:
        tenant_id = ensure_tenant(session, "default")
    waiting = submit_video(SqlJobStore(database), NewJob(tenant_id, VideoRef("videos", "b.mp4"))).job_id
    report = ask(database, {job_id: CANCELLED, waiting: Expected("short")})
    assert len(report.stuck) == 1


def test_failure_that_was_not_met_is_told(database: Database, job_id: str) -> None:
    report = ask(database, {job_id: CANCELLED})
    report.sometimes = {"R01": True, "R02": False}
    assert report.line.endswith("sometimes=1/2")
    assert not report.is_clean
    assert report.describe() == "never met: R02"
