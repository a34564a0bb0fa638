"""What brings work back, and what must not stand in its way, on Postgres and in memory."""

import pytest

from fakesieve.jobs.cancel import cancel_batch, cancel_job, end_all_jobs, retry_job, retry_jobs
from fakesieve.jobs.claim import extend_claims, recall_claim, release_shard
from fakesieve.jobs.fan_out import reject_job
from fakesieve.jobs.finish import fail_job, finish_job
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.reconcile import BATCH_SAMPLE_MIN, SHARD_AGE_S, reconcile
from fakesieve.jobs.replan import is_pipeline_gone, replan_job
from fakesieve.jobs.rows import Claim, EndedJob, HostBeat, HostModel, JobEnd, ShardKey
from fakesieve.jobs.states import BatchState, JobState, ShardState
from fakesieve.jobs.submit import NewBatch, NewJob, submit_batch
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.models import ModelFacts
from tests.job_cases import LEASE_S, LIMITS, CutOff, JobCase, make_analysis


def submit_list(case: JobCase, size: int, name: str = "list") -> tuple[str, list[str]]:
    jobs = [NewJob(case.tenants[0], VideoRef("videos", f"{n}.mp4")) for n in range(size)]
    done = submit_batch(case.store, NewBatch(case.tenants[0], name), jobs)
    return done.batch_id, [each.job_id for each in done.jobs]


def test_a_retried_job_of_a_cancelled_batch_goes_on(case: JobCase) -> None:
    batch_id, jobs = submit_list(case, 3)
    cancel_batch(case.store, batch_id)
    case.pass_time(60)
    assert retry_job(case.store, jobs[1])
    reconcile(case.store, LIMITS)
    states = [case.read_job(job_id).state for job_id in jobs]
    assert states == [JobState.CANCELLED, JobState.QUEUED, JobState.CANCELLED]


def test_a_retried_job_of_a_failed_batch_goes_on(case: JobCase) -> None:
    batch_id, jobs = submit_list(case, 2)
    for job_id in jobs:
        fail_job(case.store, job_id, Reason.SOURCE_ACCESS_DENIED, "403")
    reconcile(case.store, LIMITS)
    assert case.store.run(lambda tx: tx.read_batch(batch_id)).state is BatchState.FAILED
    case.pass_time(60)
    assert retry_job(case.store, jobs[0])
    reconcile(case.store, LIMITS)
    assert case.read_job(jobs[0]).state is JobState.QUEUED


def read_batch_state(case: JobCase, batch_id: str) -> BatchState:
    return case.store.run(lambda tx: tx.read_batch(batch_id)).state


def test_a_batch_that_is_retried_runs_until_its_jobs_have_ended_again(case: JobCase) -> None:
    batch_id, jobs = submit_list(case, 2)
    cancel_batch(case.store, batch_id)
    case.pass_time(60)
    assert retry_jobs(case.store, case.tenants[0], jobs) == 2
    assert read_batch_state(case, batch_id) is BatchState.RUNNING
    assert reconcile(case.store, LIMITS).settled == 0
    for job_id in jobs:
        case.finish(job_id, content=job_id)
    assert reconcile(case.store, LIMITS).settled == 1
    assert read_batch_state(case, batch_id) is BatchState.SUCCEEDED
    assert not retry_job(case.store, jobs[0])  # what is left as it was opens no batch
    assert read_batch_state(case, batch_id) is BatchState.SUCCEEDED


def test_failures_before_a_retry_do_not_end_it(case: JobCase) -> None:
    jobs = [NewJob(case.tenants[0], VideoRef("videos", f"{n}.mp4")) for n in range(BATCH_SAMPLE_MIN + 2)]
    done = submit_batch(case.store, NewBatch(case.tenants[0], "list", max_failure_rate=0.5), jobs)
    for each in done.jobs[:BATCH_SAMPLE_MIN]:
        fail_job(case.store, each.job_id, Reason.NOT_VIDEO, "seen")
    reconcile(case.store, LIMITS)
    assert read_batch_state(case, done.batch_id) is BatchState.FAILED
    case.pass_time(60)
    rest = [each.job_id for each in done.jobs[BATCH_SAMPLE_MIN:]]
    assert retry_jobs(case.store, case.tenants[0], rest) == 2
    reconcile(case.store, LIMITS)
    assert [case.read_job(job_id).state for job_id in rest] == [JobState.QUEUED] * 2
    assert read_batch_state(case, done.batch_id) is BatchState.RUNNING
    for job_id in rest:
        case.finish(job_id, content=job_id)
    reconcile(case.store, LIMITS)
    assert read_batch_state(case, done.batch_id) is BatchState.FAILED  # 20 of 22


def test_what_still_cancels_an_ended_batch_spares_jobs_that_were_retried(case: JobCase) -> None:
    batch_id, jobs = submit_list(case, 2)
    cancel_batch(case.store, batch_id)
    assert retry_jobs(case.store, case.tenants[0], jobs) == 2
    late = JobEnd(JobState.CANCELLED, Reason.CANCELLED_BY_CALLER)
    assert end_all_jobs(case.store, batch_id, late) == 0
    assert cancel_batch(case.store, batch_id) == 2  # asked for anew


def test_batches_that_were_cut_off_hide_no_other(case: JobCase) -> None:
    for n in range(100):
        with pytest.raises(ConnectionError, match="cut off"):
            submit_batch(CutOff(case.store, 1), NewBatch(case.tenants[0], f"cut off {n}"), [])
    batch_id, jobs = submit_list(case, 1)
    cancel_job(case.store, jobs[0])
    reconcile(case.store, LIMITS)
    assert case.store.run(lambda tx: tx.read_batch(batch_id)).state.is_terminal


def test_the_doorbells_of_cancelled_jobs_stand_in_nobodys_way(case: JobCase) -> None:
    batch_id, _ = submit_list(case, 30)
    single = case.submit("single")
    cancel_batch(case.store, batch_id)
    cancel_job(case.store, single)
    wanted = case.submit("wanted")
    assert case.list_waiting() == [ShardKey(wanted, 0)]
    case.offer_slots(1)
    assert case.relay() == [ShardKey(wanted, 0)]


def test_the_doorbells_of_expired_jobs_stand_in_nobodys_way(case: JobCase) -> None:
    for n in range(30):
        case.submit(f"{n}", deadline_s=100.0)
    wanted = case.submit("wanted")
    case.pass_time(101)
    reconcile(case.store, LIMITS)
    case.offer_slots(1)
    assert case.relay() == [ShardKey(wanted, 0)]


def test_delayed_work_lets_the_next_pass(case: JobCase) -> None:
    # Claimed without its doorbell, as the shard behind a preparation is, and given back with a delay.
    for n in range(5):
        claim = case.claim(case.submit(f"{n}"))
        release_shard(case.store, claim, Reason.NO_SPACE, 60.0, refund=True)
    wanted = case.submit("wanted")
    case.offer_slots(1)
    assert case.relay() == [ShardKey(wanted, 0)]


def test_a_job_planned_anew_keeps_its_deadline(case: JobCase) -> None:
    job_id = case.submit(deadline_s=1000.0)
    for _ in range(3):
        case.prepare(job_id)
        case.pass_time(300)
        assert replan_job(case.store, case.claim(job_id, 1), "another pipeline")
        assert case.read_job(job_id).state is JobState.QUEUED
    case.pass_time(101)
    reconcile(case.store, LIMITS)
    assert case.read_job(job_id).reason is Reason.DEADLINE_EXCEEDED


@pytest.mark.parametrize(("old", "new", "is_gone"), [(99, 1, False), (1, 99, True), (0, 1, True)])
def test_a_pipeline_is_gone_when_hardly_a_slot_runs_it_whatever_was_given_back(
    case: JobCase, old: int, new: int, is_gone: bool
) -> None:
    case.prepare(job_id := case.submit(), shards=2)
    case.screen(job_id, 1)
    for _ in range(4):
        release_shard(case.store, case.claim(job_id, 2), Reason.OBJECT_STORE_UNAVAILABLE, 0.0, refund=True)
    facts = ModelFacts("lv-compact", "a" * 64, "onnxruntime", "f32")
    for slots, fingerprint, is_draining in ((old, "fp1", False), (new, "fp2", False), (50, "fp1", True)):
        if slots:
            model = HostModel(facts, fingerprint)
            beat = HostBeat(f"{fingerprint} {is_draining}", slots, is_draining, "one", "1", model=model)
            case.store.run(lambda tx, beat=beat: tx.beat_host(beat))
    assert is_pipeline_gone(case.store, case.claim(job_id, 2), LIMITS) is is_gone


def test_the_last_claims_of_a_job_do_not_wait_for_its_pipeline(case: JobCase) -> None:
    few = JobLimits(max_deliveries=12)
    case.prepare(job_id := case.submit())
    model = HostModel(ModelFacts("lv-compact", "a" * 64, "onnxruntime", "f32"), "fp1")
    case.store.run(lambda tx: tx.beat_host(HostBeat("host-1", 9, False, "one", "1", model=model)))
    for _ in range(3):
        claim = case.claim(job_id, 1)
        assert not is_pipeline_gone(case.store, claim, few)
        release_shard(case.store, claim, Reason.OBJECT_STORE_UNAVAILABLE, 0.0, refund=True)
    assert is_pipeline_gone(case.store, case.claim(job_id, 1), few)


def test_a_claim_is_looked_up_by_its_owner_while_it_lasts(case: JobCase) -> None:
    case.prepare(job_id := case.submit())
    key, claim = ShardKey(job_id, 1), case.claim(job_id, 1, owner="host-1")
    assert recall_claim(case.store, key, "host-1") == claim
    assert recall_claim(case.store, key, "host-2") is None
    assert recall_claim(case.store, ShardKey(job_id, 2), "host-1") is None
    case.pass_time(LEASE_S + 1)
    assert recall_claim(case.store, key, "host-1") is None


def test_a_claim_that_was_given_back_or_whose_job_ended_is_not_found(case: JobCase) -> None:
    first, second = case.submit("a"), case.submit("b")
    claim = case.claim(first)
    release_shard(case.store, claim, Reason.NO_SPACE, 0.0, refund=True)
    assert recall_claim(case.store, claim.key, "host-1") is None
    claim = case.claim(second)
    cancel_job(case.store, second)
    assert recall_claim(case.store, claim.key, "host-1") is None


def test_live_jobs_are_told_from_those_that_have_ended_or_are_gone(case: JobCase) -> None:
    queued, running, ended = case.submit("a"), case.submit("b"), case.submit("c")
    case.claim(running)
    cancel_job(case.store, ended)
    asked = {queued, running, ended, "job_00000000000000000000000000"}
    assert case.store.run(lambda tx: tx.find_live_jobs(asked)) == {queued, running}


def test_work_of_a_host_that_is_known_to_be_dead_comes_back_at_once(case: JobCase) -> None:
    dead, other = case.submit("a"), case.submit("b")
    claim = case.claim(dead, owner="host-1")
    case.claim(other, owner="host-2")
    case.offer_slots(3, "host-1")
    case.offer_slots(1, "host-2")
    assert case.store.run(lambda tx: tx.end_leases("host-1")) == 1
    assert case.store.run(lambda tx: tx.end_leases("host-0")) == 0
    assert case.store.run(lambda tx: tx.count_slots(60.0)) == 1
    case.pass_time(0.01)
    assert reconcile(case.store, LIMITS).taken_back == 1
    assert case.read_shard(other).state is ShardState.LEASED
    again = case.claim(dead, owner="host-3")
    assert (again.attempt, again.fence) == (2, claim.fence + 1)
    assert extend_claims(case.store, "host-1", [claim], LEASE_S) == {claim.key}  # should it live after all


def test_words_that_no_database_holds_are_kept_without_them(case: JobCase) -> None:
    claim = case.claim(job_id := case.submit())
    assert release_shard(case.store, claim, Reason.INTERNAL, 0.0, refund=False, message="a\0b\ud800c")
    assert case.read_shard(job_id).last_message == "a\ufffdb\ufffdc"
    assert reject_job(case.store, case.claim(job_id), Reason.CORRUPT, "box \0\0", "hint \0")
    assert case.read_job(job_id).reason is Reason.CORRUPT


def test_a_scorer_of_an_earlier_run_ends_nothing(case: JobCase) -> None:
    # It may have read the evidence of the new run while that was half done.
    case.prepare(job_id := case.submit(), content="same")
    case.screen(job_id, 1)
    old = case.claim(job_id, 2)
    cancel_job(case.store, job_id)
    assert retry_job(case.store, job_id)
    case.prepare(job_id, content="same")
    case.screen(job_id, 1)
    analysis = make_analysis(old.tenant_id, old.video_id)
    assert not finish_job(case.store, job_id, analysis, old.fence)
    assert case.read_job(job_id).state is JobState.RUNNING
    new = case.claim(job_id, 2)
    assert finish_job(case.store, job_id, analysis, new.fence)


def test_a_scorer_whose_lease_is_over_still_ends_its_job(case: JobCase) -> None:
    case.prepare(job_id := case.submit())
    case.screen(job_id, 1)
    claim = case.claim(job_id, 2)
    case.pass_time(LEASE_S + 1)
    reconcile(case.store, LIMITS)
    assert finish_job(case.store, job_id, make_analysis(claim.tenant_id, claim.video_id), claim.fence)
    assert case.read_job(job_id).state is JobState.SUCCEEDED


def test_a_job_that_ended_without_an_analysis_is_told_once_when_nobody_works_on_it(case: JobCase) -> None:
    told: list[EndedJob] = []

    def go_on() -> list[tuple[str, JobState, Reason]]:
        told.clear()
        reconcile(case.store, LIMITS, tell=told.append)
        assert [each.deadline for each in told] == [case.read_job(each.id).deadline for each in told]
        return sorted((each.id, each.state, each.reason) for each in told)

    case.finish(case.submit("done"), content="done")
    cancelled, failed, expired = (
        case.submit("cancelled"), case.submit("failed"), case.submit("expired", deadline_s=10.0)
    )  # fmt: skip
    case.prepare(cancelled, shards=2, content="cancelled")
    assert isinstance(case.claim(cancelled, 1), Claim)
    assert reject_job(case.store, case.claim(failed), Reason.CORRUPT, "seen", "hint")
    cancel_job(case.store, cancelled)
    assert go_on() == [(failed, JobState.FAILED, Reason.CORRUPT)]
    case.pass_time(11)
    assert go_on() == [(expired, JobState.EXPIRED, Reason.DEADLINE_EXCEEDED)]
    case.pass_time(LEASE_S + 1)
    assert go_on() == [(cancelled, JobState.CANCELLED, Reason.CANCELLED_BY_CALLER)]
    assert go_on() == []
    assert retry_job(case.store, failed)
    assert go_on() == []
    cancel_job(case.store, failed)
    assert go_on() == [(failed, JobState.CANCELLED, Reason.CANCELLED_BY_CALLER)]


@pytest.mark.parametrize("given_back", [Reason.OBJECT_STORE_UNAVAILABLE, Reason.REQUEST_IN_PROGRESS])
def test_a_shard_that_killed_its_last_worker_is_not_said_to_have_met_what_an_earlier_one_did(
    case: JobCase, given_back: Reason
) -> None:
    job_id = case.submit()
    for _ in range(LIMITS.max_attempts - 1):
        assert isinstance(case.claim(job_id), Claim)
        case.pass_time(LEASE_S + 1)
        assert reconcile(case.store, LIMITS).taken_back == 1
    assert release_shard(case.store, case.claim(job_id), given_back, 0.0, refund=True, message="later")
    assert isinstance(case.claim(job_id), Claim)
    case.pass_time(LEASE_S + 1)
    assert reconcile(case.store, LIMITS).exhausted == 1
    assert case.read_job(job_id).reason is Reason.ATTEMPTS_EXHAUSTED
    shard = case.read_shard(job_id)
    assert shard.last_reason is Reason.ATTEMPTS_EXHAUSTED
    assert shard.last_message == "shard 0 gave up after 3 attempts: the workers died or lost their leases"


def test_shards_of_a_job_that_ended_long_ago_are_gone_and_it_can_be_retried(case: JobCase) -> None:
    case.finish(done := case.submit("done"))
    case.prepare(failed := case.submit("failed"), shards=2)
    fail_job(case.store, failed, Reason.INTERNAL, "seen")
    late = case.claim(live := case.submit("live"))
    case.pass_time(SHARD_AGE_S + 1)
    assert reconcile(case.store, LIMITS).forgotten == 2
    assert case.read_shard(done, 1) is None
    assert case.read_job(done).state is JobState.SUCCEEDED
    assert case.read_shard(live).fence == late.fence
    before = case.read_job(failed).fence
    assert retry_job(case.store, failed)
    row = case.read_shard(failed)
    assert (row.state, row.attempts, row.fence) == (ShardState.PENDING, 0, before + 1)
    assert case.claim(failed).fence == before + 2
