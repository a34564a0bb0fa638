"""Failures on the wire: RFC 9457, with a reason of the closed list."""

from pydantic import Field

from api.schemas.shape import Answer
from fakesieve.reasons import Reason


class FieldFault(Answer):
    """One wrong part of a request. ``pointer`` is a JSON pointer into the body, or ``query:name``."""

    pointer: str
    code: str
    detail: str


class ProblemDocument(Answer):
    """What every failure looks like. Programs go by ``reason`` and ``retryable``, people read the rest."""

    type: str = Field(examples=["urn:fakesieve:reason:NOT_FOUND"])
    title: str
    status: int
    detail: str
    instance: str | None = None
    reason: Reason
    hint: str
    retryable: bool
    request_id: str | None = None
    errors: list[FieldFault] = Field(default_factory=list[FieldFault])
