import os

import pytest

from engine.errors import BackendFailed
from engine.results import RejectReason
from fakesieve.errors import Unavailable
from fakesieve.jobs.cancel import cancel_job
from fakesieve.jobs.claim import claim_shard
from fakesieve.jobs.reconcile import reconcile
from fakesieve.jobs.rows import ShardKey
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.workers.conftest import BUCKET
from workers.app import make_app
from workers.host import HostRules, WorkerHost, read_rss_bytes
from workers.inference import InferenceHealth
from workers.leases import HeldClaim
from workers.opening import bury_hosts
from workers.retry import ClaimLost

APP = make_app("redis://127.0.0.1:1/0")


def make_host(fleet, **rules):
    return WorkerHost(fleet.place, APP, HostRules(slots=2, **rules), version="test")


def test_heartbeat_registers_the_live_slots(fleet):
    make_host(fleet)._beat()
    beat, _ = fleet.store.hosts["hst_test"]
    assert (beat.slots, beat.is_draining, beat.version) == (2, False, "test")
    assert beat.rss_bytes > read_rss_bytes(os.getpid()) > 10 << 20  # host and inference process
    assert fleet.store.run(lambda tx: tx.count_slots(60.0)) == 2


def test_draining_host_offers_no_slots_and_answers_no_doorbell(fleet):
    host = make_host(fleet)
    host.drain("a test")
    host._beat()
    assert fleet.store.run(lambda tx: tx.count_slots(60.0)) == 0
    assert not host._answer(ShardKey("job_1", 0))


def test_host_without_room_on_its_disk_leaves_work_to_others(fleet, monkeypatch):
    monkeypatch.setattr("workers.host._NO_SPACE_PAUSE_S", 0.0)
    monkeypatch.setattr(fleet.place.scratch, "_free_bytes_min", 1 << 60)
    assert not make_host(fleet)._answer(ShardKey("job_1", 0))


def test_missed_beat_is_no_reason_to_end(fleet, monkeypatch):
    def fail(work):
        raise Unavailable(Reason.DATABASE_UNAVAILABLE, "away")

    monkeypatch.setattr(fleet.store, "run", fail)
    make_host(fleet)._beat()
    assert not fleet.place.draining.is_set()


def test_a_lost_lease_is_counted_though_the_beat_goes_wrong_after_it(fleet, monkeypatch):
    job = submit_video(fleet.store, NewJob("ten_1", VideoRef("videos", "a.mp4")))
    claim = claim_shard(fleet.store, ShardKey(job.job_id, 0), "hst_test", 60.0)
    host = make_host(fleet)

    def fail(beat):
        raise Unavailable(Reason.DATABASE_UNAVAILABLE, "away")

    monkeypatch.setattr(fleet.store.tx, "beat_host", fail)
    with fleet.place.leases.hold(claim):
        fleet.clock.now += 61.0
        claim_shard(fleet.store, claim.key, "hst_other", 60.0)
        for _ in range(2):
            host._beat()
    assert fleet.place.metrics.registry.get_sample_value("fakesieve_leases_lost_total") == 1.0


def test_work_of_a_cancelled_job_is_told_between_two_beats_however_young_it_is(fleet):
    job = submit_video(fleet.store, NewJob("ten_1", VideoRef("videos", "a.mp4")))
    claim = claim_shard(fleet.store, ShardKey(job.job_id, 0), "hst_test", 60.0)
    host = make_host(fleet)
    with fleet.place.leases.hold(claim) as held:
        host._watch_ends()
        held.check()
        cancel_job(fleet.store, job.job_id)
        host._watch_ends()
        with pytest.raises(ClaimLost):
            held.check()


def test_a_look_that_fails_ends_no_work(fleet, monkeypatch):
    def fail():
        raise Unavailable(Reason.DATABASE_UNAVAILABLE, "away")

    monkeypatch.setattr(fleet.place.leases, "drop_ended", fail)
    make_host(fleet)._watch_ends()


@pytest.mark.parametrize(
    ("rules", "reason"), [({"jobs_max": 1}, "1 pieces"), ({"memory_bytes_max": 1}, "memory")]
)
def test_host_ends_after_so_many_shards_or_beyond_so_much_memory(fleet, monkeypatch, rules, reason):
    host, stopped = make_host(fleet, **rules), []
    monkeypatch.setattr(host, "_stop_consuming", lambda: stopped.append(True))
    job = submit_video(fleet.store, NewJob("ten_1", VideoRef("videos", "missing.mp4")))
    host._answer(ShardKey(job.job_id, 0))
    assert reason in host._find_reason_to_end(2)
    host._beat()
    host._beat()
    assert fleet.place.draining.is_set()
    assert stopped == [True]


def test_doorbells_that_led_to_no_claim_do_not_end_a_host(fleet):
    host = make_host(fleet, jobs_max=1)
    for n in range(3):
        assert host._answer(ShardKey(f"job_{n}", 0))
    assert host._find_reason_to_end(0) is None


def test_each_piece_of_a_job_that_is_worked_on_counts(fleet, face_clip):
    job = submit_video(fleet.store, NewJob("ten_1", fleet.objects.upload(face_clip, BUCKET, "a.mp4").ref))
    host = make_host(fleet, jobs_max=3)
    for _ in range(2):  # the second one is doubled
        host._answer(ShardKey(job.job_id, 0))
    assert host._find_reason_to_end(0) is None  # it was prepared, and its first shard screened
    host._answer(ShardKey(job.job_id, 2))
    assert host._find_reason_to_end(0) == "3 pieces of work were done"


def test_host_whose_inference_process_cannot_be_kept_alive_ends(fleet, monkeypatch):
    fault = BackendFailed(RejectReason.ENGINE_UNAVAILABLE, "it failed 4 times in a row", "see the log")
    health = InferenceHealth(is_ready=False, restarts=4, waiting=0, fault=str(fault))
    monkeypatch.setattr(type(fleet.place.screener.process), "health", health)
    assert "4 times in a row" in make_host(fleet)._find_reason_to_end(0)


def test_host_with_work_that_never_ends_ends(fleet, monkeypatch):
    key = ShardKey("job_1", 1)
    stuck = HeldClaim(type("Claim", (), {"key": key})(), limit_s=0.0, begun_s=0.0)
    monkeypatch.setattr(fleet.place.leases, "find_stuck", lambda: [stuck])
    assert "job_1" in make_host(fleet)._find_reason_to_end(0)


def test_work_is_given_back_once_the_time_to_finish_is_over(fleet, monkeypatch):
    told = []
    monkeypatch.setattr(fleet.place.leases, "stop_all", lambda why: told.append(why) or 1)
    host = make_host(fleet, drain_s=0.0)
    host._watch_drain()
    assert told == []
    host.drain("a test")
    host._watch_drain()
    host._watch_drain()
    assert len(told) == 1


def test_work_of_a_dead_predecessor_comes_back_without_waiting_for_its_lease(fleet):
    job = submit_video(fleet.store, NewJob("ten_1", VideoRef("videos", "a.mp4")))
    claim_shard(fleet.store, ShardKey(job.job_id, 0), "hst_dead", 60.0)
    assert bury_hosts(fleet.store, ["hst_dead", "hst_older"]) == 1
    fleet.clock.now += 0.001
    assert reconcile(fleet.store, fleet.place.limits).taken_back == 1


def test_a_database_that_is_away_keeps_no_host_from_starting(fleet, monkeypatch):
    def fail(work):
        raise Unavailable(Reason.DATABASE_UNAVAILABLE, "away")

    monkeypatch.setattr(fleet.store, "run", fail)
    assert bury_hosts(fleet.store, ["hst_dead"]) == 0


def test_process_that_is_gone_has_no_memory():
    assert read_rss_bytes(2**22 + 1) == 0
