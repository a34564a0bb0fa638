"""Analyses whose truth is known, and how well reviewers decide on them, on the wire."""

from typing import Annotated, Literal

from pydantic import Field

from api.schemas.reviews import IdText
from api.schemas.shape import Answer, Request, Time
from fakesieve.values.reviews import KNOWN_NOTE_LETTERS_MAX, Disposition, KnownDraft, Truth


class NewKnownBody(Request):
    """What is known for certain of the video of an analysis."""

    analysis_id: IdText
    truth: Truth
    note: Annotated[
        str,
        Field(min_length=1, max_length=KNOWN_NOTE_LETTERS_MAX, description="How it is known."),
    ]

    def read(self) -> KnownDraft:
        """Return what to keep."""
        return KnownDraft(self.truth, self.note)


class KnownOut(Answer):
    """An analysis whose truth is known."""

    object: Literal["known_analysis"] = "known_analysis"
    analysis_id: str
    truth: Truth
    note: str
    declared_by: str
    create_time: Time


class MissOut(Answer):
    """A sure word on a known item that was wrong."""

    review_id: str
    analysis_id: str
    disposition: Disposition
    truth: Truth
    decide_time: Time


class AccuracyOut(Answer):
    """How a reviewer decides on known items.

    ``share`` is that of right among right and wrong words, and ``interval`` its 95 % interval by Wilson; both
    are null with fewer than 20 such words. ``misses`` are the newest that were wrong.
    """

    reviewer: str
    decided: int
    right: int
    wrong: int
    inconclusive: int
    escalated: int
    skipped: int
    share: float | None
    interval: tuple[float, float] | None
    misses: list[MissOut]


class AccuracyListOut(Answer):
    """How well each reviewer decides on known items, as their decisions stand now."""

    object: Literal["reviewer_accuracy"] = "reviewer_accuracy"
    reviewers: list[AccuracyOut]
