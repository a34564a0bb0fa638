import time

import pytest
from sqlalchemy import text

from fakesieve.errors import Unavailable
from fakesieve.jobs.cancel import cancel_job
from fakesieve.jobs.claim import claim_shard
from fakesieve.jobs.fan_out import reject_job
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import Claim, ShardKey
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import JobState, ShardState
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.partitions import MONTHS_AHEAD, make_partitions
from tests.fakes import MemoryJobStore
from workers.reconciler import UPKEEP_AGAIN_S, UPKEEP_S, Reconciler

MONTHS = text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'frame_score'::regclass")


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_upkeep_is_done_at_once_and_once_a_day(clock):
    done = []
    turns = Reconciler(
        MemoryJobStore(lambda: 0.0), JobLimits(), upkeep=lambda: done.append(clock[0]) or len(done)
    )
    for later_s in (0.0, 60.0, UPKEEP_S, 60.0):
        clock[0] += later_s
        turns.take_turn()
    assert done == [1000.0, 1060.0 + UPKEEP_S]


def test_upkeep_that_is_in_somebodys_way_is_put_off(clock):
    tried = []

    def upkeep():
        tried.append(clock[0])
        raise Unavailable(Reason.DATABASE_UNAVAILABLE, "the table is locked")

    turns = Reconciler(MemoryJobStore(lambda: 0.0), JobLimits(), upkeep=upkeep)
    for later_s in (0.0, 60.0, UPKEEP_AGAIN_S):
        clock[0] += later_s
        turns.take_turn()
    assert tried == [1000.0, 1060.0 + UPKEEP_AGAIN_S]


def submit(store, key, **changes):
    return submit_video(store, NewJob("ten_1", VideoRef("videos", key), **changes)).job_id


def test_each_job_without_a_result_is_counted_once_by_its_reason():
    now, limits = [0.0], JobLimits()
    store = MemoryJobStore(lambda: now[0])
    turns = Reconciler(store, limits)
    submit(store, "late.mp4", deadline_s=50.0)
    cancel_job(store, submit(store, "cancelled.mp4"))
    rejected = claim_shard(store, ShardKey(submit(store, "rejected.mp4"), 0), "hst_1", 60.0)
    reject_job(store, rejected, Reason.CORRUPT, "seen", "hint")
    killer = ShardKey(submit(store, "killer.mp4"), 0)
    for _ in range(limits.max_attempts):  # each of them dies
        assert isinstance(claim_shard(store, killer, "hst_1", 10.0), Claim)
        now[0] += 11.0
        turns.take_turn()
    for _ in range(3):
        now[0] += 61.0
        turns.take_turn()
    counted = {
        (sample.labels["state"], sample.labels["reason"]): sample.value
        for family in turns._metrics.jobs_without_result.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    assert counted == {
        ("expired", "DEADLINE_EXCEEDED"): 1.0,
        ("cancelled", "CANCELLED_BY_CALLER"): 1.0,
        ("failed", "CORRUPT"): 1.0,
        ("failed", "ATTEMPTS_EXHAUSTED"): 1.0,
    }


def take_turns(reconciler, most=100):
    """Take the turns that follow each other without a pause, and return how many."""
    for turn in range(1, most + 1):
        if not reconciler.take_turn():
            return turn
    raise AssertionError(f"still at work after {most} turns")


def test_all_jobs_of_one_deadline_expire_without_a_pause():
    now, limits = [0.0], JobLimits()
    store = MemoryJobStore(lambda: now[0])
    jobs = [submit(store, f"{n}.mp4", deadline_s=50.0) for n in range(3_000)]
    now[0] += 51.0
    reconciler = Reconciler(store, limits)
    take_turns(reconciler)
    assert {store.jobs[job_id].state for job_id in jobs} == {JobState.EXPIRED}
    counted = reconciler._metrics.jobs_without_result.labels("expired", "DEADLINE_EXCEEDED")
    assert counted._value.get() == 3_000.0


def test_lost_leases_come_back_while_many_jobs_expire():
    now, limits = [0.0], JobLimits(step_rows=10)
    store = MemoryJobStore(lambda: now[0])
    for n in range(100):
        submit(store, f"{n}.mp4", deadline_s=50.0)
    held = ShardKey(submit(store, "held.mp4"), 0)
    assert isinstance(claim_shard(store, held, "hst_1", 10.0), Claim)
    now[0] += 51.0
    assert Reconciler(store, limits).take_turn()
    assert store.run(lambda tx: tx.read_shard(held)).state is ShardState.PENDING


def test_jobs_that_workers_still_hold_keep_no_reconciler_busy():
    now, limits = [0.0], JobLimits(step_rows=10)
    store = MemoryJobStore(lambda: now[0])
    jobs = [submit(store, f"{n}.mp4") for n in range(30)]
    for job_id in jobs[:10]:
        assert isinstance(claim_shard(store, ShardKey(job_id, 0), "hst_1", 60.0), Claim)
    for job_id in jobs:
        cancel_job(store, job_id)
    assert not Reconciler(store, limits).take_turn()
    now[0] += 61.0
    reconciler = Reconciler(store, limits)
    assert take_turns(reconciler) == 4
    counted = reconciler._metrics.jobs_without_result.labels("cancelled", "CANCELLED_BY_CALLER")
    assert counted._value.get() == 30.0


def test_the_role_of_the_fleet_may_make_the_months(database):
    def upkeep():
        return database.run_transaction(
            lambda session: make_partitions(session, MONTHS_AHEAD + 2), tenant_id=None
        )

    with database.transaction(tenant_id=None) as session:
        make_partitions(session, MONTHS_AHEAD)  # the tables may have been made in the month before
        before = session.scalar(MONTHS)
    Reconciler(SqlJobStore(database), JobLimits(), upkeep=upkeep).take_turn()
    with database.transaction(tenant_id=None) as session:
        assert session.scalar(MONTHS) == before + 2
