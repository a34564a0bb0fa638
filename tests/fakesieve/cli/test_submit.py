import hashlib
import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from fakesieve.errors import SourceRefused
from fakesieve.jobs.states import JobState, Lane
from fakesieve.object_stores.folder import FolderObjects
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.jobs import Outbox
from fakesieve.values.videos import SourceKind
from tests.fakesieve.cli.conftest import Fleet


def read_source(fleet: Fleet, job_id: str) -> VideoRef:
    """The object that a job is about, pinned."""
    job = fleet.read_job(job_id)
    return VideoRef(job.source_bucket, job.source_key, None, job.source_etag, job.source_size_bytes)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "my clip.mp4"
    path.write_bytes(b"not looked at here")
    return path


def test_a_local_file_is_uploaded_and_becomes_a_job(fleet: Fleet, clip: Path) -> None:
    ran = fleet.run("submit", str(clip), "--json", "--lane", "interactive")
    assert (ran.code, ran.err) == (0, "")
    (line,) = [json.loads(text) for text in ran.out.splitlines()]
    assert (line["input"], line["is_new"], line["batch_id"]) == (str(clip), True, None)
    job = fleet.read_job(line["job_id"])
    assert (job.state, job.lane, job.source_kind) == (JobState.QUEUED, Lane.INTERACTIVE, SourceKind.UPLOAD)
    digest = hashlib.sha256(clip.read_bytes()).hexdigest()
    assert job.source_key == f"uploads/{fleet.tenant_id}/{digest[:32]}/my clip.mp4"
    assert job.source_size_bytes == len(clip.read_bytes())
    with fleet.database.transaction(tenant_id=fleet.tenant_id) as session:
        assert [row.job_id for row in session.query(Outbox)] == [job.id]


def test_people_get_a_line_with_the_job_id(fleet: Fleet, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    ran = fleet.run("submit", str(clip))
    job_id, name = ran.out.split("  ", 1)
    assert fleet.read_job(job_id).state is JobState.QUEUED
    assert name == f"{clip}\n"


def test_another_command_gets_the_job_ids_alone(fleet: Fleet, clip: Path) -> None:
    ran = fleet.run("submit", str(clip))
    assert (ran.out.split(), ran.err) == ([fleet.read_job(ran.out.strip()).id], "")
    assert fleet.run("jobs", "cancel", *ran.out.split()).code == 0
    assert fleet.run("watch", *ran.out.split()).out.startswith(f"{ran.out.strip()}  cancelled")


def test_a_file_that_is_missing_stops_before_anything_is_submitted(fleet: Fleet, clip: Path) -> None:
    ran = fleet.run("submit", str(clip), "nowhere.mp4")
    assert ran.code == 1
    assert ran.err == (
        "error: SOURCE_NOT_FOUND: nowhere.mp4 is no file\nhint: check the path; objects begin with s3://\n"
    )
    assert fleet.run("jobs", "ls", "--json").out == ""


def test_a_file_that_is_submitted_again_takes_nothing_from_the_first_job(
    fleet: Fleet, clip: Path, tmp_path: Path
) -> None:
    first, second = (json.loads(fleet.run("submit", str(clip), "--json").out) for _ in range(2))
    refs = [read_source(fleet, line["job_id"]) for line in (first, second)]
    assert first["job_id"] != second["job_id"]
    assert refs[0] == refs[1]
    fetched = FolderObjects(fleet.objects).download(refs[0], tmp_path / "fetched.mp4")
    assert fetched.path.read_bytes() == clip.read_bytes()


def test_other_bytes_under_the_key_of_a_file_are_replaced(fleet: Fleet, clip: Path) -> None:
    first = json.loads(fleet.run("submit", str(clip), "--json").out)
    fleet.put_object(read_source(fleet, first["job_id"]).key, b"n" * len(clip.read_bytes()))
    again = json.loads(fleet.run("submit", str(clip), "--json").out)
    ref = read_source(fleet, again["job_id"])
    assert FolderObjects(fleet.objects).read_range(ref, 0, 1000) == clip.read_bytes()


def test_an_object_is_submitted_where_it_lies(fleet: Fleet) -> None:
    FolderObjects(fleet.objects).make_bucket("elsewhere")
    (fleet.objects / "elsewhere" / "a b.mp4").write_bytes(b"seven b")
    ran = fleet.run("submit", "s3://elsewhere/a b.mp4", "--json")
    job = fleet.read_job(json.loads(ran.out)["job_id"])
    assert (job.source_bucket, job.source_key, job.source_version_id) == ("elsewhere", "a b.mp4", None)
    assert (job.source_kind, job.source_size_bytes) == (SourceKind.API, 7)


def test_a_job_of_an_object_is_about_the_bytes_that_lay_there(fleet: Fleet, tmp_path: Path) -> None:
    jobs = []
    for content in (b"first", b"second"):
        fleet.put_object("a.mp4", content)
        jobs.append(json.loads(fleet.run("submit", "s3://videos/a.mp4", "--json").out)["job_id"])
    first, second = (read_source(fleet, job_id) for job_id in jobs)
    objects = FolderObjects(fleet.objects)
    with pytest.raises(SourceRefused) as caught:
        objects.download(first, tmp_path / "first.mp4")
    assert caught.value.reason is Reason.SOURCE_CHANGED
    assert objects.read_range(second, 0, 100) == b"second"


def test_an_object_that_is_not_there_becomes_no_job(fleet: Fleet) -> None:
    ran = fleet.run("submit", "s3://videos/nowhere.mp4")
    assert (ran.code, "SOURCE_NOT_FOUND: s3://videos/nowhere.mp4" in ran.err) == (1, True)
    assert fleet.run("jobs", "ls", "--json").out == ""


def test_a_manifest_is_one_batch_and_is_not_submitted_twice(fleet: Fleet, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("uri,external_id\ns3://videos/a.mp4,first\ns3://videos/b.mp4,second\n")
    first = [
        json.loads(x) for x in fleet.run("submit", "--manifest", str(manifest), "--json").out.splitlines()
    ]
    again = [
        json.loads(x) for x in fleet.run("submit", "--manifest", str(manifest), "--json").out.splitlines()
    ]
    assert [line["input"] for line in first] == ["s3://videos/a.mp4", "s3://videos/b.mp4"]
    assert {line["batch_id"] for line in first + again} == {first[0]["batch_id"]}
    assert [line["job_id"] for line in again] == [line["job_id"] for line in first]
    assert [line["is_new"] for line in first + again] == [True, True, False, False]
    jobs = [fleet.read_job(line["job_id"]) for line in first]
    assert [(job.external_id, job.lane) for job in jobs] == [("first", Lane.BULK), ("second", Lane.BULK)]


def test_a_manifest_whose_batch_ended_too_early_becomes_another_batch(fleet: Fleet, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("uri\ns3://videos/a.mp4\ns3://videos/b.mp4\n")

    def submit() -> tuple[str, list[bool]]:
        ran = fleet.run("submit", "--manifest", str(manifest), "--json")
        lines = [json.loads(line) for line in ran.out.splitlines()]
        return lines[0]["batch_id"], [line["is_new"] for line in lines]

    first, _ = submit()
    with fleet.database.transaction(tenant_id=None) as session:
        session.execute(text("DELETE FROM job WHERE source_key = 'b.mp4'"))  # as if it had never come
        session.execute(text("UPDATE batch SET state = 'failed', end_time = now()"))
    second, are_new = submit()
    assert (second != first, are_new) == (True, [True, True])
    assert submit() == (second, [False, False])


def test_a_manifest_is_submitted_once_more_when_told_so(fleet: Fleet, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("uri\ns3://videos/a.mp4\n")
    ran = [
        fleet.run("submit", "--manifest", str(manifest), "--json", *more) for more in ((), ("--again",), ())
    ]
    first, again, third = [json.loads(each.out) for each in ran]
    assert again["is_new"] is True
    assert (again["batch_id"] != first["batch_id"], again["job_id"] != first["job_id"]) == (True, True)
    assert (third["batch_id"], third["is_new"]) == (first["batch_id"], False)


def test_again_goes_with_a_manifest(fleet: Fleet) -> None:
    ran = fleet.run("submit", "s3://videos/a.mp4", "--again")
    assert ran.code == 2
    assert "--again goes with --manifest" in ran.err


def test_a_deadline_holds_for_every_job_of_a_manifest(fleet: Fleet, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("uri\ns3://videos/a.mp4\n")
    ran = fleet.run("submit", "--manifest", str(manifest), "--deadline-h", "2", "--json")
    job = fleet.read_job(json.loads(ran.out)["job_id"])
    assert job.deadline - job.create_time == timedelta(hours=2)


def test_a_manifest_with_another_deadline_is_another_batch(fleet: Fleet, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("uri\ns3://videos/a.mp4\n")

    def submit(hours: str) -> dict[str, object]:
        return json.loads(
            fleet.run("submit", "--manifest", str(manifest), "--deadline-h", hours, "--json").out
        )

    long, short, again = submit("24"), submit("1"), submit("1")
    assert (short["is_new"], short["batch_id"] != long["batch_id"]) == (True, True)
    assert (again["is_new"], again["job_id"]) == (False, short["job_id"])
    job = fleet.read_job(str(short["job_id"]))
    assert job.deadline - job.create_time == timedelta(hours=1)


def test_a_bad_manifest_names_its_line(fleet: Fleet, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("uri\nhttp://videos/a.mp4\n")
    ran = fleet.run("submit", "--manifest", str(manifest))
    assert ran.code == 1
    assert ran.err.startswith("error: INVALID_MANIFEST: list.csv: line 2")


def test_a_prefix_is_one_batch_of_what_lies_there(fleet: Fleet, clip: Path) -> None:
    for name in ("day-1/a.mp4", "uploads/ten_other/x.mp4", "exports/ten_other/y.csv", ".fakesieve/mark.json"):
        place = fleet.objects / "videos" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(name)
    fleet.run("submit", str(clip))  # an upload, which has a job of its own
    ran = fleet.run("submit", "s3://videos/", "--json")
    (line,) = [json.loads(text) for text in ran.out.splitlines()]
    assert line["input"] == "s3://videos/day-1/a.mp4"
    assert line["batch_id"].startswith("bat_")
    assert fleet.read_job(line["job_id"]).lane is Lane.BULK
    empty = fleet.run("submit", "s3://videos/nothing/")
    assert (empty.code, "no object lies under s3://videos/nothing/" in empty.err) == (4, True)


def test_nothing_to_submit_is_a_wrong_call(fleet: Fleet) -> None:
    assert fleet.run("submit").code == 2


def test_a_wrong_key_is_refused(fleet: Fleet, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKESIEVE_API_KEY", "fsk_" + "0" * 64)
    ran = fleet.run("submit", str(clip))
    assert ran.code == 5
    assert "FAKESIEVE_API_KEY is unknown, revoked or expired" in ran.err


@pytest.mark.parametrize("command", ["submit", "watch job_a", "jobs ls", "results ls", "results export"])
def test_without_an_environment_both_ways_to_a_fleet_are_named(
    fleet: Fleet, clip: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("FAKESIEVE_DATABASE_URL")
    monkeypatch.delenv("FAKESIEVE_API_URL", raising=False)
    ran = fleet.run(*command.split(), *([str(clip)] if command == "submit" else []))
    assert ran.code == 1
    assert "FAKESIEVE_DATABASE_URL is not set, nor is FAKESIEVE_API_URL" in ran.err
    assert "hint: load the settings of a fleet: . DIR/env" in ran.err
    assert (
        "or, with the address of an API and a key of it, set FAKESIEVE_API_URL and FAKESIEVE_API_KEY"
        in ran.err
    )


def test_a_database_that_does_not_answer_is_told_in_its_drivers_words(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESIEVE_DATABASE_URL", "postgresql://somebody:hush@127.0.0.1:1/nothing")
    ran = fleet.run("jobs", "ls")
    assert ran.code == 1
    assert "error: DATABASE_UNAVAILABLE: OperationalError: " in ran.err
    assert "Connection refused" in ran.err
    assert "hush" not in ran.err


def test_the_variables_that_are_missing_beside_it_are_named(
    fleet: Fleet, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAKESIEVE_BUCKET")
    ran = fleet.run("submit", str(clip))
    assert (ran.code, "FAKESIEVE_BUCKET is not set" in ran.err) == (1, True)
