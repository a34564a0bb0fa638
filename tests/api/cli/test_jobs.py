"""Submit, watch and jobs over the API, and beside them over the database."""

import threading

import pytest
from sqlalchemy import text

from api.cli.remote.jobs import RemoteWatch
from api.client import Client
from fakesieve.cli.fleet import EndedJob
from fakesieve.errors import Unavailable
from fakesieve.jobs.cancel import cancel_job, retry_job
from fakesieve.jobs.claim import claim_shard
from fakesieve.jobs.reconcile import BatchPace, settle_batches
from fakesieve.jobs.rows import ShardKey
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.submit import SubmittedBatch, submit_batch
from fakesieve.reasons import Reason
from fakesieve.records.analyses import store_analysis
from tests.api.callers import make_caller
from tests.api.cli.conftest import Remote
from tests.commands import Ran
from tests.factories import make_empty_score, make_record, make_score, make_video
from workers.trace_ids import trace_id

_END = text(
    "UPDATE job SET state = 'succeeded', start_time = now(), end_time = now(), analysis_id = :analysis,"
    " video_id = :video WHERE id = :job"
)


def finish(remote: Remote, job_id: str, score=None) -> str:
    """End a job with an analysis, as a worker host would; returns the analysis."""
    with remote.database.transaction(tenant_id=remote.tenant_id) as session:
        video_id = make_video(session, remote.tenant_id, job_id)
        record = make_record(remote.tenant_id, video_id, score=score or make_score())
        analysis_id, _ = store_analysis(session, record)
        session.execute(_END, {"analysis": analysis_id, "video": video_id, "job": job_id})
    return analysis_id


def submit(remote: Remote, *inputs: str) -> list[str]:
    ran = remote.run("submit", *inputs, "--json")
    assert ran.code == 0, ran.err
    return [line["job_id"] for line in ran.lines()]


def test_a_file_is_uploaded_an_object_taken_where_it_lies(remote: Remote, clip, tmp_path) -> None:
    path = tmp_path / "my clip.mp4"
    path.write_bytes(b"bytes of a file")
    uri = clip("cli/one.mp4")
    ran = remote.run("submit", str(path), uri, "--json", "--lane", "interactive")
    assert (ran.code, ran.err) == (0, "")
    mine, there = ran.lines()
    assert (mine["input"], mine["is_new"], mine["batch_id"]) == (str(path), True, None)
    assert (there["input"], there["source"]) == (uri, uri)
    shown = remote.run("jobs", "show", mine["job_id"], there["job_id"], "--json").lines()
    assert [job["lane"] for job in shown] == ["interactive"] * 2
    alone = remote.run("submit", uri)
    assert [line["id"] for line in remote.run("jobs", "ls", "--limit", "1", "--json").lines()] == [
        alone.out.removesuffix("\n")
    ]


def test_a_manifest_of_this_machine_is_not_submitted_twice(remote: Remote, clip, tmp_path) -> None:
    manifest = tmp_path / "list.csv"
    rows = [f"{clip(f'cli-list/{name}.mp4')},case {name}\n" for name in ("a", "b")]
    manifest.write_text("uri,external_id\n" + "".join(rows))
    first = remote.run("submit", "--manifest", str(manifest), "--json").lines()
    again = remote.run("submit", "--manifest", str(manifest), "--json").lines()
    assert [line["job_id"] for line in first] == [line["job_id"] for line in again]
    assert [line["is_new"] for line in again] == [None, None]
    (job,) = remote.run("jobs", "show", first[0]["job_id"], "--json").lines()
    assert (job["external_id"], job["lane"]) == ("case a", "bulk")
    manifest.write_text("uri\nhttp://videos/a.mp4\n")
    ran = remote.run("submit", "--manifest", str(manifest))
    assert (ran.code, ran.err.partition(":")[2].strip()[:16]) == (1, "INVALID_MANIFEST")


def test_a_manifest_whose_batch_has_ended_is_submitted_again_when_told_so(
    remote: Remote, clip, tmp_path
) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"uri\n{clip('cli-again/a.mp4')}\n")

    def submit(*more: str) -> dict:
        (line,) = remote.run("submit", "--manifest", str(manifest), "--json", *more).lines()
        return line

    first = submit()
    assert remote.run("jobs", "cancel", first["batch_id"]).code == 0
    assert submit()["job_id"] == first["job_id"]
    again = submit("--again")
    assert (again["batch_id"] != first["batch_id"], again["job_id"] != first["job_id"]) == (True, True)
    assert again["is_new"] is True
    (job,) = remote.run("jobs", "show", again["job_id"], "--json").lines()
    assert job["state"] == "queued"


def test_a_list_that_was_cut_off_for_good_says_how_to_submit_it(remote: Remote, clip, tmp_path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("".join(["uri\n", *(f"{clip(f'cli-cut/{name}.mp4')}\n" for name in "ab")]))
    first = remote.run("submit", "--manifest", str(manifest), "--json").lines()
    remote.run("jobs", "cancel", first[0]["batch_id"])
    with remote.database.transaction(tenant_id=None) as session:  # as if it had never come, two days ago
        session.execute(text("DELETE FROM job WHERE id = :id"), {"id": first[1]["job_id"]})
        session.execute(text("DELETE FROM idempotent_answer"))
    ran = remote.run("submit", "--manifest", str(manifest))
    assert (ran.code, ran.err.partition(":")[2].strip()[:20]) == (1, "IDEMPOTENCY_CONFLICT")
    assert "hint: submit it with --again; what was scored is not scored again" in ran.err
    assert len(remote.run("submit", "--manifest", str(manifest), "--again", "--json").lines()) == 2


def test_nothing_is_submitted_under_another_policy(remote: Remote, clip) -> None:
    uri = clip("cli/policy.mp4")
    for run in (remote.run, remote.run_direct):
        ran = run("submit", uri, "--policy", "strict@1")
        assert ran.code == 1
        assert "judged by the thresholds of the model, not by strict@1" in ran.err
        assert "hint: apply it first: fakesieve policy apply strict@1" in ran.err
    assert remote.run("policy", "apply", "strict").code == 0
    for run in (remote.run, remote.run_direct):
        assert run("submit", uri, "--policy", "strict@1").code == 0
        assert run("submit", uri, "--policy", "balanced").code == 1


def test_both_ways_print_the_same_of_a_job(remote: Remote, clip) -> None:
    done, waiting = submit(remote, clip("cli/done.mp4"), clip("cli/waiting.mp4"))
    finish(remote, done)
    lists = (["jobs", "ls", "--json"], ["jobs", "ls", "--csv"], ["jobs", "ls", "--state", "queued"])
    assert [line["id"] for line in remote.run("jobs", "ls", "--limit", "1", "--json").lines()] == [waiting]
    for command in (*lists, ["jobs", "ls", "--limit", "1"], ["jobs", "show", done]):
        assert remote.run(*command).out == remote.run_direct(*command).out, command
    over_api, direct = (
        run("jobs", "show", done, "--json").lines()[0] for run in (remote.run, remote.run_direct)
    )
    for piece in direct["work"]:
        del piece["owner"], piece["deliveries"]
    assert over_api == direct
    assert waiting in remote.run("jobs", "show", waiting).out


def test_a_watch_ends_with_the_last_job_and_says_whether_all_have_scores(remote: Remote, clip) -> None:
    one, two = submit(remote, clip("cli/w1.mp4"), clip("cli/w2.mp4"))
    finish(remote, one)
    later = threading.Timer(0.5, cancel_job, (SqlJobStore(remote.database, remote.tenant_id), two))
    later.start()
    ran = remote.run("watch", one, two, "--json", "--timeout", "300")
    later.join()
    assert [(line["id"], line["state"]) for line in ran.lines()] == [(one, "succeeded"), (two, "cancelled")]
    assert ran.code == 3
    assert remote.run("watch", one).code == 0
    assert remote.run("watch", one, "--json").lines() == remote.run_direct("watch", one, "--json").lines()


def test_a_video_without_a_score_makes_a_watch_end_with_three(remote: Remote, clip) -> None:
    (job,) = submit(remote, clip("cli/empty.mp4"))
    finish(remote, job, make_empty_score())
    assert remote.run("watch", job).code == 3


def test_a_large_batch_is_watched_with_few_requests(remote: Remote, address: str) -> None:
    items = [{"uri": f"s3://videos/cli-large/{n}.mp4"} for n in range(300)]
    batch = remote.caller.post("/v1/batches", {"name": "large", "items": items}).json()
    asked: list[str] = []
    with Client(address, remote.caller.secret) as client:
        send = client.sender.send

        def count(method: str, path: str, *args, **kwargs):
            asked.append(path)
            return send(method, path, *args, **kwargs)

        client.sender.send = count
        jobs = [job.id for job in client.jobs.iter(batch_id=batch["id"], page_size=1000)][::-1]
        watch = RemoteWatch(client, [batch["id"]])
        told: list[EndedJob] = []

        def look(retried: int = 0) -> tuple[list[EndedJob], int]:
            asked.clear()
            seen = watch.look()
            told.extend(seen.ended)
            assert (len(told) + seen.left - retried, seen.is_over) == (300, seen.left == 0)
            return list(seen.ended), len(asked)

        assert look() == ([], 1)
        finish(remote, jobs[0])
        finish(remote, jobs[1], make_empty_score())
        ended, requests = look()
        assert [(each.line.id, each.has_score) for each in ended] == [(jobs[0], True), (jobs[1], False)]
        assert requests == 3  # the batch, its jobs that succeeded, their analyses
        assert look() == ([], 1)
        store = SqlJobStore(remote.database, remote.tenant_id)
        for job_id in jobs[2:200]:
            cancel_job(store, job_id)
        assert (len(look()[0]), len(asked)) == (198, 2)
        # A job that was told is tried again and ends otherwise, and is not told twice.
        assert retry_job(store, jobs[5])
        assert look(retried=1) == ([], 1)
        for job_id in jobs[200:]:
            cancel_job(store, job_id)
        finish(remote, jobs[5])
        settle_batches(SqlJobStore(remote.database), BatchPace(), 3600.0)
        ended, requests = look()
        assert sorted(each.line.id for each in ended) == jobs[200:]
        assert requests <= 4


def test_a_batch_is_watched_and_cancelled_as_one(remote: Remote, clip) -> None:
    for name in ("a", "b"):
        clip(f"cli-batch/{name}.mp4")
    lines = remote.run("submit", "s3://videos/cli-batch/", "--json").lines()
    batch = lines[0]["batch_id"]
    ran = remote.run("watch", batch, "--timeout", "0")
    assert (ran.code, "DEADLINE_EXCEEDED" in ran.err) == (1, True)
    assert remote.run("jobs", "cancel", batch, "--dry-run").out == (
        f"{batch}  would be cancelled, 2 jobs are live\n"
    )
    assert remote.run_direct("jobs", "cancel", batch, "--dry-run").out == (
        f"{batch}  would be cancelled, 2 jobs are live\n"
    )
    assert remote.run("jobs", "cancel", batch).out == f"{batch}  cancelled, 2 jobs were live\n"
    assert len(remote.run("watch", batch, "--json").lines()) == 2
    job = lines[0]["job_id"]
    assert remote.run("jobs", "cancel", job).out == f"{job}  had ended: cancelled\n"
    assert remote.run("jobs", "retry", job).out == f"{job}  queued again\n"
    again = remote.run("jobs", "retry", job)
    assert (again.code, "only failed, cancelled and expired jobs are retried" in again.err) == (1, True)


def test_the_jobs_of_a_batch_are_retried_as_one_either_way(remote: Remote, clip) -> None:
    for name in ("a", "b", "c"):
        clip(f"cli-retry/{name}.mp4")
    lines = remote.run("submit", "s3://videos/cli-retry/", "--json").lines()
    batch, jobs = lines[0]["batch_id"], [line["job_id"] for line in lines]
    for run in (remote.run, remote.run_direct):
        assert remote.run("jobs", "cancel", jobs[0], jobs[1]).code == 0
        assert run("jobs", "retry", batch, "--dry-run").out == f"{batch}  2 jobs would be queued again\n"
        assert len(remote.run("jobs", "ls", "--state", "cancelled", "--json").lines()) == 2
        assert run("jobs", "retry", batch).out == f"{batch}  2 jobs queued again\n"
        assert run("jobs", "retry", batch).out == f"{batch}  0 jobs queued again\n"
        assert len(remote.run("jobs", "ls", "--state", "queued", "--json").lines()) == 3
        # Beside jobs, in the order in which they were named.
        remote.run("jobs", "cancel", jobs[2])
        told = run("jobs", "retry", jobs[2], batch)
        assert told.out == f"{jobs[2]}  queued again\n{batch}  0 jobs queued again\n"
        none = run("jobs", "retry", "bat_00000000000000000000000000")
        assert (none.code, "NOT_FOUND" in none.err) == (1, True)


@pytest.mark.parametrize(
    "command", [["jobs", "ls", "--state", "expired"], ["results", "ls", "--filter", "score < 0"]]
)
def test_a_condition_that_lets_nothing_through_ends_with_four(remote: Remote, command: list[str]) -> None:
    assert remote.run(*command).code == 4
    assert remote.run_direct(*command).code == 4


def test_an_empty_list_without_a_condition_is_no_failure(remote: Remote) -> None:
    for command in (["jobs", "ls"], ["results", "ls"], ["webhooks", "list"]):
        assert remote.run(*command).code == 0


def test_a_key_that_does_not_suffice_ends_with_five(remote: Remote, monkeypatch, module_database) -> None:
    weak = make_caller(
        remote.caller.client, module_database, tenant_id=remote.tenant_id, scopes=frozenset({"jobs:read"})
    )
    for key, reason in (
        ("fsk_none", "UNAUTHENTICATED"),
        (weak.secret, "MISSING_SCOPE"),
        ("", "UNAUTHENTICATED"),
    ):
        monkeypatch.setenv("FAKESIEVE_API_KEY", key)
        ran = remote.run("usage")
        assert (ran.code, ran.err.split(": ")[1]) == (5, reason)
        assert "\nhint: " in ran.err


def test_an_api_that_does_not_answer_is_an_error_with_a_hint(remote: Remote, monkeypatch) -> None:
    monkeypatch.setenv("FAKESIEVE_API_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("api.calls.sender.random.uniform", lambda *_: 0.0)
    for command in (["jobs", "ls"], ["results", "export"]):
        ran = remote.run(*command)
        assert ran.code == 1
        assert ran.err == (
            "error: API_UNAVAILABLE: http://127.0.0.1:1 cannot be reached: the connection was refused:"
            " [Errno 111] Connection refused\n"
            "hint: start the API at http://127.0.0.1:1 ('fakesieve serve'), or correct FAKESIEVE_API_URL\n"
        )


def test_the_log_of_a_job_reads_the_same_both_ways_but_for_its_hosts(remote: Remote, clip) -> None:
    (job_id,) = submit(remote, clip("cli/logged.mp4"))
    claim_shard(SqlJobStore(remote.database), ShardKey(job_id, 0), "host-a", 60)
    assert remote.run("jobs", "cancel", job_id).code == 0
    lines = remote.run("jobs", "logs", job_id, "--json").lines()
    direct = remote.run_direct("jobs", "logs", job_id, "--json").lines()
    assert [line.pop("owner", None) for line in direct] == [
        "host-a" if line["event"] == "attempt.began" else None for line in lines
    ]
    assert direct == lines
    told = [line["event"] for line in lines if line["event"] != "doorbell.waits"]
    assert told[:3] == ["job.submitted", "job.started", "attempt.began"]
    assert {"job.cancel_asked", "job.cancelled"} <= set(told)
    table = remote.run("jobs", "logs", job_id)
    assert (table.code, "attempt.began" in table.out, "CANCELLED_BY_CALLER" in table.out) == (0, True, True)
    assert remote.run("jobs", "logs", job_id, "--csv").out.startswith("time,event,shard,kind,attempt,host,")


def test_what_is_no_id_is_not_found_either_way(remote: Remote, clip) -> None:
    uri = clip("cli/no-id.mp4")
    for run in (remote.run, remote.run_direct):
        for command in (["watch"], ["jobs", "show"], ["jobs", "cancel"]):
            ran = run(*command, uri)
            assert (ran.code, ran.err.split(": ")[1], uri in ran.err) == (1, "NOT_FOUND", True), command


def test_a_job_tells_the_trace_that_workers_send(remote: Remote, clip) -> None:
    (job_id,) = submit(remote, clip("cli/traced.mp4"))
    wanted = f"{trace_id(job_id):032x}"
    for run in (remote.run, remote.run_direct):
        assert run("jobs", "show", job_id, "--json").lines()[0]["trace_id"] == wanted
        assert f"trace     {wanted}" in run("jobs", "show", job_id).out
    assert remote.caller.get(f"/v1/jobs/{job_id}").json()["trace_id"] == wanted
    assert remote.caller.get(f"/v1/jobs/{job_id}/log").json()["trace_id"] == wanted


def test_a_long_manifest_of_the_store_is_sent_in_parts(remote: Remote, clip, monkeypatch) -> None:
    monkeypatch.setattr("api.routes.batches.LISTED_MAX", 2)
    rows = "".join(f"s3://videos/cli-parts/{number}.mp4\n" for number in range(5))
    uri = clip("cli-parts/list.csv", f"uri\n{rows}".encode())
    would = remote.run("submit", "--manifest", uri, "--dry-run", "--json").lines()
    assert [line["would_submit"] for line in would] == [5]
    lines = remote.run("submit", "--manifest", uri, "--json").lines()
    assert [line["source"] for line in lines] == rows.split()
    assert len({line["batch_id"] for line in lines}) == 3


def test_a_long_manifest_of_the_store_goes_on_where_it_broke_off(remote: Remote, clip, monkeypatch) -> None:
    monkeypatch.setattr("api.routes.batches.LISTED_MAX", 2)
    rows = "".join(f"s3://videos/cli-goes-on/{number}.mp4\n" for number in range(5))
    uri = clip("cli-goes-on/list.csv", f"uri\n{rows}".encode())
    taken = list[str]()

    def send(*more: str) -> Ran:
        return remote.run("submit", "--manifest", uri, "--json", *more)

    def take(store, new, jobs) -> SubmittedBatch:
        if len(taken) == 2:
            raise Unavailable(Reason.DATABASE_UNAVAILABLE, "the database went away")
        taken.append(new.idempotency_key)
        return submit_batch(store, new, jobs)

    with monkeypatch.context() as patch:
        patch.setattr("api.routes.batches.submit_batch", take)
        patch.setattr("time.sleep", lambda _: None)
        patch.setattr("api.calls.sender.random.uniform", lambda *_: 0.0)
        broken = send()
    assert (broken.code, "DATABASE_UNAVAILABLE" in broken.err, len(broken.lines())) == (1, True, 4)
    whole = send().lines()
    assert [line["source"] for line in whole] == rows.split()
    assert [line["job_id"] for line in whole[:4]] == [line["job_id"] for line in broken.lines()]
    assert send().lines() == whole
    assert len(remote.run("jobs", "ls", "--json").lines()) == 5
    again = send("--again").lines()
    assert {line["job_id"] for line in again}.isdisjoint(line["job_id"] for line in whole)
    clip("cli-goes-on/list.csv", f"uri\n{rows}s3://videos/cli-goes-on/5.mp4\n".encode())
    assert len({line["batch_id"] for line in [*whole, *again, *send().lines()]}) == 9


def test_a_manifest_that_is_replaced_between_its_parts_is_told(remote: Remote, clip, monkeypatch) -> None:
    monkeypatch.setattr("api.routes.batches.LISTED_MAX", 2)
    rows = "".join(f"s3://videos/cli-replaced/{number}.mp4\n" for number in range(3))
    uri = clip("cli-replaced/list.csv", f"uri\n{rows}".encode())

    def take(*given) -> SubmittedBatch:
        done = submit_batch(*given)
        clip("cli-replaced/list.csv", f"uri\ns3://videos/cli-replaced/first.mp4\n{rows}".encode())
        return done

    monkeypatch.setattr("api.routes.batches.submit_batch", take)
    ran = remote.run("submit", "--manifest", uri, "--json")
    assert ran.code == 1
    assert "SOURCE_CHANGED" in ran.err
    assert [line["source"] for line in ran.lines()] == rows.split()[:2]
