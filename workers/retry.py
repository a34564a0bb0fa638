"""What becomes of a piece of work after an error: a function of the error and the attempt, and nothing else.

The video's fault is final, the machine's is given back without counting, ours is counted and ends loudly. A
decoder's crash or time-out may be either, so it is tried again where it happened before it is believed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from engine.errors import BackendFailed, BundleInvalid, MediaRejected
from engine.errors import Unavailable as EngineUnavailable
from engine.results import RejectReason
from fakesieve.errors import FleetError, SetupRefused, SourceRefused
from fakesieve.errors import Unavailable as FleetUnavailable
from fakesieve.reasons import Reason


class ClaimLost(Exception):
    """The lease went to another worker, or the job has ended: nothing may be written any more."""


class HostDraining(Exception):
    """The host ends and gives back what it has not finished."""


class ShardOverdue(Exception):
    """The watchdog's time for this piece of work is over; ``reason`` says what it hung on."""

    def __init__(self, seen: str, reason: Reason) -> None:
        super().__init__(seen)
        self.reason = reason


class EngineKilled(BackendFailed):
    """Crops of this piece of work, alone in their batch, ended or hung the inference process."""

    def __init__(self, seen: str) -> None:
        super().__init__(
            RejectReason.INTERNAL, seen, "see the worker's log; convert the video and submit the copy"
        )


class WrongPipeline(Exception):
    """The job was planned for another pipeline than this host runs, as in the middle of a roll-out."""


class Action(StrEnum):
    """What is done with the claim."""

    DROP = "drop"  # nothing: it is no longer ours
    GIVE_BACK = "give_back"  # release it, to be tried again after a delay
    END = "end"  # the same would happen again: tell it with its reason


@dataclass(frozen=True)
class RetryDecision:
    """What to do, and what to tell of it."""

    action: Action
    reason: Reason
    delay_s: float = 0.0  # before it may be claimed again
    refund: bool = False  # whether the attempt is not counted

    def __post_init__(self) -> None:
        if self.action is not Action.GIVE_BACK and (self.refund or self.delay_s):
            raise ValueError("only what is given back has a delay or a refund")
        if self.delay_s < 0:
            raise ValueError(f"a delay of {self.delay_s} s")


MAX_ATTEMPTS = 3

# A loaded machine may run out of time or memory once; a crash may be the machine's memory or another file's
# doing until it happened in three fresh processes. An object may be listed before it can be read.
_DOUBTFUL: Mapping[Reason, tuple[int, float]] = {
    Reason.DECODER_CRASHED: (3, 2.0),
    Reason.DECODE_TIMEOUT: (2, 15.0),
    Reason.LIMIT_MEMORY: (2, 15.0),
    Reason.SOURCE_NOT_FOUND: (3, 10.0),
}
"""Attempts after which it is the video's fault, and seconds between them."""

# Long enough that a fleet does not storm a service that is coming back, short beside a lease.
_DELAYS_S: Mapping[Reason, float] = {
    Reason.OBJECT_STORE_UNAVAILABLE: 15.0,
    Reason.NO_SPACE: 30.0,
    Reason.MODEL_INVALID: 30.0,
}
_USUAL_DELAY_S = 5.0
_OTHER_HOST_DELAY_S = 15.0  # with 50 deliveries a roll-out may take 12 minutes before its jobs fail


# An outage of minutes is looked at often; one of hours must not use up the deliveries of a job meanwhile.
# With the usual 50 of them a service may be away for three and a half hours.
_PATIENT_AFTER, _LONGEST_DELAY_S = 4, 300.0


def decide_retry(
    error: BaseException, attempt: int, *, max_attempts: int = MAX_ATTEMPTS, deliveries: int = 1
) -> RetryDecision:
    """Say what becomes of work whose attempt number ``attempt``, counted from 1, ended in ``error``.

    ``deliveries`` counts its claims, those that were refunded too.
    """
    if isinstance(error, ClaimLost):
        return RetryDecision(Action.DROP, Reason.LEASE_LOST)
    if isinstance(error, HostDraining):
        return RetryDecision(Action.GIVE_BACK, Reason.LEASE_LOST, refund=True)
    if isinstance(error, WrongPipeline):
        return RetryDecision(Action.GIVE_BACK, Reason.ENGINE_UNAVAILABLE, _OTHER_HOST_DELAY_S, refund=True)
    if isinstance(error, MediaRejected | SourceRefused):
        return _judge_video(Reason(error.reason), attempt, max_attempts)
    is_of_machine = isinstance(error, EngineUnavailable | FleetUnavailable | BundleInvalid | SetupRefused)
    # Crops that end the process for every shard of the host would do so up to the last delivery.
    if is_of_machine and not isinstance(error, EngineKilled):
        reason = Reason(error.reason)
        doublings = max(0, deliveries - _PATIENT_AFTER)
        delay_s = min(_LONGEST_DELAY_S, _DELAYS_S.get(reason, _USUAL_DELAY_S) * 2.0**doublings)
        return RetryDecision(Action.GIVE_BACK, reason, delay_s, refund=True)
    reason = Reason.INTERNAL
    if isinstance(error, ShardOverdue | FleetError):
        reason = error.reason
    if attempt < max_attempts:
        return RetryDecision(Action.GIVE_BACK, reason, _USUAL_DELAY_S * attempt)
    return RetryDecision(Action.END, reason)


def _judge_video(reason: Reason, attempt: int, max_attempts: int) -> RetryDecision:
    attempts, delay_s = _DOUBTFUL.get(reason, (1, 0.0))
    if attempt < min(attempts, max_attempts):
        return RetryDecision(Action.GIVE_BACK, reason, delay_s)
    return RetryDecision(Action.END, reason)
