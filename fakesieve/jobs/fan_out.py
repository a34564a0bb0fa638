"""From a prepared job to its shards, or to the answer that is there already; or to a refusal of the file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from engine.policy import Policy
from fakesieve.jobs.claim import DEFAULT_LIMITS, Taker, give_back
from fakesieve.jobs.ends import end_job, failed_by
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import Claim, Fault, JobEnd, JobPlan, JobRow, Mark, ShardDraft, ShardKey, VideoDraft
from fakesieve.jobs.states import JobState, WorkKind
from fakesieve.jobs.store import JobStore, JobTransaction
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason

SHA256_HEX_LENGTH = 64
WAIT_FIRST_S, WAIT_MOST_S = 5.0, 60.0


@dataclass(frozen=True)
class Prepared:
    """What preparing has found out: which bytes these are, what the probe says, and what to sample.

    ``fingerprint`` names the pipeline that is about to score them. ``costs`` predicts the work of each plan
    in any one unit (samples, say); without it every plan costs the same. An analysis that is reused was
    perhaps judged by another policy, and gets a verdict of ``policy`` too. ``source`` is the object as it was
    read, pinned; absent where it was read for an earlier claim.
    """

    sha256: str
    size_bytes: int
    media: Mapping[str, object]
    fingerprint: str
    plans: tuple[Mapping[str, object], ...]
    costs: tuple[float, ...] = ()
    policy: Policy | None = None
    source: VideoRef | None = None

    def __post_init__(self) -> None:
        if len(self.sha256) != SHA256_HEX_LENGTH:
            raise ValueError(f"sha256 has {SHA256_HEX_LENGTH} hexadecimal digits, is {self.sha256!r}")
        if self.size_bytes < 1 or not self.plans or not self.fingerprint:
            raise ValueError("a prepared video has bytes, a fingerprint and at least one plan")
        if self.costs and len(self.costs) != len(self.plans):
            raise ValueError(f"{len(self.costs)} costs for {len(self.plans)} plans")
        if not all(0.0 <= cost < math.inf for cost in self.costs):
            raise ValueError(f"a cost is a number from 0, not {self.costs}")
        if self.source is not None and not self.source.is_pinned:
            raise ValueError(f"what was read is a version of the object, {self.source.uri} is a place")


class FanOut(StrEnum):
    """What came of a prepared job."""

    FANNED = "fanned"
    REUSED = "reused"  # the same bytes were scored by the same pipeline; the job has that analysis
    STALE = "stale"  # the claim is not current, or the job has ended
    WAITING = "waiting"  # another job screens the same bytes; this one was given back to look again


@dataclass(frozen=True)
class Fanned:
    """What came of a prepared job, and the claim on its first shard where a taker got it."""

    outcome: FanOut
    following: Claim | None = None

    def __post_init__(self) -> None:
        if self.following is not None and self.outcome is not FanOut.FANNED:
            raise ValueError(f"a shard to begin with in a job that is {self.outcome}")


class _Twin(Exception):
    """Another job screens the same bytes. Undoes what was written about this one."""


def fan_out(
    store: JobStore,
    claim: Claim,
    prepared: Prepared,
    limits: JobLimits = DEFAULT_LIMITS,
    taker: Taker | None = None,
) -> Fanned:
    """Write video and shards in one transaction, or end the job with the analysis that exists.

    ``taker`` gets the first shard, without a doorbell; the others get theirs. While another job of the tenant
    screens the same bytes by the same pipeline, in no later lane, this one is given back without costing an
    attempt. It looks again later and later, and screens the bytes itself when half of its deliveries are
    spent, so that nothing depends on the other one.
    """
    may_wait = claim.deliveries <= limits.max_deliveries // 2

    def work(tx: JobTransaction) -> Fanned:
        mark, job = tx.mark_and_lock(claim.key, claim.fence)
        if job is None or mark is Mark.STALE:
            return Fanned(FanOut.STALE)
        if mark is Mark.REPEATED:
            return _repeat(tx, job, taker)
        if job.state is not JobState.RUNNING:
            return Fanned(FanOut.STALE)
        return _fan_out_job(tx, job, prepared, taker, may_wait=may_wait)

    try:
        return store.run(work)
    except _Twin as twin:
        is_ours = _wait(store, claim, prepared, str(twin), limits)
        return Fanned(FanOut.WAITING if is_ours else FanOut.STALE)


def _wait(store: JobStore, claim: Claim, prepared: Prepared, seen: str, limits: JobLimits) -> bool:
    """Give the job back, with what is known of its object, so that it need not be fetched to look again."""
    delay_s = min(WAIT_MOST_S, WAIT_FIRST_S * 2.0 ** (claim.deliveries - 1))
    fault = Fault(Reason.REQUEST_IN_PROGRESS, seen)

    def work(tx: JobTransaction) -> bool:
        if not give_back(tx, claim, fault, delay_s, refund=True, limits=limits):
            return False
        job = tx.lock_job(claim.key.job_id)
        if job is not None and job.state is JobState.RUNNING:
            tx.plan_job(job.id, _note_video(tx, job, prepared), 0)
        return True

    return store.run(work)


def _repeat(tx: JobTransaction, job: JobRow, taker: Taker | None) -> Fanned:
    """The first reply was lost; say again what it said."""
    if job.reused_analysis and job.state is JobState.SUCCEEDED:
        return Fanned(FanOut.REUSED)
    if not job.n_shards or job.state is not JobState.RUNNING:
        return Fanned(FanOut.STALE)
    return Fanned(FanOut.FANNED, taker.recall(tx, ShardKey(job.id, 1)) if taker else None)


def _fan_out_job(
    tx: JobTransaction, job: JobRow, prepared: Prepared, taker: Taker | None, *, may_wait: bool
) -> Fanned:
    plan = _note_video(tx, job, prepared)
    # Noting the video has locked its row, so two of them look one after the other.
    same = tx.find_same(job, plan.video_id, plan.fingerprint)
    analysis_id = same.analysis_id
    if analysis_id is None and same.job_id is not None and may_wait:
        raise _Twin(f"{same.job_id} screens the same bytes, its analysis is waited for")
    if analysis_id is not None:
        tx.plan_job(job.id, plan, 0)
        if prepared.policy is not None:
            tx.judge_analysis(analysis_id, prepared.policy)
        end_job(tx, job.id, JobEnd(JobState.SUCCEEDED, analysis_id=analysis_id, reused_analysis=True))
        return Fanned(FanOut.REUSED)
    drafts = _draft_shards(job, prepared)
    tx.open_shards(job.id, plan, drafts)
    first = taker.take(tx, drafts[0].key) if taker else None
    tx.insert_doorbells([draft.key for draft in (drafts[1:] if first else drafts)])
    return Fanned(FanOut.FANNED, first)


def _note_video(tx: JobTransaction, job: JobRow, prepared: Prepared) -> JobPlan:
    """Note the video and where it was seen; return what the job is to know of it.

    A job of a place alone is from now on about the bytes that were read there: whatever replaces them is
    another video, which takes neither this one's place nor its job.
    """
    source = job.source if job.source.is_pinned or prepared.source is None else prepared.source
    draft = VideoDraft(
        job.tenant_id,
        prepared.sha256,
        prepared.size_bytes,
        prepared.media,
        source,
        job.external_id,
        job.source_kind,
        job.asked_time,
    )
    return JobPlan(source, tx.upsert_video(draft), prepared.fingerprint, prepared.media)


def _draft_shards(job: JobRow, prepared: Prepared) -> list[ShardDraft]:
    return [
        ShardDraft(
            ShardKey(job.id, index),
            WorkKind.SCREEN,
            job.tenant_id,
            job.lane,
            plan=plan,
            cost=prepared.costs[index - 1] if prepared.costs else 1.0,
            fence=job.fence,
        )
        for index, plan in enumerate(prepared.plans, 1)
    ]


def reject_job(store: JobStore, claim: Claim, reason: Reason, message: str, hint: str = "") -> bool:
    """Fail a job for good because of its file, whichever of its shards found out. False when stale."""
    fault = Fault(reason, message, hint)

    def work(tx: JobTransaction) -> bool:
        if tx.mark_shard_failed(claim.key, claim.fence, fault) is Mark.STALE:
            return False
        end_job(tx, claim.key.job_id, failed_by(fault))
        return True

    return store.run(work)
