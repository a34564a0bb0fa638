"""Results over the API, beside those over the database: the same documents, maps and files."""

import json

import pytest

from fakesieve.result_files import COLUMNS, WORD
from tests.api.callers import make_caller
from tests.api.cli.conftest import Remote
from tests.api.cli.test_jobs import finish, submit
from tests.api.results import store_results
from tests.api.test_caller_filters import decide_first


@pytest.fixture
def done(remote: Remote, clip) -> tuple[str, str]:
    """Ids of a job that has ended and of its analysis."""
    (job,) = submit(remote, clip("cli/result.mp4"))
    return job, finish(remote, job)


def test_a_list_by_filter_is_the_same_either_way(remote: Remote) -> None:
    store_results(remote.database, remote.tenant_id)
    decided = decide_first(remote.caller)
    for form in ("--json", "--csv"):
        command = ["results", "ls", "--filter", "score > 0", "--order-by", "score desc", form]
        assert remote.run(*command).out == remote.run_direct(*command).out
    command = ["results", "ls", "--filter", "disposition = confirmed_manipulated"]
    assert [(each["id"], each["disposition"]) for each in remote.run(*command, "--json").lines()] == [
        (decided, "confirmed_manipulated")
    ]
    for run in (remote.run, remote.run_direct):
        table = run(*command).out
        assert "people say" in table
        assert "confirmed_manipulated" in table
    assert "people    say confirmed_manipulated" in remote.run("results", "show", decided).out
    table = remote.run("results", "ls", "--verdict", "inconclusive").out
    assert ("high" in table, "none" in table) == (True, False)
    assert len(remote.run("results", "ls", "--limit", "1", "--json").lines()) == 1


def test_a_key_that_may_not_read_what_people_say_lists_no_such_column(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_results(remote.database, remote.tenant_id)
    decided = decide_first(remote.caller)
    reading = frozenset({"results:read"})
    weak = make_caller(remote.caller.client, remote.database, tenant_id=remote.tenant_id, scopes=reading)
    monkeypatch.setenv("FAKESIEVE_API_KEY", weak.secret)
    assert remote.run("results", "ls", "--csv").out.splitlines()[0].split(",") == [*COLUMNS]
    assert [set(line) for line in remote.run("results", "ls", "--json").lines()] == [{*COLUMNS}] * 3
    told = remote.run("results", "ls").out + remote.run("results", "show", decided).out
    assert decided in told
    assert "people say" not in " ".join(told.split())


def test_a_list_without_lines_has_the_columns_that_its_key_may_read(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["results", "ls", "--filter", "score < 0", "--csv"]
    for run in (remote.run, remote.run_direct):
        assert run(*command).out.split() == [",".join([*COLUMNS, WORD])]
    scopes = frozenset({"results:read"})
    weak = make_caller(remote.caller.client, remote.database, tenant_id=remote.tenant_id, scopes=scopes)
    monkeypatch.setenv("FAKESIEVE_API_KEY", weak.secret)
    assert remote.run(*command).out.split() == [",".join(COLUMNS)]


def test_a_document_is_the_same_either_way(remote: Remote, done: tuple[str, str]) -> None:
    for name in done:
        ran = remote.run("results", "show", name, "--json", "--patches")
        assert ran.code == 0, ran.err
        assert ran.lines() == remote.run_direct("results", "show", name, "--json", "--patches").lines()
    (document,) = ran.lines()
    assert document["job"]["id"] == done[0]
    assert document["tracks"][0]["frames"][0]["patch_map"]["grid"] > 0


def test_a_result_is_told_to_people(remote: Remote, done: tuple[str, str]) -> None:
    job, analysis = done
    said = remote.run("results", "show", job).out
    assert f"  analysis  {analysis}\n  verdict   inconclusive  0.45 (0.23–0.90)\n" in said
    assert remote.run_direct("results", "show", job).out == said


def test_a_job_without_a_result_says_why(remote: Remote, clip) -> None:
    (job,) = submit(remote, clip("cli/cancelled.mp4"))
    going = remote.run("results", "show", job)
    assert (going.code, f"wait for it: fakesieve watch {job}" in going.err) == (1, True)
    remote.run("jobs", "cancel", job)
    ran = remote.run("results", "show", job)
    assert (ran.code, "CANCELLED_BY_CALLER" in ran.out) == (3, True)
    (document,) = remote.run("results", "show", job, "--json").lines()
    assert (document["outcome"], document["error"]["reason"]) == ("unscorable", "CANCELLED_BY_CALLER")
    none = remote.run("results", "tracks", job)
    assert (none.code, "has no analysis" in none.err) == (1, True)


def test_faces_and_maps_are_the_same_either_way(remote: Remote, done: tuple[str, str], tmp_path) -> None:
    job, _ = done
    assert remote.run("results", "tracks", job, "--json").lines() == (
        remote.run_direct("results", "tracks", job, "--json").lines()
    )
    assert remote.run("results", "tracks", job).code == 0
    for options in (["--format", "u8"], ["--format", "npy"], ["--png"], ["--format", "u8", "--at", "1.2"]):
        wrote = []
        for run in (remote.run, remote.run_direct):
            path = tmp_path / "maps"
            assert run("results", "map", job, *options, "--out", str(path)).code == 0
            wrote.append(path.read_bytes())
        assert wrote[0] == wrote[1], options
    ran = remote.run("results", "map", job, "--track", "9")
    assert (ran.code, "faces with maps: 0" in ran.err) == (1, True)


def test_files_of_analyses_are_the_same_either_way(remote: Remote, tmp_path) -> None:
    store_results(remote.database, remote.tenant_id)
    for form in ("csv", "jsonl"):
        command = ["results", "export", "--format", form, "--filter", "score > 0"]
        assert remote.run(*command).out == remote.run_direct(*command).out
    assert remote.run("results", "export").out.splitlines()[0].split(",") == [*COLUMNS, WORD]
    path = tmp_path / "found.parquet"
    assert remote.run("results", "export", "--format", "parquet", "--out", str(path)).code == 0
    assert path.read_bytes()[:4] == b"PAR1"
    kept = json.loads(remote.run("results", "export", "--store").out)
    assert (kept["rows"], kept["uri"].startswith("s3://videos/exports/")) == (3, True)


def test_a_filter_that_cannot_be_read_names_the_place(remote: Remote) -> None:
    ran = remote.run("results", "ls", "--filter", "scor > 1")
    assert (ran.code, ran.err.startswith("error: INVALID_FILTER")) == (1, True)


def test_a_file_in_the_object_store_is_refused_and_says_what_writes_there(remote: Remote) -> None:
    for run in (remote.run, remote.run_direct):
        ran = run("results", "export", "--out", "s3://videos/found.csv")
        assert ran.code == 2
        assert "fakesieve results export --store" in " ".join(ran.err.replace("│", " ").split())
