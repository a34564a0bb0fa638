import threading

import pytest

from fakesieve.errors import Unavailable
from fakesieve.jobs.cancel import cancel_job
from fakesieve.jobs.claim import claim_shard
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.reconcile import reconcile
from fakesieve.jobs.rows import ShardKey
from fakesieve.jobs.states import WorkKind
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.fakes import MemoryJobStore
from tests.waiting import PATIENCE_S
from tests.workers.conftest import SteppedClock
from workers import leases as module
from workers.leases import Heartbeat, Leases, keep_trying
from workers.retry import ClaimLost, HostDraining, ShardOverdue

LEASE_S = 60.0


@pytest.fixture
def clock():
    return SteppedClock()


@pytest.fixture
def store(clock):
    return MemoryJobStore(clock)


def claim_new(store):
    job = submit_video(store, NewJob("ten_1", VideoRef("videos", "a.mp4")))
    return claim_shard(store, ShardKey(job.job_id, 0), "hst_1", LEASE_S)


def test_held_lease_outlives_its_first_span(store, clock):
    leases = Leases(store, "hst_1", LEASE_S)
    with leases.hold(claim_new(store)) as held:
        for _ in range(5):
            clock.now += 50.0
            assert leases.extend() == 0
        held.check()
        row = store.run(lambda tx: tx.read_shard(held.claim.key))
        assert not row.is_lease_over
    assert len(leases) == 0


def test_cancelled_job_tells_its_work_to_stop(store):
    leases = Leases(store, "hst_1", LEASE_S)
    with leases.hold(claim_new(store)) as held:
        cancel_job(store, held.claim.key.job_id)
        assert leases.extend() == 0  # nobody has taken it
        with pytest.raises(ClaimLost):
            held.on_samples(8, 32, 1)


def test_work_of_an_ended_job_is_told_before_the_next_beat(store):
    leases = Leases(store, "hst_1", LEASE_S)
    with leases.hold(claim_new(store)) as held, leases.hold(claim_new(store)) as other:
        cancel_job(store, held.claim.key.job_id)
        assert leases.drop_ended() == 1
        with pytest.raises(ClaimLost, match="has ended"):
            held.check()
        other.check()
        assert leases.drop_ended() == 0


def test_a_host_without_work_asks_nothing(store, monkeypatch):
    leases = Leases(store, "hst_1", LEASE_S)
    for name in ("run", "run_alone"):
        monkeypatch.setattr(store, name, lambda work: pytest.fail("the store was asked"))
    assert leases.drop_ended() == 0


def test_taken_over_claim_tells_its_work_to_stop(store, clock):
    leases = Leases(store, "hst_1", LEASE_S)
    with leases.hold(claim_new(store)) as held:
        clock.now += 61.0
        claim_shard(store, held.claim.key, "hst_2", LEASE_S)
        assert [leases.extend() for _ in range(3)] == [1, 0, 0]  # counted once, however long its work goes on
        with pytest.raises(ClaimLost):
            held.check()


def test_a_lease_that_ran_out_is_lost_before_another_host_has_the_shard(store, clock):
    leases = Leases(store, "hst_1", LEASE_S)
    with leases.hold(claim_new(store)):
        clock.now += 61.0
        assert reconcile(store, JobLimits()).taken_back == 1
        assert [leases.extend() for _ in range(2)] == [1, 0]


def test_a_job_past_its_deadline_is_no_lost_lease(store, clock):
    leases = Leases(store, "hst_1", LEASE_S)
    job = submit_video(store, NewJob("ten_1", VideoRef("videos", "a.mp4"), deadline_s=30.0))
    with leases.hold(claim_shard(store, ShardKey(job.job_id, 0), "hst_1", LEASE_S)) as held:
        clock.now += 31.0
        assert leases.extend() == 0
        assert held.is_stopped


def test_work_over_its_time_is_told_and_then_loses_its_lease(store, clock):
    leases = Leases(store, "hst_1", LEASE_S, limits_s=dict.fromkeys(WorkKind, 100.0))
    with leases.hold(claim_new(store)) as held:
        held.begun_s -= 101.0
        leases.extend()
        with pytest.raises(ShardOverdue):
            held.check()
        assert leases.find_stuck() == []
        held.begun_s -= 100.0
        clock.now += 50.0
        leases.extend()
        assert leases.find_stuck() == [held]
        clock.now += 11.0
        assert store.run(lambda tx: tx.read_shard(held.claim.key)).is_lease_over


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ("fetch", Reason.OBJECT_STORE_UNAVAILABLE),
        ("probe", Reason.DECODE_TIMEOUT),
        ("decode", Reason.DECODE_TIMEOUT),
        ("slab", Reason.ENGINE_UNAVAILABLE),
        ("predict", Reason.ENGINE_UNAVAILABLE),
        ("plan", Reason.INTERNAL),
    ],
)
def test_work_over_its_time_says_what_it_hung_on(store, stage, reason):
    leases = Leases(store, "hst_1", LEASE_S, limits_s=dict.fromkeys(WorkKind, 100.0))
    with leases.hold(claim_new(store)) as held:
        held.enter(stage)
        held.begun_s -= 101.0
        leases.extend()
        with pytest.raises(ShardOverdue, match=f"in the end for {stage}") as caught:
            held.check()
    assert caught.value.reason is reason


def test_one_slot_of_a_host_asks_for_a_shard_at_a_time(store):
    leases = Leases(store, "hst_1", LEASE_S)
    claim = claim_new(store)
    assert leases.begin_asking(claim.key)
    assert not leases.begin_asking(claim.key)
    with leases.hold(claim):
        assert leases.holds(claim.key)
        assert leases.begin_asking(claim.key)
    leases.end_asking(claim.key)
    assert leases.begin_asking(claim.key)
    assert not leases.holds(claim.key)


def test_first_reason_to_stop_counts(store):
    leases = Leases(store, "hst_1", LEASE_S)
    with leases.hold(claim_new(store)) as held:
        held.stop(ClaimLost())
        assert leases.stop_all(HostDraining()) == 1
        with pytest.raises(ClaimLost):
            held.check()


def test_two_claims_on_one_shard_are_told_apart_by_their_fence(store, clock):
    leases = Leases(store, "hst_1", LEASE_S)
    old = claim_new(store)
    with leases.hold(old) as first:
        clock.now += 61.0
        new = claim_shard(store, old.key, "hst_1", LEASE_S)
        with leases.hold(new) as second:
            assert [leases.extend() for _ in range(2)] == [1, 0]
            second.check()
            with pytest.raises(ClaimLost):
                first.check()


def test_newer_of_two_claims_on_one_shard_keeps_its_lease(store, clock):
    leases = Leases(store, "hst_1", LEASE_S)
    for _ in range(10):  # a set has no order to rely on
        old = claim_new(store)
        with leases.hold(old) as first:
            clock.now += 61.0
            with leases.hold(claim_shard(store, old.key, "hst_1", LEASE_S)) as second:
                for _ in range(3):
                    clock.now += 50.0
                    leases.extend()
                second.check()
                assert first.is_stopped
                assert not store.run(lambda tx, key=old.key: tx.read_shard(key)).is_lease_over


def test_heartbeat_beats_at_once_and_ends_when_closed():
    beaten = threading.Event()
    heartbeat = Heartbeat(beaten.set, 3600.0)
    heartbeat.start()
    assert beaten.wait(PATIENCE_S)
    heartbeat.close()


def test_heart_goes_on_after_a_bad_beat():
    beats, enough = [], threading.Event()

    def beat():
        beats.append(1)
        if len(beats) == 3:
            enough.set()
        raise ZeroDivisionError

    heartbeat = Heartbeat(beat, 0.001)
    heartbeat.start()
    assert enough.wait(PATIENCE_S)
    heartbeat.close()


def test_database_that_comes_back_is_written_to(monkeypatch):
    monkeypatch.setattr(module, "_PAUSES_S", (0.001,))
    answers = iter([Unavailable(Reason.DATABASE_UNAVAILABLE, "away"), "written"])

    def write():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert keep_trying(write, PATIENCE_S) == "written"


def test_patience_ends(monkeypatch):
    monkeypatch.setattr(module, "_PAUSES_S", (0.001,))

    def fail():
        raise Unavailable(Reason.DATABASE_UNAVAILABLE, "away")

    with pytest.raises(Unavailable):
        keep_trying(fail, 0.01)


def test_patience_is_no_longer_than_what_is_left(monkeypatch):
    monkeypatch.setattr(module, "_PAUSES_S", (0.001,))
    left_s, tries = iter([10.0, 10.0, 0.0]), []

    def fail():
        tries.append(1)
        raise Unavailable(Reason.DATABASE_UNAVAILABLE, "away")

    with pytest.raises(Unavailable):
        keep_trying(fail, 60.0, lambda: next(left_s))
    assert len(tries) == 3
