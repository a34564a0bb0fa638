import time

import pytest

from fakesieve.errors import Unavailable
from fakesieve.jobs.claim import claim_shard, extend_claims
from fakesieve.jobs.fan_out import reject_job
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import Claim, HostBeat, ShardKey
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

    def count_held(self):
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


def test_interactive_work_is_rung_behind_the_bulk_work_that_hosts_left_behind(store, clock):
    store.run(lambda tx: tx.beat_host(HostBeat("hst_2", 20)))
    doorbells = WaitingDoorbells()
    relay = Relay(store, doorbells, JobLimits())
    submit(store, 60, Lane.BULK)
    assert relay.take_turn()
    rung = len(doorbells.waiting)
    assert rung > 30
    store.run(lambda tx: tx.remove_host("hst_2"))
    submit(store, 5, Lane.BULK)
    (job_id,) = submit(store, 1, Lane.INTERACTIVE)
    clock.now += 300.0  # longer than what rings is believed to be there without a look
    store.run(lambda tx: tx.beat_host(HostBeat("hst_1", 1)))
    Relay(store, doorbells, JobLimits()).take_turn()
    assert doorbells.waiting[rung:] == [ShardKey(job_id, 0)]


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
    rung = 0
    for _ in range(10):
        relay.take_turn()
        rung += len(doorbells.waiting)
        doorbells.waiting.clear()  # the broker lost it
        clock.now += 40.0
        store.run(lambda tx: tx.beat_host(HostBeat("hst_1", 1)))  # it lives
        reconciler.take_turn()
    assert rung > 3
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


class LoneSlot:
    """A host of one slot, whose pieces of work take so long."""

    def __init__(self, store, clock, doorbells, work_s):
        self.store, self.clock, self.doorbells, self.work_s = store, clock, doorbells, work_s
        self.claim, self.end_s, self.ended = None, 0.0, []

    def live(self):
        """Beat, end what is done, and take the next doorbell."""
        self.store.run(lambda tx: tx.beat_host(HostBeat("hst_1", 1)))
        if self.claim is not None and self.clock.now < self.end_s:
            assert extend_claims(self.store, "hst_1", [self.claim], 60.0) == frozenset()
        elif self.claim is not None:
            assert reject_job(self.store, self.claim, Reason.NOT_VIDEO, "seen")
            self.ended.append(self.claim.key.job_id)
            self.claim = None
        while self.claim is None and self.doorbells.waiting:
            claim = claim_shard(self.store, self.doorbells.waiting.pop(0), "hst_1", 60.0)
            if isinstance(claim, Claim):
                self.claim, self.end_s = claim, self.clock.now + self.work_s


@pytest.mark.parametrize("lanes", [(Lane.STANDARD,), tuple(Lane)])
def test_doorbells_behind_long_work_are_not_rung_again_and_again(store, clock, monkeypatch, lanes):
    monkeypatch.setattr(time, "monotonic", clock)
    doorbells, limits = WaitingDoorbells(), JobLimits()
    relay, reconciler = Relay(store, doorbells, limits), Reconciler(store, limits)
    slot = LoneSlot(store, clock, doorbells, work_s=100.0)
    jobs = [submit(store, 1, lanes[n % len(lanes)])[0] for n in range(50)]
    longest = 0
    for second in range(3_600):
        relay.take_turn()
        longest = max(longest, len(doorbells.waiting))
        slot.live()
        if second % 10 == 0:
            reconciler.take_turn()
        clock.now += 1.0
    assert longest == 2
    assert len(slot.ended) == 35
    assert reconciler._metrics.reconciled.labels("rung_again")._value.get() == 0.0
    if len(lanes) == 1:
        assert slot.ended == jobs[:35]


def test_a_flushed_broker_is_healed_in_two_minutes_where_a_slot_is_free(store, clock, monkeypatch):
    monkeypatch.setattr(time, "monotonic", clock)
    doorbells, limits = WaitingDoorbells(), JobLimits()
    relay, reconciler = Relay(store, doorbells, limits), Reconciler(store, limits)
    slot = LoneSlot(store, clock, doorbells, work_s=100.0)
    submit(store, 10)
    for second in range(200):
        relay.take_turn()
        if second == 150:  # one is at work, two lie there and were seen to a moment ago
            assert len(doorbells.waiting) == 2
            doorbells.waiting.clear()
        slot.live()
        if second % 10 == 0:
            reconciler.take_turn()
        clock.now += 1.0
    free_s = clock.now  # the slot becomes free about now
    for second in range(120):
        relay.take_turn()
        slot.live()
        if second % 10 == 0:
            reconciler.take_turn()
        clock.now += 1.0
    assert slot.claim is not None
    assert slot.end_s - slot.work_s <= free_s + 120.0
    assert len(slot.ended) == 2


def test_a_broker_never_gets_more_than_its_places(store, clock):
    doorbells, limits = WaitingDoorbells(), JobLimits()
    submit(store, 5)
    relay = Relay(store, doorbells, limits)
    assert relay.take_turn()
    clock.now += limits.doorbell_wait_s + 1.0  # nobody kept them meanwhile, as with a relay that was stopped
    store.run(lambda tx: tx.beat_host(HostBeat("hst_1", 1)))
    Reconciler(store, limits).take_turn()
    assert not relay.take_turn()
    assert len(doorbells.waiting) == 2
