import csv
import io
import json
import threading
import time

from fakesieve.jobs.ends import end_job
from fakesieve.jobs.rows import JobEnd
from fakesieve.jobs.sql.store import SqlJobTransaction
from fakesieve.jobs.states import JobState
from fakesieve.reasons import Reason
from fakesieve.records.tenants import create_key, ensure_tenant
from tests.factories import make_empty_score
from tests.fakesieve.cli.conftest import Fleet

UNKNOWN = "job_" + "0" * 26


def test_jobs_are_listed_newest_first_and_by_state(fleet: Fleet) -> None:
    first = fleet.add_job("a.mp4")
    second = fleet.add_job("b.mp4", state=JobState.FAILED, reason=Reason.CORRUPT, message="cut off")
    lines = [json.loads(text) for text in fleet.run("jobs", "ls", "--json").out.splitlines()]
    assert [line["id"] for line in lines] == [second, first]
    assert lines[0]["error"]["reason"] == "CORRUPT"
    assert lines[1]["error"] is None
    only = fleet.run("jobs", "ls", "--state", "failed", "--json").out
    assert json.loads(only)["id"] == second
    text = fleet.run("jobs", "ls").out
    assert f"{second}" in text
    assert "CORRUPT: cut off" in text


def test_a_job_is_shown_with_its_work(fleet: Fleet) -> None:
    fleet.put_object("a.mp4")
    line = json.loads(fleet.run("submit", "s3://videos/a.mp4", "--json").out)
    shown = json.loads(fleet.run("jobs", "show", line["job_id"], "--json").out)
    assert (shown["state"], shown["attempts"], shown["history"]) == ("queued", 0, [])
    assert shown["work"] == [
        {"shard": 0, "kind": "prepare", "state": "pending", "attempts": 0, "deliveries": 0, "owner": None}
    ]
    assert fleet.run("jobs", "show", line["job_id"]).out.startswith(f"{line['job_id']}  queued  standard")


def test_an_unknown_job_is_not_found(fleet: Fleet) -> None:
    for command in (
        ("jobs", "show"),
        ("jobs", "logs"),
        ("jobs", "cancel"),
        ("jobs", "retry"),
        ("watch",),
        ("results", "show"),
    ):
        ran = fleet.run(*command, UNKNOWN)
        assert (ran.code, ran.out) == (1, "")
        assert ran.err == (
            f"error: NOT_FOUND: there is no job {UNKNOWN}\n"
            "hint: check the id; it may belong to another tenant\n"
        )


def test_another_tenants_job_is_not_found(fleet: Fleet, monkeypatch) -> None:
    job_id = fleet.add_job()
    with fleet.database.transaction(tenant_id=None) as session:
        key = create_key(session, ensure_tenant(session, "other"), "test", frozenset())
    monkeypatch.setenv("FAKESIEVE_API_KEY", key.secret)
    assert fleet.run("jobs", "ls", "--json").out == ""
    assert fleet.run("jobs", "show", job_id).code == 1
    assert fleet.run("jobs", "cancel", job_id).code == 1
    assert fleet.read_job(job_id).state is JobState.QUEUED


def test_cancel_and_retry(fleet: Fleet) -> None:
    fleet.put_object("a.mp4")
    job_id = json.loads(fleet.run("submit", "s3://videos/a.mp4", "--json").out)["job_id"]
    assert fleet.run("jobs", "cancel", job_id).out == f"{job_id}  cancelled\n"
    job = fleet.read_job(job_id)
    assert (job.state, job.error_reason) == (JobState.CANCELLED, Reason.CANCELLED_BY_CALLER)
    assert fleet.run("jobs", "cancel", job_id).out == f"{job_id}  had ended: cancelled\n"
    assert fleet.run("jobs", "retry", job_id, "--dry-run").out == f"{job_id}  would be queued again\n"
    assert fleet.read_job(job_id).state is JobState.CANCELLED
    assert fleet.run("jobs", "retry", job_id).out == f"{job_id}  queued again\n"
    assert fleet.read_job(job_id).state is JobState.QUEUED
    assert fleet.run("jobs", "retry", job_id, "--dry-run").code == 1
    refused = fleet.run("jobs", "retry", job_id)
    assert refused.code == 1
    assert f"{job_id} is queued" in refused.err


def test_a_batch_is_cancelled_as_one(fleet: Fleet, tmp_path) -> None:
    manifest = tmp_path / "list.jsonl"
    manifest.write_text('{"uri": "s3://videos/a.mp4"}\n{"uri": "s3://videos/b.mp4"}\n')
    lines = fleet.run("submit", "--manifest", str(manifest), "--json").out.splitlines()
    batch_id = json.loads(lines[0])["batch_id"]
    assert fleet.run("jobs", "cancel", batch_id).out == f"{batch_id}  cancelled, 2 jobs were live\n"
    ended = fleet.run("watch", batch_id, "--json")
    assert ended.code == 3
    assert [json.loads(line)["state"] for line in ended.out.splitlines()] == ["cancelled", "cancelled"]


def test_watch_ends_when_all_jobs_have_ended(fleet: Fleet) -> None:
    done = fleet.add_result("a.mp4")
    fleet.put_object("b.mp4")
    late = json.loads(fleet.run("submit", "s3://videos/b.mp4", "--json").out)["job_id"]

    def cancel_soon() -> None:
        time.sleep(0.5)
        with fleet.database.transaction(tenant_id=None) as session:
            end = JobEnd(JobState.CANCELLED, Reason.CANCELLED_BY_CALLER)
            end_job(SqlJobTransaction(session), late, end)

    thread = threading.Thread(target=cancel_soon)
    thread.start()
    ran = fleet.run("watch", late, done, "--json")
    thread.join()
    assert [json.loads(line)["id"] for line in ran.out.splitlines()] == [done, late]
    assert ran.code == 3


def test_watch_tells_scored_from_unscored_by_its_exit_code(fleet: Fleet) -> None:
    scored, empty = fleet.add_result("a.mp4"), fleet.add_result("b.mp4", make_empty_score())
    assert fleet.run("watch", scored).code == 0
    assert fleet.run("watch", scored, empty).code == 3
    assert fleet.run("watch", scored).out == f"{scored}  succeeded  s3://videos/a.mp4\n"


def test_watch_gives_up_after_its_time(fleet: Fleet) -> None:
    job_id = fleet.add_job()
    ran = fleet.run("watch", job_id, "--timeout", "0.3")
    assert ran.code == 1
    assert "DEADLINE_EXCEEDED: 1 of 1 jobs have not ended within 0.3 s" in ran.err


def test_as_csv_a_job_has_its_fields_in_columns_of_their_own(fleet: Fleet) -> None:
    fleet.add_job("b.mp4", state=JobState.FAILED, reason=Reason.CORRUPT, message="cut off")
    (row,) = csv.DictReader(io.StringIO(fleet.run("jobs", "ls", "--csv").out))
    assert row["source"].endswith("/b.mp4")
    assert (row["error_reason"], row["error_message"]) == ("CORRUPT", "cut off")
    assert (row["shards_total"], row["analysis_id"], row["end_time"] != "") == ("0", "", True)
    form = json.loads(fleet.run("jobs", "ls", "--json").out)
    assert set(form) - {"shards", "error"} <= set(row)
