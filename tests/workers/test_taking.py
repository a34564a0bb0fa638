"""What a slot goes on with at once: the first shard of what it prepared, and the score of an only shard."""

import pytest

from engine.errors import MediaRejected
from engine.results import Outcome, RejectReason
from fakesieve.jobs.fan_out import WAIT_FIRST_S
from fakesieve.jobs.rows import ShardKey
from fakesieve.jobs.states import JobState, ShardState
from fakesieve.reasons import Reason
from tests.workers.conftest import draw_face
from tests.workers.test_work import lose_replies, prepare_only, read, read_shard, submit, wait
from workers import prepare, shard
from workers.work import answer_doorbell


def test_job_of_one_shard_ends_where_it_was_screened(fleet, tmp_path, monkeypatch):
    job_id = submit(fleet, draw_face(tmp_path / "short.mp4", frames=20))
    answer_doorbell(fleet.place, ShardKey(job_id, 0))
    job = read(fleet, job_id)
    assert (job.state, job.n_shards, job.n_done) == (JobState.SUCCEEDED, 1, 1)
    assert [read_shard(fleet, job_id, n) is None for n in (1, 2)] == [False, True]
    (record,) = fleet.store.records
    assert record.score.outcome is Outcome.SCORED
    assert record.timings_ms["decode"] > 0


def test_only_shard_of_which_nothing_decodes_fails_its_job(fleet, tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise MediaRejected(RejectReason.CORRUPT, "no packet decodes", "convert it")

    monkeypatch.setattr(shard, "screen_shard", refuse)
    job_id = submit(fleet, draw_face(tmp_path / "short.mp4", frames=20))
    fleet.answer_all()
    assert (read(fleet, job_id).state, read(fleet, job_id).reason) == (JobState.FAILED, Reason.CORRUPT)
    assert read_shard(fleet, job_id, 1).state is ShardState.FAILED


def test_first_shard_of_a_draining_host_is_given_back(fleet, face_clip, monkeypatch):
    fan_out = prepare.fan_out

    def drain_then(*args):
        fanned = fan_out(*args)
        fleet.place.draining.set()
        return fanned

    monkeypatch.setattr(prepare, "fan_out", drain_then)
    job_id = submit(fleet, face_clip)
    answer_doorbell(fleet.place, ShardKey(job_id, 0))
    row = read_shard(fleet, job_id, 1)
    assert (row.state, row.attempts, row.deliveries) == (ShardState.PENDING, 0, 1)
    assert ShardKey(job_id, 1) in fleet.store.outbox


@pytest.mark.parametrize("lost", [1, 2])
def test_first_shard_is_begun_though_the_reply_to_the_fan_out_was_lost(fleet, face_clip, monkeypatch, lost):
    monkeypatch.setattr("workers.leases._PAUSES_S", (0.001,))
    job_id = submit(fleet, face_clip)
    fan_out, done = prepare.fan_out, []

    def lose_then(*args):
        if not done:
            done.append(True)
            lose_replies(fleet, monkeypatch, lost)
        return fan_out(*args)

    monkeypatch.setattr(prepare, "fan_out", lose_then)
    answer_doorbell(fleet.place, ShardKey(job_id, 0))
    row = read_shard(fleet, job_id, 1)
    assert (row.state, row.attempts, row.deliveries) == (ShardState.DONE, 1, 1)


def test_object_is_not_fetched_again_while_the_same_bytes_are_screened(fleet, face_clip, monkeypatch):
    first, second = submit(fleet, face_clip), submit(fleet, face_clip, "copy.mp4")
    prepare_only(fleet, first, monkeypatch)
    answer_doorbell(fleet.place, ShardKey(second, 0))
    assert read_shard(fleet, second, 0).last_reason is Reason.REQUEST_IN_PROGRESS
    monkeypatch.setattr(type(fleet.place.scratch), "hold", None)
    wait(fleet, WAIT_FIRST_S + 1)
    answer_doorbell(fleet.place, ShardKey(second, 0))
    row = read_shard(fleet, second, 0)
    assert (row.state, row.attempts, row.deliveries) == (ShardState.PENDING, 0, 2)
    assert read(fleet, second).n_shards == 0
