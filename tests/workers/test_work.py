"""A job from its submission to its end, on one host in this process, over the job store in memory."""

import threading
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest

from engine.errors import MediaRejected
from engine.results import Outcome, RejectReason
from engine.screen import open_tools, scan_video
from fakesieve.errors import Unavailable
from fakesieve.jobs.cancel import cancel_job
from fakesieve.jobs.rows import HostBeat, ShardKey
from fakesieve.jobs.states import JobState, ShardState
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.object_stores.retries import RetryRule
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.tolerance import FLEET_SCORE
from tests.waiting import wait_until
from tests.workers.conftest import BUCKET, draw_face
from workers import shard, work
from workers.leases import HeldClaim
from workers.plan_json import plan_from_json, probe_from_json
from workers.retry import ClaimLost, EngineKilled, HostDraining
from workers.scratch import Scratch
from workers.shard import screen_file
from workers.work import answer_doorbell


def wait(fleet, seconds):
    """Let time pass for a host that goes on beating."""
    fleet.clock.now += seconds
    fleet.store.run(lambda tx: tx.beat_host(HostBeat("hst_test", 2)))


def submit(fleet, path, key="clip.mp4"):
    wait(fleet, 0.0)
    ref = fleet.objects.upload(path, BUCKET, key).ref
    return submit_video(fleet.store, NewJob("ten_1", ref)).job_id


def read(fleet, job_id):
    return fleet.store.run(lambda tx: tx.read_job(job_id))


def read_shard(fleet, job_id, index):
    return fleet.store.run(lambda tx: tx.read_shard(ShardKey(job_id, index)))


@pytest.fixture(scope="module")
def scanned(bundle, settings, screener, face_clip):
    tools = open_tools(bundle, screener.sandbox, engine="onnxruntime", threads=1)
    return scan_video(face_clip, tools, settings)


def test_job_ends_with_the_verdict_of_a_scan(fleet, face_clip, scanned):
    job_id = submit(fleet, face_clip)
    fleet.answer_all()
    job = read(fleet, job_id)
    assert (job.state, job.n_shards, job.n_done) == (JobState.SUCCEEDED, 4, 4)
    (record,) = fleet.store.records
    assert record.fingerprint == scanned.fingerprint
    assert (record.model.name, record.model.engine) == (scanned.model.name, "onnxruntime")
    assert record.verdict == scanned.verdict or record.verdict.score_used == pytest.approx(
        scanned.verdict.score_used, abs=FLEET_SCORE
    )
    assert record.verdict.value is scanned.verdict.value
    assert record.score.outcome is Outcome.SCORED
    assert record.score.raw == pytest.approx(scanned.score.raw, abs=FLEET_SCORE)
    assert record.score.coverage == scanned.score.coverage
    frames = [[frame.score for frame in track.frames] for track in record.score.tracks]
    expected = [[frame.score for frame in track.frames] for track in scanned.score.tracks]
    np.testing.assert_allclose(np.ravel(frames), np.ravel(expected), atol=FLEET_SCORE)
    assert set(record.timings_ms) >= {"decode", "detect", "crop", "predict", "score"}


def test_patch_maps_of_a_job_are_those_of_its_evidence(fleet, face_clip, scanned):
    submit(fleet, face_clip)
    fleet.answer_all()
    (maps,) = fleet.store.records[0].maps
    evidence = scanned.evidence
    assert maps.pts_us == tuple(evidence.pts_us[evidence.is_scored].tolist())
    seen = np.frombuffer(zlib.decompress(maps.packed), np.uint8).astype(int)
    expected = evidence.patches[evidence.is_scored].ravel().astype(int)
    assert np.abs(seen - expected).max() <= 1  # one step of 1/255 where the last bit decides
    np.testing.assert_allclose(np.array(maps.to_frame).ravel(), evidence.to_frame[evidence.is_scored].ravel())


def test_same_bytes_under_another_key_are_not_scored_again(fleet, face_clip):
    first = submit(fleet, face_clip)
    fleet.answer_all()
    second = submit(fleet, face_clip, "copy.mov")
    fleet.answer_all()
    assert read(fleet, second).reused_analysis
    assert read(fleet, second).analysis_id == read(fleet, first).analysis_id
    assert len(fleet.store.records) == 1


def test_file_that_is_no_video_fails_its_job_at_once(fleet, tmp_path):
    text = tmp_path / "notes.mp4"
    text.write_text("no video " * 100)
    job_id = submit(fleet, text)
    fleet.answer_all()
    assert (read(fleet, job_id).state, read(fleet, job_id).reason) == (JobState.FAILED, Reason.NOT_VIDEO)
    assert read_shard(fleet, job_id, 0).attempts == 1


def test_name_of_the_key_counts_as_it_does_for_a_scan(fleet, tmp_path):
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), np.zeros((64, 64, 3), np.uint8))
    job_id = submit(fleet, picture, "picture.mp4")
    fleet.answer_all()
    assert read(fleet, job_id).reason is Reason.UNSUPPORTED_CONTAINER


def test_deleted_object_fails_its_job_after_three_attempts(fleet, face_clip):
    job_id = submit(fleet, face_clip)
    fleet.objects.delete(VideoRef(BUCKET, "clip.mp4"))
    for _ in range(3):
        fleet.answer_all()
        wait(fleet, 60.0)
    assert read(fleet, job_id).reason is Reason.SOURCE_NOT_FOUND
    assert read_shard(fleet, job_id, 0).attempts == 3


def test_object_replaced_after_it_was_prepared_fails_its_job(fleet, face_clip, tmp_path, monkeypatch):
    job_id = submit(fleet, face_clip)
    monkeypatch.setitem(work._DUTIES, work.WorkKind.SCREEN, lambda place, held: None)
    answer_doorbell(fleet.place, ShardKey(job_id, 0))
    monkeypatch.undo()
    fleet.objects.upload(draw_face(tmp_path / "other.mp4", seed=3, frames=40), BUCKET, "clip.mp4")
    fleet.place.scratch._entries.clear()  # as on another host
    fleet.clock.now += 100.0
    answer_doorbell(fleet.place, ShardKey(job_id, 2))
    assert (read(fleet, job_id).state, read(fleet, job_id).reason) == (JobState.FAILED, Reason.SOURCE_CHANGED)


def test_object_that_was_named_by_its_place_is_the_one_that_was_read(fleet, face_clip, tmp_path):
    def submit_place():
        wait(fleet, 0.0)
        return submit_video(fleet.store, NewJob("ten_1", VideoRef(BUCKET, "clip.mp4"))).job_id

    refs, jobs = [], []
    for path in (face_clip, draw_face(tmp_path / "other.mp4", seed=3, frames=40)):
        refs.append(fleet.objects.upload(path, BUCKET, "clip.mp4").ref)
        jobs.append(submit_place())
        fleet.answer_all()
    assert [read(fleet, job_id).state for job_id in jobs] == [JobState.SUCCEEDED] * 2
    assert [read(fleet, job_id).source for job_id in jobs] == refs
    assert set(fleet.store.sources.values()) == {read(fleet, job_id).video_id for job_id in jobs}


def test_video_of_which_nothing_decodes_fails_with_its_reason(fleet, face_clip, monkeypatch):
    def refuse(*args, **options):
        raise MediaRejected(RejectReason.CORRUPT, "no packet decodes", "convert it")

    monkeypatch.setattr(shard, "screen_shard", refuse)
    job_id = submit(fleet, face_clip)
    fleet.answer_all()
    job = read(fleet, job_id)
    assert (job.state, job.reason, job.n_done) == (JobState.FAILED, Reason.CORRUPT, 4)
    told = {"reason": "CORRUPT", "action": "end"}
    assert fleet.place.metrics.registry.get_sample_value("fakesieve_faults_total", told) == 1.0


def test_lost_shard_takes_nothing_from_the_others(fleet, face_clip, monkeypatch):
    screen = shard.screen_shard

    def refuse_second(path, probe, plan, *rest, **options):
        if plan.index == 1:
            raise MediaRejected(RejectReason.CORRUPT, "no packet decodes", "convert it")
        return screen(path, probe, plan, *rest, **options)

    monkeypatch.setattr(shard, "screen_shard", refuse_second)
    submit(fleet, face_clip)
    fleet.answer_all()
    (record,) = fleet.store.records
    assert record.outcome is Outcome.PARTIALLY_SCORED
    assert record.score.coverage.frames_decoded < record.score.coverage.frames_sampled


def test_fault_of_ours_fails_the_job_after_three_attempts(fleet, face_clip, monkeypatch):
    def fail(*args, **options):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(shard, "screen_shard", fail)
    job_id = submit(fleet, face_clip)
    for _ in range(3):
        fleet.answer_all()
        wait(fleet, 60.0)
    assert (read(fleet, job_id).state, read(fleet, job_id).reason) == (JobState.FAILED, Reason.INTERNAL)


def test_draining_host_gives_back_without_costing_an_attempt(fleet, face_clip, monkeypatch):
    screen = shard.screen_shard

    def drain_first(*args, **options):
        fleet.place.leases.stop_all(HostDraining("the host ends"))
        return screen(*args, **options)

    monkeypatch.setattr(shard, "screen_shard", drain_first)
    job_id = submit(fleet, face_clip)
    answer_doorbell(fleet.place, ShardKey(job_id, 0))
    row = read_shard(fleet, job_id, 1)
    assert (row.state, row.attempts, row.is_delayed) == (ShardState.PENDING, 0, False)
    monkeypatch.undo()
    fleet.answer_all()
    assert read(fleet, job_id).state is JobState.SUCCEEDED


def test_draining_host_gives_back_what_waits_for_a_store_that_is_down(fleet, face_clip, tmp_path):
    job_id = submit(fleet, face_clip)
    # Its tries take from one to two minutes: it is at them when it is told to end, and does not end by them.
    patient = RetryRule(first_pause_s=30.0)
    nowhere = S3Objects(S3Options("http://127.0.0.1:9", "key", "secret"), retry=patient)
    with Scratch(tmp_path / "other", nowhere, free_bytes_min=0) as scratch:
        place = replace(fleet.place, scratch=scratch)
        working = threading.Thread(target=answer_doorbell, args=(place, ShardKey(job_id, 0)))
        working.start()
        wait_until(lambda: [held.stage for held in place.leases._held] == ["fetch"])
        place.leases.stop_all(HostDraining("the host ends"))
        working.join(60.0)  # its tries alone would take longer on a fast machine, too
        assert not working.is_alive()
    row = read_shard(fleet, job_id, 0)
    assert (row.state, row.attempts, row.last_reason) == (ShardState.PENDING, 0, Reason.LEASE_LOST)


def test_draining_host_begins_nothing_that_follows(fleet, face_clip):
    job_id = submit(fleet, face_clip)
    fleet.place.draining.set()
    answer_doorbell(fleet.place, ShardKey(job_id, 0))
    assert read_shard(fleet, job_id, 0).state is ShardState.PENDING


def test_cancelled_job_stops_within_one_group_of_frames(fleet, face_clip, monkeypatch):
    done = []

    def on_samples(self, count, total, faces):
        done.append(count)
        cancel_job(fleet.store, job_id)
        fleet.place.leases.extend()
        self.check()

    monkeypatch.setattr(HeldClaim, "on_samples", on_samples)
    job_id = submit(fleet, face_clip)
    answer_doorbell(fleet.place, ShardKey(job_id, 0))
    assert len(done) == 1
    assert read(fleet, job_id).state is JobState.CANCELLED
    assert fleet.store.records == []


def prepare_only(fleet, job_id, monkeypatch):
    """Prepare a job on a host that goes on with nothing of what follows, as if another slot asked for it."""
    with monkeypatch.context() as patched:
        patched.setattr(fleet.place.leases, "begin_asking", lambda key: key.index == 0)
        answer_doorbell(fleet.place, ShardKey(job_id, 0))


def lose_replies(fleet, monkeypatch, count):
    """Have the store commit and say nothing, so many times."""
    run, left = fleet.store.run, [count]

    def run_silently(ask):
        answer = run(ask)
        if left[0]:
            left[0] -= 1
            raise Unavailable(Reason.DATABASE_UNAVAILABLE, "no reply to a commit")
        return answer

    monkeypatch.setattr(fleet.store, "run", run_silently)


@pytest.mark.parametrize("lost", [1, 2])
def test_claim_whose_reply_was_lost_is_looked_up_and_costs_no_attempt(fleet, face_clip, monkeypatch, lost):
    monkeypatch.setattr("workers.leases._PAUSES_S", (0.001,))
    job_id = submit(fleet, face_clip)
    prepare_only(fleet, job_id, monkeypatch)
    lose_replies(fleet, monkeypatch, lost)
    answer_doorbell(fleet.place, ShardKey(job_id, 1))
    row = read_shard(fleet, job_id, 1)
    assert (row.state, row.attempts, row.deliveries) == (ShardState.DONE, 1, 1)


def test_a_job_whose_end_got_no_reply_is_counted_once(fleet, face_clip, monkeypatch):
    monkeypatch.setattr("workers.leases._PAUSES_S", (0.001,))
    run, lost = fleet.store.run, []

    def run_silently(ask):
        answer = run(ask)
        if fleet.store.records and not lost:  # it has just been committed
            lost.append(answer)
            raise Unavailable(Reason.DATABASE_UNAVAILABLE, "no reply to a commit")
        return answer

    monkeypatch.setattr(fleet.store, "run", run_silently)
    job_id = submit(fleet, face_clip)
    fleet.answer_all()
    assert (read(fleet, job_id).state, lost) == (JobState.SUCCEEDED, [True])
    metrics = fleet.place.metrics
    samples = [each for family in metrics.outcomes.collect() for each in family.samples]
    assert sum(each.value for each in samples if each.name.endswith("_total")) == 1.0
    assert metrics.job_inference_seconds._sum.get() > 0.0


def test_claim_of_another_slot_is_not_taken_for_ones_own(fleet, face_clip, monkeypatch):
    job_id = submit(fleet, face_clip)
    claim = work.claim_shard(fleet.store, ShardKey(job_id, 0), "hst_test", 60.0)
    with fleet.place.leases.hold(claim):
        lose_replies(fleet, monkeypatch, 1)
        answer_doorbell(fleet.place, ShardKey(job_id, 0))
    assert read_shard(fleet, job_id, 0).state is ShardState.LEASED  # and nobody has prepared it


def test_crops_that_kill_the_inference_process_fail_their_job(fleet, face_clip, monkeypatch):
    def kill(*args, **options):
        raise EngineKilled("8 crops, alone in their batch, ended the inference process: signal 11")

    monkeypatch.setattr(shard, "screen_shard", kill)
    job_id = submit(fleet, face_clip)
    for _ in range(3):
        fleet.answer_all()
        wait(fleet, 60.0)
    assert (read(fleet, job_id).state, read(fleet, job_id).reason) == (JobState.FAILED, Reason.INTERNAL)


def test_writing_ends_with_the_host(fleet, monkeypatch):
    monkeypatch.setattr("workers.leases._PAUSES_S", (0.01,))
    fleet.place.draining.begin(0.0)

    def fail():
        raise Unavailable(Reason.DATABASE_UNAVAILABLE, "away")

    with pytest.raises(Unavailable):
        fleet.place.keep_trying(fail)


def test_shard_whose_lease_was_lost_writes_nothing(fleet, face_clip, monkeypatch):
    job_id = submit(fleet, face_clip)
    prepare_only(fleet, job_id, monkeypatch)
    screen = shard.screen_shard

    def lose(*args, **options):
        evidence = screen(*args, **options)
        fleet.clock.now += 61.0  # the lease is over and another host claims
        work.claim_shard(fleet.store, ShardKey(job_id, 1), "hst_other", 60.0)
        return evidence

    monkeypatch.setattr(shard, "screen_shard", lose)
    answer_doorbell(fleet.place, ShardKey(job_id, 1))
    assert read(fleet, job_id).n_done == 0
    row = read_shard(fleet, job_id, 1)
    assert (row.state, row.fence) == (ShardState.LEASED, 2)


def test_doubled_doorbell_is_refused(fleet, face_clip):
    job_id = submit(fleet, face_clip)
    fleet.answer_all()
    answer_doorbell(fleet.place, ShardKey(job_id, 1))
    assert len(fleet.store.records) == 1
    assert fleet.place.metrics.refusals.labels("done")._value.get() >= 1


def test_screening_stops_when_it_is_told_to(fleet, face_clip, monkeypatch):
    job_id = submit(fleet, face_clip)
    prepare_only(fleet, job_id, monkeypatch)
    claim = work.claim_shard(fleet.store, ShardKey(job_id, 1), "hst_test", 60.0)
    held = HeldClaim(claim, 60.0)
    held.stop(ClaimLost("taken over"))
    probe, plan = probe_from_json(claim.media), plan_from_json(claim.plan)
    with fleet.place.screener.process.lend(claim.lane, 1.0) as backend, pytest.raises(ClaimLost):
        screen_file(fleet.place, held, face_clip, probe, plan, backend)
