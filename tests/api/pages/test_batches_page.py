"""The page of a batch: what its jobs do, how it is cancelled, and how what failed begins again."""

import secrets

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import select, text, update

from api.pages.routes import batches
from fakesieve.database import Database
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import JobState
from fakesieve.jobs.submit import NewBatch, NewJob, submit_batch
from fakesieve.objects import VideoRef
from fakesieve.records.audit import AuditEntry
from fakesieve.records.jobs import Job
from fakesieve.values.people import UserRole
from tests.api.pages.stage import BUCKET, Scene, enter, find_token, make_scene


@pytest.fixture
def own(module_database: Database) -> Scene:
    return make_scene(module_database, f"tenant-{secrets.token_hex(4)}")


@pytest.fixture
def batch_id(module_database: Database, own: Scene) -> str:
    """A batch of four jobs, which nobody has begun."""
    jobs = [NewJob(own.tenant_id, VideoRef(BUCKET, f"list/{n}.mp4")) for n in range(4)]
    new = NewBatch(own.tenant_id, "<i>monday</i>", max_failure_rate=0.25)
    return submit_batch(SqlJobStore(module_database, own.tenant_id), new, jobs).batch_id


def press(client: TestClient, batch_id: str, act: str, **fields: str) -> Response:
    token = find_token(client.get("/jobs").text)
    return client.post(f"/batches/{batch_id}/{act}", data={"form_token": token} | fields)


def set_jobs(database: Database, batch_id: str, own: Scene, *changes: dict[str, object]) -> None:
    """Change the jobs of a batch, one after the other."""
    with database.transaction(tenant_id=own.tenant_id) as session:
        ids = session.scalars(select(Job.id).where(Job.batch_id == batch_id).order_by(Job.id)).all()
        for job_id, values in zip(ids, changes, strict=False):
            session.execute(update(Job).where(Job.id == job_id).values(values))


def list_states(database: Database, batch_id: str, own: Scene) -> list[JobState]:
    with database.transaction(tenant_id=own.tenant_id) as session:
        return list(session.scalars(select(Job.state).where(Job.batch_id == batch_id).order_by(Job.id)))


def list_acts(database: Database, batch_id: str, own: Scene) -> list[tuple[str, object]]:
    with database.transaction(tenant_id=own.tenant_id) as session:
        wanted = select(AuditEntry.action, AuditEntry.details).where(AuditEntry.subject == batch_id)
        return [(row.action, row.details) for row in session.execute(wanted.order_by(AuditEntry.sequence))]


def fail(reason: str) -> dict[str, object]:
    return {"state": "failed", "error_reason": reason, "end_time": text("now()")}


def test_the_page_says_what_the_running_jobs_do(
    client: TestClient, own: Scene, batch_id: str, module_database: Database
):
    run = {"state": "running", "start_time": text("now()")}
    halfway, put_together = run | {"n_shards": 2, "n_done": 1}, run | {"n_shards": 1, "n_done": 1}
    set_jobs(module_database, batch_id, own, run, halfway, put_together)
    enter(client, own, UserRole.VIEWER)
    page = client.get(f"/batches/{batch_id}").text
    assert '<a href="/jobs" aria-current="page">Jobs</a>' in page
    assert (
        "<dt>probing</dt><dd>1</dd></div><div><dt>scoring</dt><dd>1</dd></div>"
        "<div><dt>aggregating</dt><dd>1</dd>" in page
    )
    assert "&lt;i&gt;monday&lt;/i&gt;" in page
    assert "when more than 25 % of what has ended failed" in page
    assert "Cancel the batch" not in page  # a viewer looks
    listed = client.get(f"/jobs?batch={batch_id}").text
    assert [listed.count(f'<span class="small">{stage}</span>') for stage in ("probing", "scoring")] == [1, 1]


def test_an_admin_cancels_a_batch_with_all_its_jobs(
    client: TestClient, own: Scene, batch_id: str, module_database: Database
):
    enter(client, own, UserRole.ADMIN)
    assert "Cancel the batch" in client.get(f"/batches/{batch_id}").text
    page = press(client, batch_id, "cancel").text
    assert "The batch was cancelled, with 4 jobs that had not ended." in page
    assert "Cancel the batch" not in page
    assert list_states(module_database, batch_id, own) == [JobState.CANCELLED] * 4
    assert press(client, batch_id, "cancel").status_code == 409
    assert list_acts(module_database, batch_id, own) == [("batch.cancelled", {"jobs": 4})]


def test_failures_of_one_reason_or_of_all_begin_again(
    client: TestClient, own: Scene, batch_id: str, module_database: Database
):
    ends = (fail("CORRUPT"), fail("SOURCE_NOT_FOUND"), fail("SOURCE_NOT_FOUND"))
    set_jobs(module_database, batch_id, own, *ends)
    enter(client, own, UserRole.ADMIN)
    assert "Start all 3 again" in client.get(f"/batches/{batch_id}").text
    assert "2 jobs start again." in press(client, batch_id, "retry", reason="SOURCE_NOT_FOUND").text
    queued = JobState.QUEUED
    assert list_states(module_database, batch_id, own) == [JobState.FAILED, queued, queued, queued]
    set_jobs(module_database, batch_id, own, *ends)
    assert "3 jobs start again." in press(client, batch_id, "retry").text
    assert list_states(module_database, batch_id, own) == [queued] * 4
    assert "0 jobs start again." in press(client, batch_id, "retry").text
    retried = [("batch.retried", {"jobs": 2}), ("batch.retried", {"jobs": 3})]
    assert list_acts(module_database, batch_id, own) == retried


def test_a_long_list_begins_again_in_steps(
    client: TestClient,
    own: Scene,
    batch_id: str,
    module_database: Database,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(batches, "RETRIES_AT_ONCE", 2)
    monkeypatch.setattr(batches, "RETRIES_MAX", 3)
    set_jobs(module_database, batch_id, own, *[fail("SOURCE_NOT_FOUND")] * 4)
    enter(client, own, UserRole.ADMIN)
    assert "3 jobs start again. More are left" in press(client, batch_id, "retry").text
    assert "1 jobs start again." in press(client, batch_id, "retry").text
    assert list_states(module_database, batch_id, own) == [JobState.QUEUED] * 4


def test_a_quota_holds_for_what_begins_again(
    client: TestClient, own: Scene, batch_id: str, module_database: Database
):
    set_jobs(module_database, batch_id, own, *[fail("SOURCE_NOT_FOUND")] * 4)
    with module_database.transaction(tenant_id=None) as session:
        session.execute(text("UPDATE tenant SET jobs_max = 3 WHERE id = :id"), {"id": own.tenant_id})
    enter(client, own, UserRole.ADMIN)
    refused = press(client, batch_id, "retry")
    assert (refused.status_code, "QUOTA_EXCEEDED" in refused.text) == (403, True)
    assert list_states(module_database, batch_id, own) == [JobState.FAILED] * 4


@pytest.mark.parametrize("act", ["cancel", "retry"])
def test_only_an_admin_of_its_tenant_changes_a_batch(
    client: TestClient, own: Scene, other_scene: Scene, batch_id: str, act: str
):
    enter(client, own, UserRole.REVIEWER)
    assert press(client, batch_id, act).status_code == 403
    enter(client, other_scene, UserRole.ADMIN)
    assert press(client, batch_id, act).status_code == 404
    assert client.get(f"/batches/{batch_id}").status_code == 404
