"""What every job store does with one job, on Postgres and in memory: the same scenarios against both."""

import pytest

from fakesieve.errors import RequestRefused
from fakesieve.jobs.cancel import cancel_job, retry_job
from fakesieve.jobs.claim import claim_shard, extend_claims, release_shard
from fakesieve.jobs.fan_out import WAIT_FIRST_S, WAIT_MOST_S, FanOut, Prepared, fan_out, reject_job
from fakesieve.jobs.finish import Finish, fail_job, finish_job, finish_shard, load_evidence
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.reconcile import reconcile
from fakesieve.jobs.rows import Claim, Refusal, ShardKey
from fakesieve.jobs.states import JobState, Lane, ShardState, WorkKind
from fakesieve.jobs.submit import NewBatch, NewJob, submit_batch, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.job_cases import LEASE_S, LIMITS, MEDIA, JobCase, make_analysis, make_sha

SOURCE = VideoRef("videos", "clip.mp4", etag="e1")


def test_a_submitted_job_waits_with_one_doorbell(case: JobCase) -> None:
    job_id = case.submit(lane=Lane.INTERACTIVE)
    job = case.read_job(job_id)
    assert (job.state, job.lane, job.source.key) == (JobState.QUEUED, Lane.INTERACTIVE, "clip.mp4")
    assert case.list_waiting() == [ShardKey(job_id, 0)]


def test_one_key_is_one_job(case: JobCase) -> None:
    first = submit_video(case.store, NewJob(case.tenants[0], SOURCE, idempotency_key="k"))
    second = submit_video(case.store, NewJob(case.tenants[0], SOURCE, idempotency_key="k"))
    assert (first.is_new, second.is_new, second.job_id) == (True, False, first.job_id)
    assert len(case.list_waiting()) == 1


def test_tenants_have_keys_of_their_own(case: JobCase) -> None:
    first = submit_video(case.store, NewJob(case.tenants[0], SOURCE, idempotency_key="k"))
    second = submit_video(case.store, NewJob(case.tenants[1], SOURCE, idempotency_key="k"))
    assert second.is_new
    assert second.job_id != first.job_id


def test_a_key_used_for_another_request_is_refused(case: JobCase) -> None:
    submit_video(case.store, NewJob(case.tenants[0], SOURCE, idempotency_key="k"))
    other = NewJob(case.tenants[0], VideoRef("videos", "other.mp4"), idempotency_key="k")
    with pytest.raises(RequestRefused) as caught:
        submit_video(case.store, other)
    assert caught.value.reason is Reason.IDEMPOTENCY_CONFLICT


def test_a_list_finds_the_jobs_whose_keys_are_known_and_its_own(case: JobCase) -> None:
    tenant = case.tenants[0]
    known = submit_video(case.store, NewJob(tenant, SOURCE, idempotency_key="a"))
    jobs = [NewJob(tenant, SOURCE, idempotency_key=key, deadline_s=60) for key in ("a", "b", "b", "c")]
    done = submit_batch(case.store, NewBatch(tenant, "list", lane=Lane.STANDARD), jobs).jobs
    assert [each.is_new for each in done] == [False, True, False, True]
    assert (done[0].job_id, done[1].job_id) == (known.job_id, done[2].job_id)
    assert len({each.job_id for each in done}) == 3
    assert {key.job_id for key in case.list_waiting()} == {each.job_id for each in done}
    other = NewJob(tenant, VideoRef("videos", "other.mp4"), idempotency_key="b")
    with pytest.raises(RequestRefused, match="'b' was used for another request"):
        submit_batch(case.store, NewBatch(tenant, "list"), [other])


def test_a_claim_counts_the_attempt_and_starts_the_job(case: JobCase) -> None:
    claim = case.claim(job_id := case.submit())
    assert isinstance(claim, Claim)
    assert (claim.kind, claim.fence, claim.attempt) == (WorkKind.PREPARE, 1, 1)
    assert (claim.tenant_id, claim.source.etag, claim.plan) == (case.tenants[0], "e1", None)
    assert case.read_job(job_id).state is JobState.RUNNING
    assert case.read_shard(job_id).attempts == 1


def test_a_held_shard_is_refused_to_others(case: JobCase) -> None:
    case.claim(job_id := case.submit())
    assert case.claim(job_id, owner="host-2") is Refusal.HELD


def test_a_lease_that_ran_out_is_taken_over_under_a_higher_fence(case: JobCase) -> None:
    first = case.claim(job_id := case.submit())
    case.pass_time(LEASE_S + 1)
    second = case.claim(job_id, owner="host-2")
    assert (second.fence, second.attempt) == (first.fence + 1, 2)


def test_unknown_shards_are_refused(case: JobCase) -> None:
    job_id = case.submit()
    assert case.claim(job_id, 7) is Refusal.UNKNOWN
    assert case.claim("job_none") is Refusal.UNKNOWN


def test_no_claim_after_the_last_attempt(case: JobCase) -> None:
    job_id = case.submit()
    for attempt in (1, 2, 3):
        assert case.claim(job_id).attempt == attempt
        case.pass_time(LEASE_S + 1)
    assert case.claim(job_id) is Refusal.EXHAUSTED
    assert case.read_shard(job_id).attempts == 3


def test_no_claim_past_the_deadline(case: JobCase) -> None:
    job_id = case.submit(deadline_s=100.0)
    case.pass_time(101)
    assert case.claim(job_id) is Refusal.ENDED


def test_a_clean_give_back_costs_no_attempt_and_waits(case: JobCase) -> None:
    claim = case.claim(job_id := case.submit())
    assert release_shard(case.store, claim, Reason.NO_SPACE, 30.0, refund=True)
    shard = case.read_shard(job_id)
    assert (shard.state, shard.attempts, shard.deliveries) == (ShardState.PENDING, 0, 1)
    assert case.claim(job_id) is Refusal.NOT_YET
    case.pass_time(31)
    assert case.claim(job_id).attempt == 1


def test_a_stale_claim_gives_nothing_back(case: JobCase) -> None:
    claim = case.claim(job_id := case.submit())
    case.pass_time(LEASE_S + 1)
    case.claim(job_id, owner="host-2")
    assert not release_shard(case.store, claim, Reason.NO_SPACE, 0.0, refund=True)
    assert case.read_shard(job_id).attempts == 2


def test_the_last_bad_attempt_fails_the_job_with_its_reason(case: JobCase) -> None:
    job_id = case.submit()
    for _ in range(LIMITS.max_attempts):
        claim = case.claim(job_id)
        assert release_shard(
            case.store, claim, Reason.DECODER_CRASHED, 0.0, refund=False, message="signal 11"
        )
    job = case.read_job(job_id)
    assert (job.state, job.reason) == (JobState.FAILED, Reason.DECODER_CRASHED)
    assert case.read_shard(job_id).state is ShardState.FAILED


def test_refunds_come_to_an_end(case: JobCase) -> None:
    limits = JobLimits(max_deliveries=4)
    job_id = case.submit()
    for _ in range(limits.max_deliveries):
        claim = claim_shard(case.store, ShardKey(job_id, 0), "host-1", LEASE_S, limits)
        release_shard(case.store, claim, Reason.OBJECT_STORE_UNAVAILABLE, 0.0, refund=True, limits=limits)
    job = case.read_job(job_id)
    assert (job.state, job.reason) == (JobState.FAILED, Reason.OBJECT_STORE_UNAVAILABLE)


def test_extending_keeps_a_lease(case: JobCase) -> None:
    claim = case.claim(job_id := case.submit())
    case.pass_time(LEASE_S / 2 + 1)
    assert extend_claims(case.store, "host-1", [claim], LEASE_S) == frozenset()
    case.pass_time(LEASE_S / 2 + 1)
    assert case.claim(job_id, owner="host-2") is Refusal.HELD


def test_extending_tells_what_was_lost_and_what_was_cancelled(case: JobCase) -> None:
    kept, lost, cancelled = (case.claim(case.submit(name)) for name in ("a", "b", "c"))
    case.pass_time(LEASE_S / 2)
    extend_claims(case.store, "host-1", [kept, cancelled], LEASE_S)
    case.pass_time(LEASE_S / 2 + 1)
    case.claim(lost.key.job_id, owner="host-2")
    cancel_job(case.store, cancelled.key.job_id)
    told = extend_claims(case.store, "host-1", [kept, lost, cancelled], LEASE_S)
    assert told == {lost.key, cancelled.key}


def test_fan_out_opens_every_shard_with_its_plan(case: JobCase) -> None:
    job_id = case.submit()
    assert case.prepare(job_id, shards=3) is FanOut.FANNED
    job = case.read_job(job_id)
    assert (job.n_shards, job.n_done, job.fingerprint) == (3, 0, "fp1")
    claim = case.claim(job_id, 2)
    assert (claim.kind, claim.plan, claim.media) == (WorkKind.SCREEN, {"shard": 2}, MEDIA)
    assert (claim.n_shards, claim.video_id) == (3, job.video_id)
    assert case.list_waiting().count(ShardKey(job_id, 3)) == 1


def test_fan_out_is_said_again_after_a_lost_reply(case: JobCase) -> None:
    claim = case.claim(job_id := case.submit())
    prepared = Prepared(make_sha("x"), 1000, MEDIA, "fp1", ({}, {}))
    assert fan_out(case.store, claim, prepared).outcome is FanOut.FANNED
    assert fan_out(case.store, claim, prepared).outcome is FanOut.FANNED
    assert case.read_job(job_id).n_shards == 2


def test_a_stale_prepare_fans_nothing_out(case: JobCase) -> None:
    stale = case.claim(job_id := case.submit())
    case.pass_time(LEASE_S + 1)
    case.claim(job_id, owner="host-2")
    prepared = Prepared(make_sha("x"), 1000, MEDIA, "fp1", ({},))
    assert fan_out(case.store, stale, prepared).outcome is FanOut.STALE
    assert case.read_job(job_id).n_shards == 0


def test_the_same_bytes_are_not_scored_twice(case: JobCase) -> None:
    case.finish(first := case.submit("one"), content="same")
    second = case.submit("two")
    assert case.prepare(second, content="same") is FanOut.REUSED
    job = case.read_job(second)
    assert (job.state, job.reused_analysis) == (JobState.SUCCEEDED, True)
    assert job.analysis_id == case.read_job(first).analysis_id
    assert not case.read_job(first).reused_analysis


def test_other_tenants_share_no_analysis(case: JobCase) -> None:
    case.finish(case.submit("one"), content="same")
    assert case.prepare(case.submit("two", tenant=1), content="same") is FanOut.FANNED


def test_two_jobs_for_the_same_bytes_at_once_have_one_analysis(case: JobCase) -> None:
    # Whoever is in a hurry does not wait for a job of a later lane.
    first, second = case.submit("one", lane=Lane.BULK), case.submit("two", lane=Lane.STANDARD)
    for job_id in (first, second):
        assert case.prepare(job_id, content="same") is FanOut.FANNED
        assert case.screen(job_id, 1) is Finish.LAST
    assert case.score(first)
    assert case.score(second)
    jobs = [case.read_job(job_id) for job_id in (first, second)]
    assert jobs[0].analysis_id == jobs[1].analysis_id
    assert [job.reused_analysis for job in jobs] == [False, True]


def test_a_job_waits_while_another_screens_the_same_bytes(case: JobCase) -> None:
    first, second = case.submit("one"), case.submit("two")
    case.prepare(first, shards=2, content="same")
    assert case.prepare(second, content="same") is FanOut.WAITING
    row = case.read_shard(second)
    assert (row.state, row.attempts, row.deliveries) == (ShardState.PENDING, 0, 1)
    assert first in (row.last_message or "")
    assert case.read_job(second).n_shards == 0
    case.pass_time(WAIT_FIRST_S + 1)
    assert case.prepare(second, content="same") is FanOut.WAITING
    case.screen(first, 1)
    case.screen(first, 2)
    assert case.score(first)
    case.pass_time(2 * WAIT_FIRST_S + 1)
    assert case.prepare(second, content="same") is FanOut.REUSED
    assert case.read_job(second).analysis_id == case.read_job(first).analysis_id


def test_a_job_screens_by_itself_when_the_other_one_fails(case: JobCase) -> None:
    first, second = case.submit("one"), case.submit("two")
    case.prepare(first, content="same")
    assert case.prepare(second, content="same") is FanOut.WAITING
    fail_job(case.store, first, Reason.INTERNAL, "seen")
    case.pass_time(WAIT_FIRST_S + 1)
    assert case.prepare(second, content="same") is FanOut.FANNED


def test_a_job_does_not_wait_for_ever(case: JobCase) -> None:
    first, second = case.submit("one"), case.submit("two")
    case.prepare(first, content="same")
    for _ in range(LIMITS.max_deliveries // 2):
        assert case.prepare(second, content="same") is FanOut.WAITING
        case.pass_time(WAIT_MOST_S + 1)
    assert case.prepare(second, content="same") is FanOut.FANNED
    assert case.read_shard(second).attempts == 1


def test_tenants_and_pipelines_do_not_wait_for_one_another(case: JobCase) -> None:
    case.prepare(case.submit("one"), content="same")
    assert case.prepare(case.submit("two", tenant=1), content="same") is FanOut.FANNED


def test_the_last_shard_says_so_once_all_are_done(case: JobCase) -> None:
    case.prepare(job_id := case.submit(), shards=3)
    assert [case.screen(job_id, n) for n in (3, 1, 2)] == [Finish.DONE, Finish.DONE, Finish.LAST]
    assert case.read_job(job_id).n_done == 3
    assert load_evidence(case.store, job_id) == [b"evidence 1", b"evidence 2", b"evidence 3"]


def test_finishing_again_after_a_lost_reply_counts_once(case: JobCase) -> None:
    case.prepare(job_id := case.submit(), shards=2)
    claim = case.claim(job_id, 1)
    assert [finish_shard(case.store, claim, b"e").outcome for _ in range(2)] == [Finish.DONE, Finish.DONE]
    last = case.claim(job_id, 2)
    assert [finish_shard(case.store, last, b"e").outcome for _ in range(2)] == [Finish.LAST, Finish.LAST]
    assert case.read_job(job_id).n_done == 2


@pytest.mark.parametrize("pause_s", [0.0, LEASE_S + 1])
def test_ending_a_job_again_after_a_lost_reply_says_the_same(case: JobCase, pause_s: float) -> None:
    case.prepare(job_id := case.submit(), shards=2)
    case.screen(job_id, 1)
    case.screen(job_id, 2)
    claim = case.claim(job_id, 3)
    case.pass_time(pause_s)
    reconcile(case.store, LIMITS)
    analysis = make_analysis(claim.tenant_id, claim.video_id)
    assert [finish_job(case.store, job_id, analysis, claim.fence) for _ in range(2)] == [True, True]
    assert not finish_job(case.store, job_id, analysis, claim.fence + 1)  # who never held it


def test_late_worker_cannot_finish_a_shard(case: JobCase) -> None:
    case.prepare(job_id := case.submit(), shards=2)
    late = case.claim(job_id, 1)
    case.pass_time(LEASE_S + 1)
    new = case.claim(job_id, 1, owner="host-2")
    assert finish_shard(case.store, late, b"old").outcome is Finish.STALE
    assert finish_shard(case.store, new, b"new").outcome is Finish.DONE
    assert load_evidence(case.store, job_id) == [b"new"]


def test_scoring_waits_for_whoever_claims_it(case: JobCase) -> None:
    case.prepare(job_id := case.submit())
    case.screen(job_id, 1)
    claim = case.claim(job_id, 2)
    assert (claim.kind, claim.attempt) == (WorkKind.SCORE, 1)
    assert case.score(job_id)
    assert case.read_shard(job_id, 2).state is ShardState.DONE
    assert case.read_job(job_id).state is JobState.SUCCEEDED


def test_a_job_is_finished_once(case: JobCase) -> None:
    case.finish(job_id := case.submit())
    assert not case.score(job_id)


def test_no_score_before_all_evidence_is_there(case: JobCase) -> None:
    case.prepare(job_id := case.submit(), shards=2)
    case.screen(job_id, 1)
    assert not case.score(job_id)
    assert case.read_job(job_id).state is JobState.RUNNING


def test_an_analysis_of_another_video_is_not_taken(case: JobCase) -> None:
    case.finish(other := case.submit("other"))
    case.prepare(job_id := case.submit())
    case.screen(job_id, 1)
    wrong = make_analysis(case.tenants[0], case.read_job(other).video_id)
    assert not finish_job(case.store, job_id, wrong)
    assert case.read_job(job_id).state is JobState.RUNNING


def test_a_refused_file_ends_the_job_with_its_reason(case: JobCase) -> None:
    claim = case.claim(job_id := case.submit())
    assert reject_job(case.store, claim, Reason.NOT_VIDEO, "a text file")
    job = case.read_job(job_id)
    assert (job.state, job.reason) == (JobState.FAILED, Reason.NOT_VIDEO)
    assert case.claim(job_id) is Refusal.DONE


def test_a_stale_claim_refuses_no_file(case: JobCase) -> None:
    stale = case.claim(job_id := case.submit())
    case.pass_time(LEASE_S + 1)
    case.claim(job_id, owner="host-2")
    assert not reject_job(case.store, stale, Reason.NOT_VIDEO, "a text file")
    assert case.read_job(job_id).state is JobState.RUNNING


def test_failing_a_job_works_once(case: JobCase) -> None:
    job_id = case.submit()
    assert fail_job(case.store, job_id, Reason.INTERNAL, "seen")
    assert not fail_job(case.store, job_id, Reason.INTERNAL, "seen")
    assert case.read_job(job_id).reason is Reason.INTERNAL


def test_a_cancelled_job_takes_no_result(case: JobCase) -> None:
    case.prepare(job_id := case.submit(), shards=2)
    claim = case.claim(job_id, 1)
    assert cancel_job(case.store, job_id)
    assert finish_shard(case.store, claim, b"e").outcome is Finish.STALE
    assert case.claim(job_id, 2) is Refusal.ENDED
    assert not cancel_job(case.store, job_id)
    assert case.read_job(job_id).reason is Reason.CANCELLED_BY_CALLER


def test_a_retried_job_starts_anew_under_higher_fences(case: JobCase) -> None:
    case.prepare(job_id := case.submit(), shards=2, content="old bytes")
    late = case.claim(job_id, 1)
    case.screen(job_id, 2)
    fail_job(case.store, job_id, Reason.SOURCE_CHANGED, "replaced")
    assert retry_job(case.store, job_id)
    job = case.read_job(job_id)
    assert (job.state, job.n_shards, job.n_done, job.reason) == (JobState.QUEUED, 0, 0, None)
    assert load_evidence(case.store, job_id) == []
    assert case.prepare(job_id, shards=2, content="new bytes") is FanOut.FANNED
    new = case.claim(job_id, 1)
    assert new.fence > late.fence
    assert finish_shard(case.store, late, b"old").outcome is Finish.STALE
    assert finish_shard(case.store, new, b"new").outcome is Finish.DONE


def test_only_what_did_not_succeed_is_retried(case: JobCase) -> None:
    case.finish(done := case.submit("done"))
    assert not retry_job(case.store, done)
    assert not retry_job(case.store, case.submit("live"))
    assert not retry_job(case.store, "job_none")
