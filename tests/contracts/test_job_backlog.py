"""What every job store does with many jobs: hosts, reconciler, batches and quotas."""

import pytest
from sqlalchemy import text

from fakesieve.errors import RequestRefused
from fakesieve.jobs.cancel import cancel_batch, cancel_job, retry_job
from fakesieve.jobs.finish import Finish, fail_job, load_evidence
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.reconcile import BATCH_SAMPLE_MIN, EVIDENCE_AGE_S, BatchPace, Reconciled, reconcile
from fakesieve.jobs.rows import Claim, Refusal, ShardKey
from fakesieve.jobs.states import BatchState, JobState, ShardState
from fakesieve.jobs.submit import NewBatch, NewJob, submit_batch
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.fakes import MemoryJobStore
from tests.job_cases import LEASE_S, LIMITS, JobCase


def read_batch(case: JobCase, batch_id: str):
    return case.store.run(lambda tx: tx.read_batch(batch_id))


def batch_jobs(case: JobCase, size: int, **changes) -> tuple[str, list[str]]:
    jobs = [NewJob(case.tenants[0], VideoRef("videos", f"{n}.mp4")) for n in range(size)]
    done = submit_batch(case.store, NewBatch(case.tenants[0], "list", **changes), jobs)
    return done.batch_id, [each.job_id for each in done.jobs]


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
