"""From evidence to a verdict: shards are counted as they finish, and the last one's worker scores the job."""

from enum import StrEnum

from fakesieve.jobs.ends import end_job, failed_by
from fakesieve.jobs.rows import Claim, Fault, JobEnd, JobRow, Mark, ShardDraft, ShardKey
from fakesieve.jobs.states import JobState, WorkKind
from fakesieve.jobs.store import JobStore, JobTransaction
from fakesieve.reasons import Reason
from fakesieve.records.analyses import AnalysisRecord

# The last finisher claims the scoring without being rung. Only if it died does the doorbell find it pending.
SCORE_DOORBELL_DELAY_S = 5.0
_SCORED_LATE = Fault(Reason.LEASE_LOST, "scored by a worker whose lease had run out")


class Finish(StrEnum):
    """What came of a finished shard."""

    STALE = "stale"  # the claim is not current, or the job has ended: drop the result
    DONE = "done"
    LAST = "last"  # all evidence is there: claim ``score_key`` and score the job


def score_key(claim: Claim) -> ShardKey:
    """The shard of the job that joins its evidence."""
    return ShardKey(claim.key.job_id, claim.n_shards + 1)


def finish_shard(store: JobStore, claim: Claim, evidence: bytes) -> Finish:
    """Keep the evidence and count the shard, in one transaction under the claim's fence.

    Calling it again after a lost reply gives the same answer and counts nothing twice.
    """
    if claim.kind is not WorkKind.SCREEN:
        raise ValueError(f"a {claim.kind} shard leaves no evidence")

    def work(tx: JobTransaction) -> Finish:
        mark = tx.mark_shard_done(claim.key, claim.fence, evidence)
        if mark is Mark.STALE:
            return Finish.STALE
        is_new = mark is Mark.WRITTEN
        job = tx.count_done(claim.key.job_id) if is_new else tx.read_job(claim.key.job_id)
        if job is None or job.state is not JobState.RUNNING:
            return Finish.STALE
        if job.n_done < job.n_shards:
            return Finish.DONE
        if is_new:
            _open_scoring(tx, job)
        return Finish.LAST

    return store.run(work)


def _open_scoring(tx: JobTransaction, job: JobRow) -> None:
    key = ShardKey(job.id, job.n_shards + 1)
    tx.insert_shards([ShardDraft(key, WorkKind.SCORE, job.tenant_id, job.lane, fence=job.fence)])
    tx.insert_doorbells([key], SCORE_DOORBELL_DELAY_S)


def load_evidence(store: JobStore, job_id: str) -> list[bytes]:
    """Return the evidence of all ``screen`` shards in the order of their plans."""
    return store.run(lambda tx: tx.load_evidence(job_id))


def finish_job(store: JobStore, job_id: str, analysis: AnalysisRecord, fence: int | None = None) -> bool:
    """Store the analysis with its verdict, end the job, bill it and announce it, in one transaction.

    False when nothing was written: the job has ended already, or is not the one that this was made for. Where
    another job has stored an analysis of the same video by the same pipeline, this one takes that.
    ``fence`` is that of the scorer's claim: who was overtaken, by another scorer or a retry, writes nothing.
    """

    def work(tx: JobTransaction) -> bool:
        shard = tx.lock_score_shard(job_id)
        job = tx.lock_job(job_id)
        if shard is None or job is None or not _fits(job, analysis) or fence not in (None, shard.fence):
            return False
        analysis_id, is_new = tx.store_analysis(analysis)
        end = JobEnd(JobState.SUCCEEDED, analysis_id=analysis_id, reused_analysis=not is_new)
        ended = end_job(tx, job_id, end)
        if tx.mark_shard_done(shard.key, shard.fence, None) is not Mark.WRITTEN:
            tx.fail_shard(shard.key, _SCORED_LATE)
        if is_new and ended is not None:
            tx.insert_usage(ended)
        return ended is not None

    return store.run(work)


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
