import time

import pytest

from fakesieve.errors import Unavailable
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import HostBeat, ShardKey
from fakesieve.jobs.states import Lane
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.fakes import MemoryJobStore
from tests.workers.conftest import SteppedClock, WaitingDoorbells
from workers.reconciler import Reconciler
from workers.relay import Relay


class BrokenDoorbell:
    """A broker that takes nothing."""

    def ring(self, key, lane):
        raise Unavailable(Reason.BROKER_UNAVAILABLE, "away")


@pytest.fixture
def clock():
    return SteppedClock()


@pytest.fixture
def store(clock):
    store = MemoryJobStore(clock)
    store.run(lambda tx: tx.beat_host(HostBeat("hst_1", 1)))
    return store


def submit(store, count, lane=Lane.STANDARD):
    source = VideoRef("videos", "a.mp4")
    return [submit_video(store, NewJob("ten_1", source, lane)).job_id for _ in range(count)]


def test_relay_rings_two_doorbells_a_slot_and_then_waits(store):
    jobs, doorbells = submit(store, 5), WaitingDoorbells()
    relay = Relay(store, doorbells, JobLimits())
    assert relay.take_turn()
    assert not relay.take_turn()
    assert doorbells.waiting == [ShardKey(job_id, 0) for job_id in jobs[:2]]


def test_broken_broker_costs_no_doorbell(store):
    (job_id,) = submit(store, 1)
    with pytest.raises(Unavailable):
        Relay(store, BrokenDoorbell(), JobLimits()).take_turn()
    doorbells = WaitingDoorbells()
    assert Relay(store, doorbells, JobLimits()).take_turn()
    assert doorbells.waiting == [ShardKey(job_id, 0)]


def test_work_grows_old_while_the_broker_is_away(store, clock, monkeypatch):
    monkeypatch.setattr(time, "monotonic", clock)
    relay, ages_s = Relay(store, BrokenDoorbell(), JobLimits()), []
    submit(store, 1)
    for _ in range(2):
        clock.now += 20.0
        with pytest.raises(Unavailable):
            relay.take_turn()
        ages_s.append(relay._metrics.queue_age_seconds.labels(Lane.STANDARD)._value.get())
    assert ages_s == [20.0, 40.0]


def test_backlog_is_measured_by_lane(store, clock):
    relay = Relay(store, WaitingDoorbells(), JobLimits())
    submit(store, 3, Lane.BULK)
    clock.now += 7.0
    relay.measure_backlog()
    ages_s = [relay._metrics.queue_age_seconds.labels(lane)._value.get() for lane in Lane]
    assert ages_s[0] == ages_s[1] == 0.0
    assert ages_s[2] == 7.0


def test_work_that_hosts_do_not_take_grows_old_however_often_it_is_rung(store, clock):
    doorbells, limits = WaitingDoorbells(), JobLimits()
    relay, reconciler = Relay(store, doorbells, limits), Reconciler(store, limits)
    submit(store, 1)
    for _ in range(10):
        relay.take_turn()
        clock.now += 40.0
        store.run(lambda tx: tx.beat_host(HostBeat("hst_1", 1)))  # it lives and takes nothing
        reconciler.take_turn()
    assert len(doorbells.waiting) > 3
    relay.take_turn()
    relay.measure_backlog()
    assert relay._metrics.queue_age_seconds.labels(Lane.STANDARD)._value.get() == 400.0


def test_lost_doorbell_is_rung_again_by_the_reconciler(store, clock):
    (job_id,) = submit(store, 1)
    doorbells = WaitingDoorbells()
    relay, reconciler = Relay(store, doorbells, JobLimits()), Reconciler(store, JobLimits())
    relay.take_turn()
    doorbells.waiting.clear()  # the broker lost it
    clock.now += 91.0
    store.run(lambda tx: tx.beat_host(HostBeat("hst_1", 1)))
    reconciler.take_turn()
    assert relay.take_turn()
    assert doorbells.waiting == [ShardKey(job_id, 0)]
    assert reconciler._metrics.reconciled.labels("rung_again")._value.get() == 1.0
