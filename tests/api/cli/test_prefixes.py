"""All objects under a prefix, submitted over the API and with the database at hand alike."""

from tests.api.cli.conftest import Remote


def test_a_prefix_is_one_batch_and_may_be_counted_first(remote: Remote, clip) -> None:
    for name in ("a", "b"):
        clip(f"cli-prefix/{name}.mp4")
    would = remote.run("submit", "s3://videos/cli-prefix/", "--dry-run", "--json").lines()
    assert would == [{"input": "s3://videos/cli-prefix/", "would_submit": 2, "size_bytes": 36}]
    assert remote.run_direct("submit", "s3://videos/cli-prefix/", "--dry-run", "--json").lines() == would
    assert remote.run("jobs", "ls", "--json").out == ""
    lines = remote.run("submit", "s3://videos/cli-prefix/", "--json").lines()
    assert [line["input"] for line in lines] == [f"s3://videos/cli-prefix/{name}.mp4" for name in ("a", "b")]
    assert len({line["batch_id"] for line in lines}) == 1


def test_the_batch_of_a_prefix_is_named_beside_its_jobs_either_way(remote: Remote, clip) -> None:
    for name in ("a", "b"):
        clip(f"cli-named/{name}.mp4")
    for run in (remote.run, remote.run_direct):
        ran = run("submit", "s3://videos/cli-named/")
        word, batch = ran.err.split()
        jobs = remote.run("jobs", "ls", "--batch", batch, "--json").lines()
        assert (word, ran.out.split()) == ("batch", [job["id"] for job in reversed(jobs)])


def test_a_prefix_passes_over_what_tenants_keep_in_the_bucket_either_way(remote: Remote, clip) -> None:
    for folder in (
        f"uploads/{remote.caller.tenant_id}/",
        f"exports/{remote.caller.tenant_id}/",
        "uploads/ten_z/",
    ):
        clip(f"{folder}walked")
        for run in (remote.run, remote.run_direct):
            ran = run("submit", f"s3://videos/{folder}")
            assert (ran.code, ran.out) == (4, "")
            assert "uploads and exports in the fleet's bucket are passed over" in ran.err
    assert remote.run("jobs", "ls", "--json").out == ""


def test_a_prefix_without_an_object_matches_nothing_either_way(remote: Remote) -> None:
    for run in (remote.run, remote.run_direct):
        ran = run("submit", "s3://videos/nothing-here/")
        assert ran.code == 4
        assert ran.err.startswith("error: SOURCE_NOT_FOUND: no object lies under s3://videos/nothing-here/")
        assert "\nhint: " in ran.err
