"""From a doorbell to a result: claim, do what the shard asks for, and decide on what goes wrong."""

from collections.abc import Callable, Mapping

from engine.errors import EngineError
from fakesieve.errors import FleetError, Unavailable
from fakesieve.jobs.claim import claim_shard, recall_claim, release_shard
from fakesieve.jobs.fan_out import reject_job
from fakesieve.jobs.replan import is_pipeline_gone, replan_job
from fakesieve.jobs.rows import Claim, Refusal, ShardKey
from fakesieve.jobs.states import WorkKind
from fakesieve.logging import bound_fields, get_logger
from workers.leases import HeldClaim, keep_trying
from workers.prepare import prepare_job
from workers.retry import Action, HostDraining, WrongPipeline, decide_retry
from workers.shard import run_shard
from workers.verdict import score_claim
from workers.workplace import Workplace

_log = get_logger(__name__)

# What a piece of work leaves to be done at once by the same slot, leased already.
Duty = Callable[[Workplace, HeldClaim], Claim | None]

_DUTIES: Mapping[WorkKind, Duty] = {
    WorkKind.PREPARE: prepare_job,
    WorkKind.SCREEN: run_shard,
    WorkKind.SCORE: score_claim,
}


def answer_doorbell(place: Workplace, key: ShardKey) -> int:
    """Do the work of a shard if it can be claimed, and what follows at once from it. Raises nothing expected.

    Returns how many pieces of work were done, 0 where there was no claim.

    A job's first shard is begun where the job was prepared, as its file lies there, and its scoring where its
    last shard ended. Either is leased together with what made it possible, and taken back from a host that
    dies just then when the lease has run out.
    """
    if place.draining.is_set():
        return 0
    claim, ran = _claim(place, key), 0
    while claim is not None:
        claim = run_claim(place, claim)
        ran += 1
    return ran


def _claim(place: Workplace, key: ShardKey) -> Claim | None:
    if not place.leases.begin_asking(key):
        return None  # a doubled doorbell, while the first is being answered
    claim: Claim | Refusal = Refusal.UNKNOWN
    try:
        claim = _ask(place, key)
    except Unavailable as fault:  # the doorbell is lost; the reconciler rings again
        _log.warning("shard.not_claimed", job=key.job_id, shard=key.index, seen=fault.seen)
        return None
    finally:
        if isinstance(claim, Refusal):  # a claim is held from now on
            place.leases.end_asking(key)
    if isinstance(claim, Refusal):
        place.metrics.note_refusal(claim)
        _log.debug("shard.refused", job=key.job_id, shard=key.index, refusal=claim)
        return None
    return claim


def _ask(place: Workplace, key: ShardKey) -> Claim | Refusal:
    """Claim a shard. Where no reply comes the claim may have been written: then it is looked up, not lost.

    Raises Unavailable when the database does not answer for a quarter of a lease.
    """

    def ask() -> Claim | Refusal:
        return claim_shard(place.store, key, place.owner, place.limits.lease_s, place.limits)

    def ask_again() -> Claim | Refusal:
        found = recall_claim(place.store, key, place.owner) or ask()
        if found is Refusal.HELD:  # perhaps by the first one, which was written only now
            return recall_claim(place.store, key, place.owner) or found
        return found

    try:
        return ask()
    except Unavailable:
        if place.leases.holds(key):  # what is found may be the claim of that other slot
            raise
    return keep_trying(ask_again, place.limits.lease_s / 4, lambda: place.draining.left_s)


def run_claim(place: Workplace, claim: Claim) -> Claim | None:
    """Do one piece of work to its end, whatever that is. Return the claim on what follows, if any."""
    names = {"job": claim.key.job_id, "shard": claim.key.index, "kind": claim.kind, "attempt": claim.attempt}
    with (
        bound_fields(**names),
        place.leases.hold(claim) as held,
        place.metrics.running.track_inprogress(),
    ):
        place.metrics.note_claim(claim)
        _log.info("shard.claimed", lane=claim.lane, fence=claim.fence)
        try:
            if place.draining.is_set():
                raise HostDraining("the host ends")
            with place.tracer.trace_work(claim):
                following = _DUTIES[claim.kind](place, held)
        except Exception as error:  # noqa: BLE001 - process edge: every error is decided on, none ends the slot
            settle(place, claim, error)
            return None
        place.metrics.work_seconds.labels(claim.kind, claim.lane).observe(held.age_s)
        return following


def settle(place: Workplace, claim: Claim, error: Exception) -> None:
    """Do with a claim what its error calls for."""
    decision = decide_retry(
        error, claim.attempt, max_attempts=place.limits.max_attempts, deliveries=claim.deliveries
    )
    place.metrics.note_fault(decision)
    is_ours = not isinstance(error, EngineError | FleetError) and decision.action is not Action.DROP
    seen, hint = describe(error)
    tell = _log.error if is_ours and not decision.refund else _log.warning
    tell(
        "shard.not_done",
        action=decision.action,
        reason=decision.reason,
        seen=seen,
        refund=decision.refund,
        exc_info=error if is_ours and not decision.refund else None,
    )

    def write() -> bool:
        if isinstance(error, WrongPipeline) and is_pipeline_gone(place.store, claim, place.limits):
            return replan_job(place.store, claim, seen)
        if decision.action is Action.END:
            return reject_job(place.store, claim, decision.reason, seen, hint)
        return release_shard(
            place.store,
            claim,
            decision.reason,
            decision.delay_s,
            refund=decision.refund,
            message=seen,
            limits=place.limits,
        )

    if decision.action is Action.DROP:
        return
    try:
        place.keep_trying(write)
    except Unavailable as fault:  # the lease runs out by itself, at the cost of an attempt
        _log.warning("shard.not_released", seen=fault.seen)


def describe(error: Exception) -> tuple[str, str]:
    """Return what was seen and what to do about it, for the job's row."""
    if isinstance(error, EngineError | FleetError):
        return error.seen, error.hint
    return f"{type(error).__name__}: {error}", ""
