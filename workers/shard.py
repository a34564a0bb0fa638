"""One shard of a video on a worker: fetch the file, screen its span, keep the evidence."""

import time
from dataclasses import dataclass
from pathlib import Path

from engine.errors import MediaRejected
from engine.probe import Probe
from engine.results import RejectReason
from engine.sampling import ShardPlan
from engine.screen import lose_shard, screen_shard
from engine.watch import Stage, StageClock
from fakesieve.errors import SourceRefused, Unavailable
from fakesieve.jobs.finish import Finish, finish_shard, score_key
from fakesieve.jobs.rows import Claim
from fakesieve.logging import get_logger
from fakesieve.reasons import Reason
from workers.leases import HeldClaim
from workers.plan_json import plan_from_json, probe_from_json
from workers.remote_backend import RemoteBackend
from workers.retry import Action, ClaimLost, decide_retry
from workers.shard_result import ShardResult
from workers.verdict import end_only_shard
from workers.workplace import Workplace

_log = get_logger(__name__)

# The bytes were whole when they were fetched; what is wrong with the file now happened on this host.
_SCRATCH_FAULTS = {
    RejectReason.SOURCE_CHANGED,
    RejectReason.SOURCE_NOT_FOUND,
    RejectReason.SOURCE_ACCESS_DENIED,
}


def run_shard(place: Workplace, held: HeldClaim) -> Claim | None:
    """Screen one shard and keep what it showed. Returns the claim on the scoring if it was the job's last.

    A shard of which no sample can be decoded is kept as that, so that it takes nothing from the others. The
    only shard of a job is scored at once.
    """
    claim = held.claim
    place.screener.check_pipeline(claim)
    assert claim.media is not None
    assert claim.plan is not None
    probe, plan = probe_from_json(claim.media), plan_from_json(claim.plan)
    # The slab comes first: without one nothing is fetched and nothing decoded.
    held.enter("slab")
    lent = place.screener.process.lend(
        claim.lane,
        place.screener.rules.slab_wait_s,
        subject=f"{claim.key.job_id}/{claim.key.index}",
        is_suspect=claim.attempt > 1,
        check=held.check,
    )
    with lent as backend:
        begun_s = time.monotonic()
        held.enter("fetch")
        limit_bytes = place.screener.settings.limits.size_bytes
        with place.scratch.hold(claim.source, limit_bytes=limit_bytes, check=held.check) as file:
            place.metrics.stage_seconds.labels("fetch").observe(time.monotonic() - begun_s)
            if file.sha256 != probe.sha256:
                seen = "the object has other bytes than when its job was prepared"
                raise SourceRefused(Reason.SOURCE_CHANGED, seen)
            held.check()
            result = screen_file(place, held, file.path, probe, plan, backend)
    # Not asked whether to stop any more: what is done is kept, and a claim that was lost is refused there.
    held.stage = "write"
    if claim.n_shards == 1:
        scoring, is_ours = None, end_only_shard(place, claim, probe, result)
    else:
        scoring, is_ours = _keep_result(place, claim, result.to_bytes())
    if not is_ours:
        raise ClaimLost("the shard was taken over, or its job has ended, while it was screened")
    _log.info("shard.done", **result.timings_ms)
    return scoring


def _keep_result(place: Workplace, claim: Claim, data: bytes) -> tuple[Claim | None, bool]:
    """Write what a shard showed. Returns the claim on the scoring, and whether anything was written."""
    finished = place.end_and_take(
        score_key(claim), lambda taker: finish_shard(place.store, claim, data, taker)
    )
    return finished.following, finished.outcome is not Finish.STALE


def screen_file(
    place: Workplace, held: HeldClaim, path: Path, probe: Probe, plan: ShardPlan, backend: RemoteBackend
) -> ShardResult:
    """Return the evidence of one shard, an empty one with its fault if not one sample can be decoded."""
    screener, clock = place.screener, StageClock()
    fault: MediaRejected | None = None
    try:
        evidence = screen_shard(
            path,
            probe,
            plan,
            screener.detector,
            backend,
            screener.sandbox,
            settings=screener.settings,
            watcher=_ShardWatcher(place, held),
            clock=clock,
        )
    except MediaRejected as rejected:
        _pass_if_doubtful(place, held, rejected)
        fault, evidence = rejected, lose_shard(probe, plan, backend, rejected)
    _count(place, held, backend, clock)
    timings_ms = {stage: ms for stage, ms in clock.timings_ms.items() if stage != "total"}
    return ShardResult(evidence, timings_ms, backend.compute_s, fault)


@dataclass(frozen=True)
class _ShardWatcher:
    """Stops a shard as its claim wants, and one whose decoder died in the middle while it may be tried again.

    Without the latter a decoder that the kernel killed for its memory would leave a verdict on half a video.
    """

    place: Workplace
    held: HeldClaim

    def on_stage(self, stage: Stage) -> None:
        """Stop between two stages, if told to."""
        self.held.on_stage(stage)

    def on_samples(self, done: int, total: int, faces: int) -> None:
        """Stop between two groups of frames, if told to."""
        self.held.on_samples(done, total, faces)

    def on_broken(self, fault: MediaRejected) -> None:
        """Raise the fault while another attempt may see the whole of the span."""
        _pass_if_doubtful(self.place, self.held, fault)


def _pass_if_doubtful(place: Workplace, held: HeldClaim, fault: MediaRejected) -> None:
    """Raise what may go better at another attempt."""
    if fault.reason in _SCRATCH_FAULTS:
        raise Unavailable(Reason.NO_SPACE, f"a fetched file has gone bad: {fault.seen}") from fault
    attempt, most = held.claim.attempt, place.limits.max_attempts
    if decide_retry(fault, attempt, max_attempts=most).action is not Action.END:
        raise fault


def _count(place: Workplace, held: HeldClaim, backend: RemoteBackend, clock: StageClock) -> None:
    for stage in (Stage.DECODE, Stage.DETECT, Stage.CROP, Stage.PREDICT):
        place.metrics.stage_seconds.labels(stage.value).observe(clock.timings_ms[stage.value] / 1000)
    place.metrics.faces.labels(held.claim.lane).inc(backend.faces)
