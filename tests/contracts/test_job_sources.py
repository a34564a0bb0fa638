"""Which bytes a job is about, and where videos were seen, when its submission named a place alone."""

from dataclasses import replace

from fakesieve.jobs.cancel import cancel_job, retry_job
from fakesieve.jobs.claim import Taker
from fakesieve.jobs.fan_out import WAIT_FIRST_S, FanOut, Prepared, fan_out
from fakesieve.jobs.rows import Claim
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from tests.job_cases import LEASE_S, MEDIA, JobCase, make_sha

PLACE = VideoRef("videos", "clip.mp4")
READ = replace(PLACE, version_id="v1", etag="e1", size_bytes=1000)
REPLACED = replace(PLACE, version_id="v2", etag="e2", size_bytes=2000)


def submit(case: JobCase, source: VideoRef = PLACE) -> str:
    return submit_video(case.store, NewJob(case.tenants[0], source)).job_id


def test_a_job_of_a_place_is_about_what_was_read_there_once_it_is_prepared(case: JobCase) -> None:
    job_id = submit(case)
    assert case.prepare(job_id, source=READ) is FanOut.FANNED
    assert case.read_job(job_id).source == READ
    assert case.claim(job_id, 1).source == READ


def test_the_shard_that_is_taken_with_the_preparing_reads_the_same_bytes(case: JobCase) -> None:
    claim = case.claim(submit(case))
    assert isinstance(claim, Claim)
    prepared = Prepared(make_sha("x"), 1000, MEDIA, "fp1", ({},), source=READ)
    following = fan_out(case.store, claim, prepared, taker=Taker("host-1", LEASE_S)).following
    assert following is not None
    assert following.source == READ


def test_a_job_that_names_its_bytes_keeps_the_name(case: JobCase) -> None:
    named = replace(PLACE, etag="e1")
    job_id = submit(case, named)
    case.prepare(job_id, source=READ)
    assert case.read_job(job_id).source == named


def test_an_object_that_is_replaced_leaves_the_first_video_its_place(case: JobCase) -> None:
    jobs = []
    for read, content in ((READ, "first"), (REPLACED, "second")):
        jobs.append(submit(case))
        assert case.prepare(jobs[-1], content=content, source=read) is FanOut.FANNED
    first, second = (case.read_job(job_id).video_id for job_id in jobs)
    assert first != second
    assert case.list_places(first) == [("clip.mp4", "e1")]
    assert case.list_places(second) == [("clip.mp4", "e2")]


def test_the_same_bytes_under_two_keys_are_one_video_in_two_places(case: JobCase) -> None:
    case.prepare(first := submit(case), content="same", source=READ)
    case.screen(first, 1)
    assert case.score(first)
    copy = VideoRef("videos", "copy.mp4")
    second = submit(case, copy)
    read = replace(copy, etag="e1", size_bytes=1000)
    assert case.prepare(second, content="same", source=read) is FanOut.REUSED
    assert case.read_job(second).source == read
    assert case.list_places(case.read_job(first).video_id) == [("clip.mp4", "e1"), ("copy.mp4", "e1")]


def test_a_job_that_waits_for_its_twin_stays_with_the_bytes_that_it_read(case: JobCase) -> None:
    case.prepare(submit(case, VideoRef("videos", "twin.mp4", etag="t")), content="same")
    job_id = submit(case)
    assert case.prepare(job_id, content="same", source=READ) is FanOut.WAITING
    case.pass_time(WAIT_FIRST_S + 1)
    assert case.claim(job_id).source == READ


def test_a_stale_preparer_pins_nothing(case: JobCase) -> None:
    stale = case.claim(job_id := submit(case))
    case.pass_time(LEASE_S + 1)
    case.claim(job_id, owner="host-2")
    prepared = Prepared(make_sha("x"), 1000, MEDIA, "fp1", ({},), source=READ)
    assert fan_out(case.store, stale, prepared).outcome is FanOut.STALE
    assert case.read_job(job_id).source == PLACE


def test_a_retried_job_is_about_the_bytes_that_it_was_about(case: JobCase) -> None:
    case.prepare(job_id := submit(case), source=READ)
    assert cancel_job(case.store, job_id)
    assert retry_job(case.store, job_id)
    assert case.claim(job_id).source == READ
