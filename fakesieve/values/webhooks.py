"""Choices and limits of webhooks, and what an endpoint is made of."""

from dataclasses import dataclass
from enum import StrEnum

from fakesieve.texts import is_storable

DESCRIPTION_LETTERS_MAX = 500
OVERLAP_S = 86_400
OVERLAP_S_MAX = 7 * 86_400


class EventType(StrEnum):
    """What may have happened. New values may come; a receiver ignores those that it does not know."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    JOB_EXPIRED = "job.expired"
    BATCH_COMPLETED = "batch.completed"
    VERDICT_CHANGED = "analysis.verdict_changed"
    REVIEW_DECIDED = "review.decided"
    MODEL_PROMOTED = "model.promoted"
    VIDEO_PURGED = "video.purged"
    TEST = "webhook.test"


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    LEASED = "leased"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class AttemptFault(StrEnum):
    """Why a try was not a delivery, where no status says so."""

    URL_NOT_ALLOWED = "url_not_allowed"
    NAME_NOT_FOUND = "name_not_found"
    CONNECT_FAILED = "connect_failed"
    TLS_FAILED = "tls_failed"
    TIMEOUT = "timeout"
    BROKEN_ANSWER = "broken_answer"
    REDIRECT = "redirect"
    STATUS = "status"
    LOST = "lost"  # the sender died; whether it arrived is unknown


class DisableReason(StrEnum):
    """Why an endpoint gets nothing."""

    OWNER = "owner"
    GONE = "gone"  # it answered 410
    FAILING = "failing"  # nothing has arrived for days


@dataclass(frozen=True)
class EndpointDraft:
    """Where to tell and what. No types means all of them, also those that are yet to come."""

    url: str
    event_types: tuple[EventType, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        if len(self.description) > DESCRIPTION_LETTERS_MAX or not is_storable(self.description):
            raise ValueError(f"a description has up to {DESCRIPTION_LETTERS_MAX} letters, and no NUL")
