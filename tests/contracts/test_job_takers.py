"""What a job goes on with at once, on Postgres and in memory: claims that come with the end of other work."""

import pytest

from fakesieve.jobs.cancel import cancel_job
from fakesieve.jobs.claim import Taker
from fakesieve.jobs.fan_out import Prepared, fan_out
from fakesieve.jobs.finish import finish_job, finish_only_shard, finish_shard, load_evidence
from fakesieve.jobs.reconcile import reconcile
from fakesieve.jobs.rows import Refusal, ShardKey
from fakesieve.jobs.states import JobState, ShardState, WorkKind
from fakesieve.records.analyses import AnalysisRecord
from tests.job_cases import LEASE_S, LIMITS, MEDIA, JobCase, make_analysis, make_sha

TAKER = Taker("host-1", LEASE_S, LIMITS)


def list_shards(case: JobCase) -> list[ShardKey]:
    """Shards whose doorbells wait, but for those that prepare: nobody rang them here."""
    return [key for key in case.list_waiting() if key.index]


def analyse(case: JobCase, job_id: str) -> AnalysisRecord:
    """An analysis of a job's video by its pipeline."""
    job = case.read_job(job_id)
    return make_analysis(job.tenant_id, job.video_id)


def test_whoever_fans_out_takes_the_first_shard_without_a_doorbell(case: JobCase) -> None:
    claim = case.claim(job_id := case.submit())
    prepared = Prepared(make_sha("x"), 1000, MEDIA, "fp1", ({"shard": 1}, {"shard": 2}))
    first, again = (fan_out(case.store, claim, prepared, taker=TAKER).following for _ in range(2))
    assert first is not None
    assert (first.key, first.kind, first.attempt) == (ShardKey(job_id, 1), WorkKind.SCREEN, 1)
    assert (first.plan, first.n_shards, first.media) == ({"shard": 1}, 2, MEDIA)
    assert again == first
    assert list_shards(case) == [ShardKey(job_id, 2)]
    assert case.claim(job_id, 1, owner="host-2") is Refusal.HELD


def test_a_first_shard_that_was_taken_comes_back_when_its_lease_runs_out(case: JobCase) -> None:
    claim = case.claim(job_id := case.submit())
    fan_out(case.store, claim, Prepared(make_sha("x"), 1000, MEDIA, "fp1", ({},)), taker=TAKER)
    assert list_shards(case) == []
    case.pass_time(LEASE_S + 1)
    assert reconcile(case.store, LIMITS).taken_back == 1
    assert list_shards(case) == [ShardKey(job_id, 1)]
    assert case.claim(job_id, 1, owner="host-2").attempt == 2


def test_the_last_finisher_takes_the_scoring(case: JobCase) -> None:
    case.prepare(job_id := case.submit(), shards=2)
    case.screen(job_id, 1)
    last = case.claim(job_id, 2)
    scoring, again = (finish_shard(case.store, last, b"e", TAKER).following for _ in range(2))
    assert scoring is not None
    assert (scoring.key, scoring.kind, scoring.attempt) == (ShardKey(job_id, 3), WorkKind.SCORE, 1)
    assert again == scoring
    assert ShardKey(job_id, 3) not in list_shards(case)
    assert finish_job(case.store, job_id, analyse(case, job_id), scoring.fence)
    assert case.read_job(job_id).state is JobState.SUCCEEDED


def test_an_only_shard_ends_its_job_in_one_step(case: JobCase) -> None:
    case.prepare(job_id := case.submit())
    claim = case.claim(job_id, 1)
    assert finish_only_shard(case.store, claim, analyse(case, job_id))
    job = case.read_job(job_id)
    assert (job.state, job.n_done, job.reused_analysis) == (JobState.SUCCEEDED, 1, False)
    assert case.read_shard(job_id, 1).state is ShardState.DONE
    assert case.read_shard(job_id, 2) is None
    assert load_evidence(case.store, job_id) == []
    assert finish_only_shard(case.store, claim, analyse(case, job_id))  # its first reply was lost
    assert case.read_job(job_id).n_done == 1


def test_late_worker_cannot_end_a_job_of_one_shard(case: JobCase) -> None:
    case.prepare(job_id := case.submit())
    late = case.claim(job_id, 1)
    case.pass_time(LEASE_S + 1)
    new = case.claim(job_id, 1, owner="host-2")
    assert not finish_only_shard(case.store, late, analyse(case, job_id))
    assert case.read_job(job_id).state is JobState.RUNNING
    assert finish_only_shard(case.store, new, analyse(case, job_id))


def test_an_only_shard_of_a_cancelled_job_leaves_no_analysis(case: JobCase) -> None:
    case.prepare(job_id := case.submit())
    claim, analysis = case.claim(job_id, 1), analyse(case, job_id)
    cancel_job(case.store, job_id)
    assert not finish_only_shard(case.store, claim, analysis)
    assert case.read_job(job_id).analysis_id is None


def test_an_only_shard_takes_no_analysis_of_another_pipeline(case: JobCase) -> None:
    case.prepare(job_id := case.submit())
    claim, job = case.claim(job_id, 1), case.read_job(job_id)
    with pytest.raises(ValueError, match="another video or pipeline"):
        finish_only_shard(case.store, claim, make_analysis(job.tenant_id, job.video_id, "fp2"))
    assert case.read_job(job_id).n_done == 0
    case.prepare(several := case.submit("two"), shards=2)
    with pytest.raises(ValueError, match="not the only shard"):
        finish_only_shard(case.store, case.claim(several, 1), analyse(case, several))
