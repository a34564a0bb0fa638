"""What every job store does with many jobs: outbox, relay, hosts, reconciler, batches and quotas."""

from collections import Counter

import pytest
from sqlalchemy import text

from fakesieve.errors import RequestRefused, Unavailable
from fakesieve.jobs.cancel import cancel_batch, cancel_job, retry_job
from fakesieve.jobs.claim import release_shard
from fakesieve.jobs.finish import Finish, fail_job, load_evidence
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.reconcile import BATCH_SAMPLE_MIN, EVIDENCE_AGE_S, BatchPace, Reconciled, reconcile
from fakesieve.jobs.rows import WAITING_MAX, Claim, Refusal, ShardKey, Waiting
from fakesieve.jobs.states import BatchState, JobState, Lane, ShardState
from fakesieve.jobs.submit import NewBatch, NewJob, submit_batch, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.fakes import MemoryJobStore
from tests.job_cases import LEASE_S, LIMITS, JobCase


def refuse_ring(waiting: Waiting) -> None:
    raise Unavailable(Reason.BROKER_UNAVAILABLE, "connection refused")


def read_batch(case: JobCase, batch_id: str):
    return case.store.run(lambda tx: tx.read_batch(batch_id))


def batch_jobs(case: JobCase, size: int, **changes) -> tuple[str, list[str]]:
    jobs = [NewJob(case.tenants[0], VideoRef("videos", f"{n}.mp4")) for n in range(size)]
    done = submit_batch(case.store, NewBatch(case.tenants[0], "list", **changes), jobs)
    return done.batch_id, [each.job_id for each in done.jobs]


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


def test_a_pass_without_work_changes_nothing(case: JobCase) -> None:
    case.submit()
    done = reconcile(case.store, LIMITS)
    assert done.is_idle
    assert done == Reconciled(0, 0, 0, 0, 0, 0, 0, 0, 0)


def test_a_dead_workers_shard_is_rung_again(case: JobCase) -> None:
    job_id = case.submit()
    case.offer_slots(1)
    case.relay()
    dead = case.claim(job_id)
    case.pass_time(LEASE_S + 1)
    assert reconcile(case.store, LIMITS).taken_back == 1
    case.offer_slots(1)
    assert case.relay() == [ShardKey(job_id, 0)]
    assert case.claim(job_id, owner="host-2").fence == dead.fence + 1


def test_a_lost_doorbell_is_rung_again_once(case: JobCase) -> None:
    job_id = case.submit()
    case.offer_slots(1)
    case.relay()
    assert reconcile(case.store, LIMITS).rung_again == 0
    case.pass_time(LIMITS.doorbell_wait_s + 1)
    assert reconcile(case.store, LIMITS).rung_again == 1
    assert reconcile(case.store, LIMITS).rung_again == 0
    case.offer_slots(1)
    assert case.relay() == [ShardKey(job_id, 0)]


def test_a_shard_that_kills_its_workers_fails_the_job(case: JobCase) -> None:
    case.prepare(job_id := case.submit(), shards=2)
    for _ in range(LIMITS.max_attempts):
        assert isinstance(case.claim(job_id, 1), Claim)
        case.pass_time(LEASE_S + 1)
    assert reconcile(case.store, LIMITS).exhausted == 1
    job = case.read_job(job_id)
    assert (job.state, job.reason) == (JobState.FAILED, Reason.ATTEMPTS_EXHAUSTED)
    assert case.read_shard(job_id, 1).state is ShardState.FAILED


def test_jobs_past_their_deadline_expire(case: JobCase) -> None:
    job_id = case.submit(deadline_s=50.0)
    case.pass_time(51)
    assert reconcile(case.store, LIMITS).expired == 1
    job = case.read_job(job_id)
    assert (job.state, job.reason) == (JobState.EXPIRED, Reason.DEADLINE_EXCEEDED)


def test_shards_of_ended_jobs_are_closed(case: JobCase) -> None:
    case.prepare(job_id := case.submit(), shards=2)
    case.claim(job_id, 1)
    fail_job(case.store, job_id, Reason.INTERNAL, "seen")
    assert reconcile(case.store, LIMITS).closed == 1
    assert case.read_shard(job_id, 1).state is ShardState.LEASED
    case.pass_time(LEASE_S + 1)
    assert reconcile(case.store, LIMITS).closed == 1
    assert case.claim(job_id, 2) is Refusal.DONE


def test_a_scoring_that_the_last_finisher_does_not_take_waits_for_others(case: JobCase) -> None:
    case.prepare(job_id := case.submit())
    assert case.screen(job_id, 1) is Finish.LAST
    assert case.list_waiting()[-1] == ShardKey(job_id, 2)


def test_a_batch_ends_with_its_jobs(case: JobCase) -> None:
    batch_id, jobs = batch_jobs(case, 2)
    assert read_batch(case, batch_id).state is BatchState.RUNNING
    for job_id in jobs:
        case.finish(job_id, content=job_id)
    assert reconcile(case.store, LIMITS).settled == 1
    batch = read_batch(case, batch_id)
    assert (batch.state, batch.total, batch.live) == (BatchState.SUCCEEDED, 2, 0)
    assert reconcile(case.store, LIMITS).settled == 0


def test_a_batch_with_failures_says_so(case: JobCase) -> None:
    batch_id, jobs = batch_jobs(case, 2)
    case.finish(jobs[0])
    fail_job(case.store, jobs[1], Reason.NOT_VIDEO, "seen")
    reconcile(case.store, LIMITS)
    assert read_batch(case, batch_id).state is BatchState.SUCCEEDED_WITH_ERRORS


def test_a_batch_counts_what_was_reused(case: JobCase) -> None:
    batch_id, jobs = batch_jobs(case, 2)
    case.finish(jobs[0], content="same")
    case.prepare(jobs[1], content="same")
    assert read_batch(case, batch_id).n_reused == 1


def test_a_batch_sent_again_has_the_same_jobs(case: JobCase) -> None:
    first, jobs = batch_jobs(case, 3, idempotency_key="list")
    again, same = batch_jobs(case, 3, idempotency_key="list")
    assert (again, same) == (first, jobs)
    assert read_batch(case, first).total == 3


def test_too_many_failures_cancel_the_rest_of_a_batch(case: JobCase) -> None:
    batch_id, jobs = batch_jobs(case, BATCH_SAMPLE_MIN + 5, max_failure_rate=0.5)
    for job_id in jobs[: BATCH_SAMPLE_MIN - 1]:
        fail_job(case.store, job_id, Reason.NOT_VIDEO, "seen")
    assert reconcile(case.store, LIMITS).settled == 0
    fail_job(case.store, jobs[BATCH_SAMPLE_MIN - 1], Reason.NOT_VIDEO, "seen")
    assert reconcile(case.store, LIMITS).settled == 1
    last = case.read_job(jobs[-1])
    assert (last.state, last.reason) == (JobState.CANCELLED, Reason.FAILURE_RATE_EXCEEDED)
    assert read_batch(case, batch_id).state is BatchState.FAILED


def test_cancelling_a_batch_cancels_its_live_jobs(case: JobCase) -> None:
    batch_id, jobs = batch_jobs(case, 3)
    case.finish(jobs[0])
    assert cancel_batch(case.store, batch_id) == 2
    batch = read_batch(case, batch_id)
    assert (batch.state, batch.counts[JobState.CANCELLED]) == (BatchState.CANCELLED, 2)
    assert case.read_job(jobs[0]).state is JobState.SUCCEEDED


def test_a_cancel_that_was_cut_off_is_completed(case: JobCase) -> None:
    batch_id, jobs = batch_jobs(case, 2)
    case.store.run(lambda tx: tx.set_batch_state(batch_id, BatchState.CANCELLED))
    reconcile(case.store, LIMITS)
    assert [case.read_job(job_id).state for job_id in jobs] == [JobState.CANCELLED] * 2


def test_a_running_batch_is_counted_at_its_pace(case: JobCase) -> None:
    now_s = [100.0]
    pace = BatchPace(lambda: now_s[0])
    batch_id, jobs = batch_jobs(case, BATCH_SAMPLE_MIN + 5, max_failure_rate=0.5)
    assert reconcile(case.store, LIMITS, pace).settled == 0
    pace.note(batch_id, 1_000_000)
    for job_id in jobs[:BATCH_SAMPLE_MIN]:
        fail_job(case.store, job_id, Reason.NOT_VIDEO, "seen")
    assert reconcile(case.store, LIMITS, pace).settled == 0
    now_s[0] += 100.0
    assert reconcile(case.store, LIMITS, pace).settled == 1
    assert read_batch(case, batch_id).state is BatchState.FAILED


def test_a_batch_ends_whatever_its_pace(case: JobCase) -> None:
    pace = BatchPace(lambda: 0.0)
    batch_id, jobs = batch_jobs(case, 1, max_failure_rate=0.5)
    pace.note(batch_id, 1_000_000)
    case.finish(jobs[0])
    assert reconcile(case.store, LIMITS, pace).settled == 1


def test_evidence_is_dropped_a_while_after_the_end_of_its_job(case: JobCase) -> None:
    case.prepare(ended := case.submit("a"), content="a")
    case.screen(ended, 1)
    assert isinstance(case.claim(ended, 2), Claim)
    case.prepare(running := case.submit("b"), shards=2, content="b")
    case.screen(running, 1)
    case.score(ended)
    assert reconcile(case.store, LIMITS).dropped == 0
    case.pass_time(EVIDENCE_AGE_S + 1)
    assert reconcile(case.store, LIMITS).dropped == 1
    assert load_evidence(case.store, ended) == []
    assert load_evidence(case.store, running) == [b"evidence 1"]
    assert reconcile(case.store, LIMITS).dropped == 0


def test_work_of_an_ended_job_is_closed_once_nobody_holds_it(case: JobCase) -> None:
    case.prepare(job_id := case.submit(), shards=3)
    held = case.claim(job_id, 1)
    case.screen(job_id, 2)
    cancel_job(case.store, job_id)
    assert reconcile(case.store, LIMITS).closed == 1
    assert reconcile(case.store, LIMITS).closed == 0
    assert case.read_shard(job_id, 1).state is ShardState.LEASED
    case.pass_time(LEASE_S + 7200)  # however late
    assert reconcile(case.store, LIMITS).closed == 1
    states = [case.read_shard(job_id, n).state for n in (1, 2, 3)]
    assert states == [ShardState.FAILED, ShardState.DONE, ShardState.FAILED]
    assert isinstance(held, Claim)


def test_work_of_a_retried_job_is_not_closed(case: JobCase) -> None:
    cancel_job(case.store, job_id := case.submit())
    assert retry_job(case.store, job_id)
    assert reconcile(case.store, LIMITS).closed == 0
    assert case.read_shard(job_id).state is ShardState.PENDING


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


def test_old_hosts_are_forgotten(case: JobCase) -> None:
    case.offer_slots(1)
    case.pass_time(7200)
    assert reconcile(case.store, LIMITS).purged == 1


def test_a_step_of_the_reconciler_is_bounded(case: JobCase) -> None:
    few = JobLimits(step_rows=2)
    for n in range(3):
        case.submit(f"{n}", deadline_s=10.0)
    case.pass_time(11)
    passes = [reconcile(case.store, few) for _ in range(2)]
    assert [each.expired for each in passes] == [2, 1]
    assert [each.is_full for each in passes] == [True, False]


def test_a_tenants_live_jobs_are_limited(case: JobCase) -> None:
    set_quota(case, 2)
    case.submit("a", idempotency_key="a")
    case.submit("b")
    with pytest.raises(RequestRefused) as caught:
        case.submit("c")
    assert caught.value.reason is Reason.QUOTA_EXCEEDED
    assert len(case.list_waiting()) == 2
    case.submit("a", idempotency_key="a")
    case.submit("other tenant", tenant=1)


def set_quota(case: JobCase, jobs_max: int) -> None:
    if isinstance(case.store, MemoryJobStore):
        case.store.quotas[case.tenants[0]] = jobs_max
        return
    sql = text("UPDATE tenant SET jobs_max = :n WHERE id = :id")
    case.store.run(lambda tx: tx.session.execute(sql, {"n": jobs_max, "id": case.tenants[0]}))
