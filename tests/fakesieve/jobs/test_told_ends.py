"""What receivers are told of the ends of jobs and batches: what docs/howto/webhooks.md promises."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from fakesieve.database import Database
from fakesieve.jobs.cancel import cancel_batch, cancel_job, retry_jobs
from fakesieve.jobs.finish import fail_job
from fakesieve.jobs.reconcile import reconcile
from fakesieve.jobs.submit import NewBatch, NewJob, submit_batch
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.webhooks import Event, WebhookEndpoint
from fakesieve.values.webhooks import EndpointDraft
from fakesieve.webhooks.addresses import AddressRules
from fakesieve.webhooks.endpoints import create_endpoint
from fakesieve.webhooks.publish import take_job_events
from tests.job_cases import LIMITS, JobCase
from tests.job_stores import make_sql_case

DOCUMENT = Path(__file__).parents[3] / "docs" / "howto" / "webhooks.md"


@pytest.fixture
def case(job_database: Database) -> Iterator[JobCase]:
    """A store whose first tenant has a webhook for everything."""
    made = make_sql_case(job_database)
    draft = EndpointDraft("https://hooks.example.com/")
    with job_database.transaction(tenant_id=made.tenants[0]) as session:
        create_endpoint(session, made.tenants[0], "tests", draft, AddressRules.allow(()))
    yield made
    with job_database.transaction(tenant_id=None) as session:
        session.execute(delete(Event))
        session.execute(delete(WebhookEndpoint))


def read_promises() -> dict[str, list[str]]:
    """Return the fields of each type of event as the table of the document lists them."""
    rows = re.findall(r"^\| (`[^|]+`) \|[^|]*\| ([^|]*) \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    return {
        name: re.findall(r"`(\w+)`", data)
        for names, data in rows
        for name in re.findall(r"`([\w.]+)`", names)
    }


def list_told(database: Database) -> list[tuple[str, dict[str, object]]]:
    """Return type and data of all events in their order, as they are sent."""
    with database.transaction(tenant_id=None) as session:
        take_job_events(session)
        rows = session.execute(select(Event.type, Event.data).order_by(Event.create_time, Event.id))
        return [(row.type, row.data) for row in rows]


def submit(case: JobCase, *names: str) -> tuple[str, list[str]]:
    jobs = [NewJob(case.tenants[0], VideoRef("videos", f"{name}.mp4")) for name in names]
    done = submit_batch(case.store, NewBatch(case.tenants[0], "list"), jobs)
    return done.batch_id, [job.job_id for job in done.jobs]


def test_each_way_in_which_a_job_ends_is_told_with_all_that_is_promised(
    case: JobCase, job_database: Database
) -> None:
    batch_id, (failed,) = submit(case, "failed")
    fail_job(case.store, failed, Reason.CORRUPT, "no frame can be read")
    case.finish(succeeded := case.submit("good"))
    cancel_job(case.store, cancelled := case.submit("unwanted"))
    expired = case.submit("late", deadline_s=5.0)
    case.pass_time(6.0)
    assert reconcile(case.store, LIMITS).expired == 1
    told = {kind: data for kind, data in list_told(job_database) if kind.startswith("job.")}
    analysis_id = case.read_job(succeeded).analysis_id
    rest = {"analysis_id": None, "batch_id": None, "reused_analysis": False}
    assert told == {
        "job.failed": rest | {"job_id": failed, "state": "failed", "batch_id": batch_id, "reason": "CORRUPT"},
        "job.succeeded": rest
        | {"job_id": succeeded, "state": "succeeded", "analysis_id": analysis_id, "reason": None},
        "job.cancelled": rest | {"job_id": cancelled, "state": "cancelled", "reason": "CANCELLED_BY_CALLER"},
        "job.expired": rest | {"job_id": expired, "state": "expired", "reason": "DEADLINE_EXCEEDED"},
    }
    promises = read_promises()
    assert analysis_id is not None
    for kind, data in told.items():
        assert sorted(data) == sorted(promises[kind])


@pytest.mark.parametrize("end", ["failed", "cancelled", "succeeded_with_errors", "succeeded"])
def test_the_end_of_a_batch_is_told_once(case: JobCase, job_database: Database, end: str) -> None:
    batch_id, jobs = submit(case, "one", "two")
    fails = {"failed": jobs, "succeeded_with_errors": jobs[:1]}.get(end, [])
    for job_id in fails:
        fail_job(case.store, job_id, Reason.CORRUPT, "no frame can be read")
    if end == "cancelled":
        cancel_batch(case.store, batch_id)
        cancel_batch(case.store, batch_id)
    else:
        for job_id in jobs[len(fails) :]:
            case.finish(job_id)
    for _ in range(2):
        reconcile(case.store, LIMITS)
    told = list_told(job_database)
    batches = [data for kind, data in told if kind == "batch.completed"]
    end_reason = "cancelled" if end == "cancelled" else "jobs_ended"
    assert batches == [{"batch_id": batch_id, "state": end, "end_reason": end_reason}]
    assert sorted(batches[0]) == sorted(read_promises()["batch.completed"])
    if end == "cancelled":
        assert [(kind, data["batch_id"]) for kind, data in told if kind != "batch.completed"] == [
            ("job.cancelled", batch_id)
        ] * 2


def test_the_end_of_a_batch_that_was_retried_is_told_again(case: JobCase, job_database: Database) -> None:
    batch_id, jobs = submit(case, "one", "two")
    cancel_batch(case.store, batch_id)
    retry_jobs(case.store, case.tenants[0], jobs)
    for job_id in jobs:
        case.finish(job_id, content=job_id)
    for _ in range(2):
        reconcile(case.store, LIMITS)
    told = [data for kind, data in list_told(job_database) if kind == "batch.completed"]
    assert told == [
        {"batch_id": batch_id, "state": "cancelled", "end_reason": "cancelled"},
        {"batch_id": batch_id, "state": "succeeded", "end_reason": "jobs_ended"},
    ]
