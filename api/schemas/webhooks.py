"""Webhooks on the wire."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from api.schemas.shape import Answer, Int, Request, Time
from fakesieve.values.webhooks import (
    DESCRIPTION_LETTERS_MAX,
    OVERLAP_S,
    OVERLAP_S_MAX,
    AttemptFault,
    DeliveryState,
    DisableReason,
    EndpointDraft,
    EventType,
)
from fakesieve.webhooks.addresses import URL_LETTERS_MAX


class WebhookBody(Request):
    """Where to tell and what. No types means all of them, also those that are yet to come."""

    url: Annotated[
        str,
        Field(min_length=1, max_length=URL_LETTERS_MAX, examples=["https://hooks.example.com/fakesieve"]),
    ]
    event_types: Annotated[list[EventType], Field(max_length=len(EventType))] = Field(
        default_factory=list[EventType]
    )
    description: Annotated[str, Field(max_length=DESCRIPTION_LETTERS_MAX)] = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.read()
        return self

    def read(self) -> EndpointDraft:
        """Return what to make."""
        return EndpointDraft(self.url, tuple(set(self.event_types)), self.description)


class RotateBody(Request):
    """How long the old secret signs beside the new one."""

    overlap_s: Annotated[Int, Field(ge=0, le=OVERLAP_S_MAX)] = OVERLAP_S


class WebhookOut(Answer):
    """An endpoint. Its secret is not here: it was shown when it was made."""

    object: Literal["webhook"] = "webhook"
    id: str
    url: str
    description: str
    event_types: list[EventType]
    is_enabled: bool
    disable_reason: DisableReason | None
    failing_since: Time | None
    create_time: Time


class NewWebhookOut(WebhookOut):
    """An endpoint just made. ``secret`` is shown this once; a request sent again gets null."""

    secret: str | None


class SecretOut(Answer):
    """A new secret, shown this once; a request sent again gets null."""

    object: Literal["webhook_secret"] = "webhook_secret"
    webhook_id: str
    secret: str | None


class TryOut(Answer):
    """One try at a delivery. Without an end it runs; ``lost`` is one whose sender died."""

    number: int
    start_time: Time
    end_time: Time | None
    duration_ms: int | None
    status: int | None
    fault: AttemptFault | None
    answer: str | None


class DeliveryOut(Answer):
    """One event on its way to one endpoint. ``event_id`` is the ``webhook-id`` of the message."""

    object: Literal["webhook_delivery"] = "webhook_delivery"
    id: str
    webhook_id: str
    event_id: str
    event_type: EventType
    state: DeliveryState
    attempts: list[TryOut]
    next_try_time: Time | None
    end_time: Time | None
    create_time: Time
