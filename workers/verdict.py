"""The last piece of work of a job: read all evidence, score it, decide, and store the analysis."""

from collections.abc import Callable

from engine.probe import Probe
from fakesieve.jobs.fan_out import reject_job
from fakesieve.jobs.finish import finish_job, finish_only_shard, load_evidence
from fakesieve.jobs.rows import Claim
from fakesieve.jobs.states import JobState
from fakesieve.logging import get_logger
from fakesieve.reasons import Reason
from fakesieve.records.analyses import AnalysisRecord
from workers.leases import HeldClaim
from workers.plan_json import probe_from_json
from workers.retry import Action, ClaimLost, RetryDecision
from workers.scoring import score_job
from workers.shard_result import ShardResult, find_fault
from workers.workplace import Workplace

_log = get_logger(__name__)


def score_claim(place: Workplace, held: HeldClaim) -> None:
    """End a job whose shards are all done, with a verdict or with the reason of a file that shows nothing."""
    claim = held.claim
    place.screener.check_pipeline(claim)
    assert claim.media is not None
    held.enter("score")
    job_id = claim.key.job_id
    results = [ShardResult.from_bytes(data) for data in load_evidence(place.store, job_id)]
    if len(results) != claim.n_shards:
        raise ClaimLost("the job was begun anew while its evidence was read")
    probe = probe_from_json(claim.media)
    if not _end_job(
        place, claim, probe, results, lambda record: finish_job(place.store, job_id, record, claim.fence)
    ):
        _log.info("job.ended_before")


def end_only_shard(place: Workplace, claim: Claim, probe: Probe, result: ShardResult) -> bool:
    """End a job of one shard, which was screened just now; false when the claim is not current any more."""
    return _end_job(
        place, claim, probe, [result], lambda record: finish_only_shard(place.store, claim, record)
    )


def _end_job(
    place: Workplace,
    claim: Claim,
    probe: Probe,
    results: list[ShardResult],
    finish: Callable[[AnalysisRecord], bool],
) -> bool:
    """Write the score of what the shards have found, or why there is none; false when nothing was written."""
    fault = find_fault(results)
    if fault is not None:
        reason = Reason(fault.reason)
        if not place.keep_trying(lambda: reject_job(place.store, claim, reason, fault.seen, fault.hint)):
            return False
        place.metrics.note_fault(RetryDecision(Action.END, reason))
        _log.info("job.ended", reason=reason.value)  # its trace is ended by the reconciler
        return True
    assert claim.video_id is not None
    with place.metrics.stage_seconds.labels("score").time():
        record = score_job(claim.tenant_id, claim.video_id, probe, results, place.screener.by)
    if not place.keep_trying(lambda: finish(record)):
        return False
    _note(place, record)
    inference_s = sum(result.inference_s for result in results)
    place.metrics.job_inference_seconds.observe(inference_s)
    outcome = record.outcome.value
    place.tracer.end_job(
        claim.key.job_id,
        claim.deadline,
        {
            "fakesieve.state": JobState.SUCCEEDED.value,
            "fakesieve.outcome": outcome,
            "fakesieve.inference_s": inference_s,
        },
    )
    _log.info("job.ended", outcome=outcome, inference_s=inference_s)
    return True


def _note(place: Workplace, record: AnalysisRecord) -> None:
    place.metrics.note_outcome(record.outcome, record.verdict.value)
