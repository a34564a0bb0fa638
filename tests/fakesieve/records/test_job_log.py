"""What the records know of a job, in order of time."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, text, update

from fakesieve.database import Database
from fakesieve.jobs.cancel import cancel_job, retry_job
from fakesieve.jobs.claim import claim_shard, release_shard
from fakesieve.jobs.rows import Claim, ShardKey
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.job_log import load_log
from fakesieve.records.jobs import Shard
from fakesieve.values.job_log import LogEvent, LogLine, order_lines
from tests.factories import make_tenant

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def tenant_id(module_database: Database) -> str:
    return make_tenant(module_database, "acme")


@pytest.fixture
def job_id(module_database: Database, tenant_id: str) -> str:
    new = NewJob(tenant_id, VideoRef("videos", "clip.mp4"))
    return submit_video(SqlJobStore(module_database), new).job_id


def read(database: Database, tenant_id: str, job_id: str) -> list[LogLine]:
    with database.transaction(tenant_id=tenant_id) as session:
        found = load_log(session, job_id)
    assert found is not None
    return found


def tell(lines: list[LogLine]) -> list[tuple[str, int | None, int | None]]:
    return [(line.event.value, line.shard, line.number) for line in lines]


def claim(database: Database, job_id: str, owner: str) -> Claim:
    found = claim_shard(SqlJobStore(database), ShardKey(job_id, 0), owner, lease_s=60)
    assert isinstance(found, Claim)
    return found


def test_a_job_that_waits_has_a_doorbell_in_the_outbox(
    module_database: Database, tenant_id: str, job_id: str
) -> None:
    lines = read(module_database, tenant_id, job_id)
    assert tell(lines) == [("job.submitted", None, None), ("doorbell.waits", 0, None)]
    assert lines[0].message == "standard, by api"


def test_a_lost_lease_and_one_given_back_stand_with_their_host_and_reason(
    module_database: Database, tenant_id: str, job_id: str
) -> None:
    claim(module_database, job_id, "host-a")
    over = update(Shard).where(Shard.job_id == job_id).values(lease_until=func.now() - timedelta(seconds=1))
    with module_database.transaction(tenant_id=tenant_id) as session:
        session.execute(over)
    taken = claim(module_database, job_id, "host-b")
    why, seen = Reason.OBJECT_STORE_UNAVAILABLE, "it answers with 503"
    assert release_shard(SqlJobStore(module_database), taken, why, 600, refund=False, message=seen)
    lines = read(module_database, tenant_id, job_id)
    assert [line.time for line in lines] == sorted(line.time for line in lines)
    assert [each for each in tell(lines) if not each[0].startswith("doorbell")] == [
        ("job.submitted", None, None),
        ("job.started", None, None),
        ("attempt.began", 0, 1),
        ("attempt.lost", 0, 1),
        ("attempt.began", 0, 2),
        ("attempt.released", 0, 2),
        ("shard.retry_due", 0, None),
    ]
    told = {line.event: line for line in lines}
    assert told[LogEvent.ATTEMPT_LOST].owner == "host-a"
    failed = told[LogEvent.ATTEMPT_RELEASED]
    assert (failed.owner, failed.reason, failed.message) == ("host-b", why, seen)
    assert told[LogEvent.RETRY_DUE].time > failed.time + timedelta(seconds=500)


def test_an_end_and_a_retry_leave_their_lines(module_database: Database, tenant_id: str, job_id: str) -> None:
    assert cancel_job(SqlJobStore(module_database), job_id, "a wrong bucket")
    ended = read(module_database, tenant_id, job_id)
    last = next(line for line in ended if line.event is LogEvent.JOB_CANCELLED)
    assert (last.reason, last.message) == (Reason.CANCELLED_BY_CALLER, "a wrong bucket")
    with module_database.transaction(tenant_id=tenant_id) as session:
        record_audit(session, tenant_id=tenant_id, actor="key_1", action="job.retried", subject=job_id)
    assert retry_job(SqlJobStore(module_database), job_id)
    again = [line.event for line in read(module_database, tenant_id, job_id)]
    assert again.count(LogEvent.RETRY_ASKED) == 1
    assert LogEvent.JOB_CANCELLED not in again


def test_another_tenants_job_has_no_log(module_database: Database, job_id: str) -> None:
    other = make_tenant(module_database, "other")
    with module_database.transaction(tenant_id=other) as session:
        assert load_log(session, job_id) is None


def test_of_two_lines_at_one_moment_the_cause_comes_first() -> None:
    began, lost = (LogLine(NOON, event, 0) for event in (LogEvent.ATTEMPT_BEGAN, LogEvent.ATTEMPT_LOST))
    failed = LogLine(NOON, LogEvent.JOB_FAILED)
    assert order_lines([failed, began, lost]) == [lost, began, failed]
    with pytest.raises(ValueError, match="a piece of work"):
        LogLine(NOON, LogEvent.ATTEMPT_BEGAN, number=1)


def test_what_waits_in_the_outbox_is_found_along_an_index(
    module_database: Database, tenant_id: str, job_id: str
) -> None:
    cancel_job(SqlJobStore(module_database), job_id)
    scans = text("SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'outbox'")
    with module_database.transaction(tenant_id=tenant_id) as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))  # as if a million jobs waited
        before = session.scalar(scans)
        assert LogEvent.EVENT_WAITS in {line.event for line in load_log(session, job_id) or ()}
        assert session.scalar(scans) == before
