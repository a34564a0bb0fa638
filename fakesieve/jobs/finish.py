"""From evidence to a verdict: shards are counted as they finish, and the last one's worker scores the job.

A job of one shard is scored where that was screened, and ends in the transaction that would have kept its
evidence.
"""

from dataclasses import dataclass
from enum import StrEnum

from fakesieve.jobs.claim import Taker
from fakesieve.jobs.ends import end_job, failed_by
from fakesieve.jobs.rows import Claim, Fault, JobEnd, JobRow, Mark, ShardDraft, ShardKey
from fakesieve.jobs.states import JobState, WorkKind
from fakesieve.jobs.store import JobStore, JobTransaction
from fakesieve.reasons import Reason
from fakesieve.records.analyses import AnalysisRecord

_SCORED_LATE = Fault(Reason.LEASE_LOST, "scored by a worker whose lease had run out")


class Finish(StrEnum):
    """What came of a finished shard."""

    STALE = "stale"  # the claim is not current, or the job has ended: drop the result
    DONE = "done"
    LAST = "last"  # all evidence is there, and the job can be scored


@dataclass(frozen=True)
class Finished:
    """What came of a finished shard, and the claim on the scoring of its job where a taker got it."""

    outcome: Finish
    following: Claim | None = None

    def __post_init__(self) -> None:
        if self.following is not None and self.outcome is not Finish.LAST:
            raise ValueError("the scoring of a job that is not all done")


def score_key(claim: Claim) -> ShardKey:
    """The shard of the job that joins its evidence."""
    return ShardKey(claim.key.job_id, claim.n_shards + 1)


def finish_shard(store: JobStore, claim: Claim, evidence: bytes, taker: Taker | None = None) -> Finished:
    """Keep the evidence and count the shard, in one transaction under the claim's fence.

    ``taker`` gets the scoring after the last one; without it a doorbell tells of it. Calling this again
    after a lost reply gives the same answer and counts nothing twice.
    """
    if claim.kind is not WorkKind.SCREEN:
        raise ValueError(f"a {claim.kind} shard leaves no evidence")

    def work(tx: JobTransaction) -> Finished:
        mark, job = tx.mark_and_count(claim.key, claim.fence, evidence)
        if mark is Mark.STALE or job is None or job.state is not JobState.RUNNING:
            return Finished(Finish.STALE)
        if job.n_done < job.n_shards:
            return Finished(Finish.DONE)
        if mark is Mark.WRITTEN:
            return Finished(Finish.LAST, _open_scoring(tx, job, taker))
        return Finished(Finish.LAST, taker.recall(tx, score_key(claim)) if taker else None)

    return store.run(work)


def _open_scoring(tx: JobTransaction, job: JobRow, taker: Taker | None) -> Claim | None:
    key = ShardKey(job.id, job.n_shards + 1)
    tx.insert_shards([ShardDraft(key, WorkKind.SCORE, job.tenant_id, job.lane, fence=job.fence)])
    scoring = taker.take(tx, key) if taker else None
    if scoring is None:
        tx.insert_doorbells([key])
    return scoring


def load_evidence(store: JobStore, job_id: str) -> list[bytes]:
    """Return the evidence of all ``screen`` shards in the order of their plans."""
    return store.run_alone(lambda tx: tx.load_evidence(job_id))


def finish_job(store: JobStore, job_id: str, analysis: AnalysisRecord, fence: int | None = None) -> bool:
    """Store the analysis with its verdict, end the job, bill it and announce it, in one transaction.

    False when nothing was written: the job has ended already, or is not the one that this was made for. Where
    another job has stored an analysis of the same video by the same pipeline, this one takes that.
    ``fence`` is that of the scorer's claim: who was overtaken, by another scorer or a retry, writes nothing.
    With it, calling this again after a lost reply gives the same answer.
    """

    def work(tx: JobTransaction) -> bool:
        shard = tx.lock_score_shard(job_id)
        job = tx.lock_job(job_id)
        if shard is None or job is None or fence not in (None, shard.fence):
            return False
        if fence is not None and job.state is JobState.SUCCEEDED:
            return True  # under this fence nobody else could end it so: the first reply was lost
        if not _fits(job, analysis):
            return False
        is_ended = _end_with(tx, job_id, analysis)
        if tx.mark_shard_done(shard.key, shard.fence, None) is not Mark.WRITTEN:
            tx.fail_shard(shard.key, _SCORED_LATE)
        return is_ended

    return store.run(work)


def finish_only_shard(store: JobStore, claim: Claim, analysis: AnalysisRecord) -> bool:
    """Do for the only shard of a job what ``finish_shard`` and ``finish_job`` do, in one transaction.

    Its evidence is not kept, as nobody else needs it, and there is no shard for the scoring. False when the
    claim is not current, or the job has ended. Calling it again after a lost reply gives the same answer.
    """
    if claim.kind is not WorkKind.SCREEN or claim.n_shards != 1:
        raise ValueError(f"{claim.key} is not the only shard of its job")

    def work(tx: JobTransaction) -> bool:
        mark, job = tx.mark_and_count(claim.key, claim.fence, None)
        if mark is Mark.STALE or job is None:
            return False
        if mark is Mark.REPEATED:
            return job.state is JobState.SUCCEEDED
        if job.state is not JobState.RUNNING:
            return False
        if not _fits(job, analysis):
            raise ValueError(f"an analysis of another video or pipeline than {claim.key.job_id}")
        return _end_with(tx, job.id, analysis)

    return store.run(work)


def _end_with(tx: JobTransaction, job_id: str, analysis: AnalysisRecord) -> bool:
    """Store the analysis and end the locked job with it; bill it if the analysis is new."""
    analysis_id, is_new = tx.store_analysis(analysis)
    end = JobEnd(JobState.SUCCEEDED, analysis_id=analysis_id, reused_analysis=not is_new)
    return end_job(tx, job_id, end, is_billed=is_new) is not None


def _fits(job: JobRow, analysis: AnalysisRecord) -> bool:
    """Whether the analysis is of this run of the job: a retried job may have found other bytes."""
    return (
        job.state is JobState.RUNNING
        and (job.video_id, job.fingerprint) == (analysis.video_id, analysis.fingerprint)
        and 0 < job.n_shards == job.n_done
    )


def fail_job(store: JobStore, job_id: str, reason: Reason, message: str, hint: str = "") -> bool:
    """Fail a live job, whatever its shards do; False when it has ended already."""
    end = failed_by(Fault(reason, message, hint))
    return store.run(lambda tx: end_job(tx, job_id, end) is not None)
