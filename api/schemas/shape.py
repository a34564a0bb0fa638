"""What all shapes share.

``Answer`` is the mother of what we send, ``Request`` of what we take. Both refuse unknown fields: a caller
who sends ``state`` or ``tenant_id`` is told so, and an answer has no field that its schema does not name.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, Strict

Int = Annotated[int, Strict()]
Bool = Annotated[bool, Strict()]


def _as_utc(time: datetime) -> datetime:
    """Refuse a time without a zone, which could mean any of them."""
    if time.tzinfo is None:
        raise ValueError("a time has a zone, as 2026-01-31T12:00:00Z")
    try:
        return time.astimezone(UTC)
    except OverflowError as fault:
        raise ValueError("that time is beyond the calendar of UTC") from fault


def _write_time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Time = Annotated[
    datetime, AfterValidator(_as_utc), PlainSerializer(_write_time, return_type=str, when_used="json")
]
"""A moment: RFC 3339 in UTC with microseconds, as ``2026-01-31T12:00:00.000000Z``."""


class Answer(BaseModel):
    """What an answer is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Request(BaseModel):
    """What a body of a request is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Done(Answer):
    """The answer of an action that has nothing else to say."""

    object: Literal["done"] = "done"
