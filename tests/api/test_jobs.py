"""Jobs over HTTP: submitted, shown, listed, cancelled, tried again, followed."""

import json
import time

import pytest
from sqlalchemy import text

from api.waiting import WAIT_S_MAX
from fakesieve.database import Database
from tests.api.callers import Caller, cancel_when_followed, reason_of


def submit(caller: Caller, uri: str, **fields) -> dict:
    answer = caller.post("/v1/jobs", {"uri": uri, **fields})
    assert answer.status_code == 202, answer.text
    return answer.json()


def test_an_object_becomes_a_job_about_its_present_bytes(acme, clip):
    uri = clip("jobs/one.mp4")
    answer = acme.post("/v1/jobs", {"uri": uri, "external_id": "case 7", "lane": "interactive"})
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["object"], job["state"], job["is_terminal"], job["lane"]) == (
        "job",
        "queued",
        False,
        "interactive",
    )
    assert job["external_id"] == "case 7"
    assert (job["source"]["uri"], job["source"]["size_bytes"]) == (uri, 18)
    assert job["source"]["etag"]
    assert job["progress"] == {"stage": None, "done": 0, "total": 0, "unit": "shards", "percent": 0}
    assert job["create_time"].endswith("Z")
    assert acme.get(f"/v1/jobs/{job['id']}").json() == job


def test_a_submitted_job_rings_through_the_outbox(acme, clip, module_database: Database):
    job = submit(acme, clip("jobs/bell.mp4"))
    with module_database.transaction(tenant_id=acme.tenant_id) as session:
        rows = session.execute(text("SELECT job_id, topic, shard_index FROM outbox")).all()
    assert [tuple(row) for row in rows] == [(job["id"], "doorbell", 0)]


def test_a_job_says_how_often_it_was_tried_and_when_it_is_tried_again(acme, clip, module_database: Database):
    job_id = submit(acme, clip("jobs/tries.mp4"))["id"]

    def read(path: str) -> tuple[int | None, str | None]:
        shown = acme.get(path).json()
        shown = shown.get("data", [shown])[0]
        return shown["attempts"], shown["next_retry_time"]

    def change(assignment: str) -> None:
        with module_database.transaction(tenant_id=None) as session:
            session.execute(text(f"UPDATE shard SET {assignment} WHERE job_id = :id"), {"id": job_id})

    paths = ("/v1/jobs", f"/v1/jobs/{job_id}")
    assert [read(path) for path in paths] == [(0, None)] * 2
    change("attempts = 2, deliveries = 3, retry_time = '2100-01-01T00:00:00Z'")
    assert [read(path) for path in paths] == [(2, "2100-01-01T00:00:00.000000Z")] * 2
    change("retry_time = now() - interval '1 s'")  # it may be tried already
    assert read(paths[1]) == (2, None)
    change("retry_time = '2100-01-01T00:00:00Z'")
    acme.post(f"/v1/jobs/{job_id}:cancel")
    assert read(paths[1]) == (2, None)
    with module_database.transaction(tenant_id=None) as session:
        session.execute(text("DELETE FROM shard WHERE job_id = :id"), {"id": job_id})
    assert [read(path) for path in paths] == [(None, None)] * 2


def test_an_object_that_is_not_there_makes_no_job(acme):
    answer = acme.post("/v1/jobs", {"uri": "s3://videos/jobs/nothing.mp4"})
    assert reason_of(answer) == (422, "SOURCE_NOT_FOUND")
    assert acme.get("/v1/jobs").json()["data"] == []


def test_a_pinned_job_is_refused_where_other_bytes_lie(acme, clip):
    answer = acme.post("/v1/jobs", {"uri": clip("jobs/pinned.mp4"), "etag": "0" * 32})
    assert reason_of(answer) == (409, "SOURCE_CHANGED")


def test_jobs_are_listed_newest_first_by_pages_that_inserts_do_not_disturb(acme, clip):
    uri = clip("jobs/list.mp4")
    ids = [submit(acme, uri)["id"] for _ in range(5)]
    first = acme.get("/v1/jobs", page_size=2).json()
    assert [job["id"] for job in first["data"]] == ids[:2:-1]
    submit(acme, uri)
    second = acme.get("/v1/jobs", page_size=2, page_token=first["next_page_token"]).json()
    third = acme.get("/v1/jobs", page_size=2, page_token=second["next_page_token"]).json()
    assert [job["id"] for job in second["data"] + third["data"]] == ids[2::-1]
    assert third["next_page_token"] is None


def test_a_list_is_filtered_by_state_and_its_token_is_bound_to_the_filter(acme, clip):
    uri = clip("jobs/states.mp4")
    ids = [submit(acme, uri)["id"] for _ in range(3)]
    acme.post(f"/v1/jobs/{ids[0]}:cancel")
    assert [job["id"] for job in acme.get("/v1/jobs", state="cancelled").json()["data"]] == [ids[0]]
    token = acme.get("/v1/jobs", state="queued", page_size=1).json()["next_page_token"]
    assert acme.get("/v1/jobs", state="queued", page_token=token).status_code == 200
    assert reason_of(acme.get("/v1/jobs", page_token=token)) == (422, "INVALID_PAGE_TOKEN")


def test_a_cancelled_job_says_why_and_can_be_tried_again(acme, clip):
    job_id = submit(acme, clip("jobs/cancel.mp4"))["id"]
    cancelled = acme.post(f"/v1/jobs/{job_id}:cancel", {"message": "wrong file"}).json()
    assert (cancelled["state"], cancelled["is_terminal"]) == ("cancelled", True)
    assert cancelled["error"]["reason"] == "CANCELLED_BY_CALLER"
    assert cancelled["error"]["message"] == "wrong file"
    assert reason_of(acme.post(f"/v1/jobs/{job_id}:cancel")) == (409, "STATE_CONFLICT")
    again = acme.post(f"/v1/jobs/{job_id}:retry")
    assert (again.status_code, again.json()["state"], again.json()["error"]) == (202, "queued", None)
    assert reason_of(acme.post(f"/v1/jobs/{job_id}:retry")) == (409, "STATE_CONFLICT")


def test_the_full_view_has_the_pieces_of_work(acme, clip):
    job_id = submit(acme, clip("jobs/full.mp4"))["id"]
    assert acme.get(f"/v1/jobs/{job_id}").json()["work"] is None
    work = acme.get(f"/v1/jobs/{job_id}", view="full").json()["work"]
    assert work == {
        "shards": [{"index": 0, "kind": "prepare", "state": "pending", "attempts": 0}],
        "attempts": [],
    }


def test_a_long_poll_answers_as_soon_as_the_job_ends(acme, clip, module_database):
    job_id = submit(acme, clip("jobs/wait.mp4"))["id"]
    later = cancel_when_followed(acme, module_database, job_id)
    begin = time.monotonic()
    job = acme.get(f"/v1/jobs/{job_id}", wait=WAIT_S_MAX).json()
    later.join()
    assert job["state"] == "cancelled"
    assert time.monotonic() - begin < WAIT_S_MAX


def test_a_long_poll_ends_with_a_job_that_still_waits(acme, clip):
    job_id = submit(acme, clip("jobs/wait2.mp4"))["id"]
    assert acme.get(f"/v1/jobs/{job_id}", wait=0.2).json()["state"] == "queued"


def test_events_follow_a_job_to_its_end(acme, clip, module_database):
    job_id = submit(acme, clip("jobs/events.mp4"))["id"]
    later = cancel_when_followed(acme, module_database, job_id)
    answer = acme.get(f"/v1/jobs/{job_id}/events")
    later.join()
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [
        dict(line.split(": ", 1) for line in block.splitlines())
        for block in answer.text.strip().split("\n\n")
    ]
    assert [event["event"] for event in events] == ["progress", "done"]
    assert events[0]["retry"] == "2000"
    assert json.loads(events[1]["data"])["state"] == "cancelled"


def test_events_of_no_job_are_a_problem_and_no_stream(acme):
    assert reason_of(acme.get("/v1/jobs/job_nothing/events")) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"uri": "s3://videos/a", "upload_id": "upl_1"}, ""),
        ({"uri": "s3://videos/a", "lane": "express"}, "/lane"),
        ({"uri": "s3://videos/a", "deadline_s": "60"}, "/deadline_s"),
        ({"uri": "s3://videos/a", "deadline_s": 0}, "/deadline_s"),
        ({"uri": "s3://videos/a", "external_id": "x" * 201}, "/external_id"),
        ({"uri": "s3://videos/a", "tenant_id": "ten_1"}, "/tenant_id"),
    ],
)
def test_a_wrong_body_is_refused_with_the_place_of_its_fault(acme, body, pointer):
    answer = acme.post("/v1/jobs", body)
    assert reason_of(answer) == (422, "INVALID_REQUEST")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
