"""Doorbells from the outbox to the broker: which are rung, how many, and how long they wait."""

from collections import Counter

import pytest

from fakesieve.errors import Unavailable
from fakesieve.jobs.cancel import cancel_job, retry_job
from fakesieve.jobs.claim import release_shard
from fakesieve.jobs.rows import WAITING_MAX, Claim, ShardKey, Waiting
from fakesieve.jobs.states import Lane
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.fakes import MemoryJobStore
from tests.job_cases import LIMITS, JobCase


def refuse_ring(waiting: Waiting) -> None:
    raise Unavailable(Reason.BROKER_UNAVAILABLE, "connection refused")


def test_nothing_is_rung_without_a_live_slot(case: JobCase) -> None:
    case.submit()
    assert case.relay() == []
    case.offer_slots(1, is_draining=True)
    assert case.relay() == []


def test_a_rung_doorbell_leaves_the_outbox(case: JobCase) -> None:
    job_id = case.submit()
    case.offer_slots(1)
    assert case.relay() == [ShardKey(job_id, 0)]
    assert case.list_waiting() == []
    assert case.lanes_ringing() == {Lane.STANDARD: 1}
    assert case.relay() == []


def test_a_slot_has_two_doorbells_at_most(case: JobCase) -> None:
    jobs = [case.submit(f"{n}") for n in range(5)]
    case.offer_slots(1)
    assert len(case.relay()) == 2
    assert case.relay() == []
    assert isinstance(case.claim(jobs[0]), Claim)
    assert len(case.relay()) == 1


def test_silent_hosts_offer_no_slots(case: JobCase) -> None:
    case.submit()
    case.offer_slots(4)
    case.pass_time(LIMITS.host_silence_s + 1)
    assert case.relay() == []
    case.store.run(lambda tx: tx.remove_host("host-1"))
    assert case.store.run(lambda tx: tx.count_slots(1e9)) == 0


def test_a_broker_that_refuses_loses_no_doorbell(case: JobCase) -> None:
    job_id = case.submit()
    case.offer_slots(1)
    with pytest.raises(Unavailable):
        case.relay(refuse_ring)
    assert case.list_waiting() == [ShardKey(job_id, 0)]
    assert case.relay() == [ShardKey(job_id, 0)]


def test_doorbells_of_claimed_and_ended_work_are_dropped(case: JobCase) -> None:
    claimed, cancelled = case.submit("a"), case.submit("b")
    case.claim(claimed)
    cancel_job(case.store, cancelled)
    case.offer_slots(4)
    assert case.relay() == []
    assert case.list_waiting() == []


def test_a_shard_given_back_is_rung_after_its_delay(case: JobCase) -> None:
    job_id = case.submit()
    case.offer_slots(1)
    case.relay()
    release_shard(case.store, case.claim(job_id), Reason.NO_SPACE, 30.0, refund=True)
    assert case.relay() == []
    case.pass_time(31)
    case.offer_slots(1)
    assert case.relay() == [ShardKey(job_id, 0)]


def test_tenants_take_turns(case: JobCase) -> None:
    for n in range(6):
        case.submit(f"a{n}", tenant=0)
    late = [case.submit(f"b{n}", tenant=1) for n in range(2)]
    case.offer_slots(2)
    rung = case.relay()
    assert len(rung) == 4
    assert {key.job_id for key in rung} >= set(late)


def test_of_many_queues_fewer_doorbells_each_are_looked_at(case: JobCase) -> None:
    for lane in Lane:
        for tenant in range(2):
            for n in range(5):
                case.submit(f"{n}", tenant=tenant, lane=lane)

    def count(in_all: int) -> Counter[tuple[Lane, str]]:
        found = case.store.run(lambda tx: tx.list_waiting(4, in_all))
        return Counter((each.lane, each.tenant_id) for each in found)

    everybody = {(lane, tenant) for lane in Lane for tenant in case.tenants}
    assert count(1000) == dict.fromkeys(everybody, 4)
    assert count(13) == dict.fromkeys(everybody, 2)
    assert count(2) == dict.fromkeys(everybody, 1)


def test_a_relay_with_many_free_slots_reads_no_more_of_deep_queues_than_it_can_hold() -> None:
    store = MemoryJobStore(lambda: 0.0)
    for tenant in range(200):
        for n in range(100):
            submit_video(store, NewJob(f"ten_{tenant}", VideoRef("videos", f"{n}.mp4")))
    found = store.run(lambda tx: tx.list_waiting(2_000))
    assert set(Counter(each.tenant_id for each in found).values()) == {WAITING_MAX // 200}


def test_what_waits_says_for_how_long_it_could_have_been_rung(case: JobCase) -> None:
    job_id = case.submit()
    case.pass_time(100)
    cancel_job(case.store, job_id)
    retry_job(case.store, job_id)  # a retried job has waited since its retry
    case.pass_time(5)
    (waiting,) = case.store.run(lambda tx: tx.list_waiting(10))
    assert 5.0 <= waiting.waited_s < 30.0


def test_a_lane_has_its_share_where_more_rings_than_the_slots_that_are_left(case: JobCase) -> None:
    for number in range(40):
        case.submit(f"bulk {number}", lane=Lane.BULK)
    case.offer_slots(30)
    assert len(case.relay()) > 30
    case.offer_slots(1)
    job_id = case.submit("urgent", lane=Lane.INTERACTIVE)
    assert case.relay() == [ShardKey(job_id, 0)]
    assert case.relay() == []


def test_rung_work_says_for_how_long_it_could_have_been_begun(case: JobCase) -> None:
    case.submit("early")
    case.pass_time(100)
    case.submit("late", lane=Lane.BULK)
    case.offer_slots(2)
    assert case.store.run(lambda tx: tx.age_ringing()) == {}
    assert len(case.relay()) == 2
    case.pass_time(5)
    ages_s = case.store.run(lambda tx: tx.age_ringing())
    assert 105.0 <= ages_s[Lane.STANDARD] < 130.0
    assert 5.0 <= ages_s[Lane.BULK] < 30.0


def test_rung_work_that_was_taken_ended_or_is_tried_later_has_no_age(case: JobCase) -> None:
    taken, ended, later = (case.submit(name) for name in ("taken", "ended", "later"))
    case.offer_slots(4)
    assert len(case.relay()) == 3
    case.pass_time(100)
    case.claim(taken)
    cancel_job(case.store, ended)
    release_shard(case.store, case.claim(later), Reason.NO_SPACE, 30.0, refund=True)
    assert case.store.run(lambda tx: tx.age_ringing()) == {}
    case.pass_time(31)
    case.offer_slots(4)
    assert case.relay() == [ShardKey(later, 0)]
    assert case.store.run(lambda tx: tx.age_ringing())[Lane.STANDARD] < 30.0  # from when it was due again
