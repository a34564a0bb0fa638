"""Choices, limits and drafts of reviews: what a queue is made of, and what is handed in for an item."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar, cast

from engine.results import FaceRegion, Outcome, VerdictValue
from fakesieve.texts import is_storable

Value = TypeVar("Value", bound=StrEnum)
COMMENT_LETTERS_MAX = 4000
POLICY_REF_LETTERS_MAX = 200
QUEUE_NAME_LETTERS_MAX = 100
RULE_TAGS_MAX = 20
LEASE_S = 900
REGION_SHARE_MIN = 0.5
KNOWN_SHARE_MAX = 0.2
KNOWN_NOTE_LETTERS_MAX = 1000


class Disposition(StrEnum):
    """What a person says of a video or of one face in it."""

    CONFIRMED_MANIPULATED = "confirmed_manipulated"
    CONFIRMED_AUTHENTIC = "confirmed_authentic"
    INCONCLUSIVE = "inconclusive"
    ESCALATED = "escalated"


class Truth(StrEnum):
    """What is known for certain of a video, spelt as a decision that says so."""

    CONFIRMED_MANIPULATED = Disposition.CONFIRMED_MANIPULATED.value
    CONFIRMED_AUTHENTIC = Disposition.CONFIRMED_AUTHENTIC.value


class ReviewState(StrEnum):
    """Where an item stands. ``skipped`` is one that so many people passed over that it is offered no more."""

    OPEN = "open"
    CLAIMED = "claimed"
    DECIDED = "decided"
    SKIPPED = "skipped"


class ReviewKind(StrEnum):
    """Why a video is looked at."""

    FIRST = "first"
    SECOND_OPINION = "second_opinion"  # somebody else looks again, without seeing what the first one said
    APPEAL = "appeal"  # whoever the decision was about objects


class EntryKind(StrEnum):
    """What a row of ``review_decision`` is."""

    DECISION = "decision"
    BLIND = "blind"  # what was said before the score was shown
    SKIP = "skip"
    UNDO = "undo"
    FEEDBACK = "feedback"  # what a caller reports about a result


class ReasonCode(StrEnum):
    """Why somebody decided or skipped. ``other`` needs a comment."""

    VISIBLE_ARTEFACTS = "visible_artefacts"
    INCONSISTENT_MOTION = "inconsistent_motion"
    LIPS_AND_SOUND_DISAGREE = "lips_and_sound_disagree"
    ORIGINAL_FOUND = "original_found"  # the same material exists without the manipulation
    DISCLOSED = "disclosed"  # whoever published it says that it is made
    SOURCE_VERIFIED = "source_verified"
    NO_SIGN_FOUND = "no_sign_found"
    KNOWN_FALSE_ALARM = "known_false_alarm"  # such as make-up, a filter, heavy compression
    QUALITY_TOO_LOW = "quality_too_low"
    NEEDS_EXPERT = "needs_expert"
    CONFLICT_OF_INTEREST = "conflict_of_interest"
    OTHER = "other"


class AutomatedMeans(StrEnum):
    """How much machines had a part in a decision, as a statement of reasons must say (DSA, Article 17)."""

    NONE = "none"
    PARTIAL = "partial"
    FULL = "full"


class FeedbackCategory(StrEnum):
    """What a caller says of a result that it was given."""

    FALSE_POSITIVE = "false_positive"
    FALSE_NEGATIVE = "false_negative"
    CONFIRMATION = "confirmation"
    OTHER = "other"


class QueueOrder(StrEnum):
    """Which item of a queue is offered first."""

    OLDEST = "oldest"
    HIGHEST_SCORE = "highest_score"
    NEAREST_MIDDLE = "nearest_middle"  # where a decision moves the thresholds most


@dataclass(frozen=True)
class QueueRule:
    """A filter over analyses. An empty list does not restrict; all parts must hold.

    ``sample_rate`` keeps that share of the matches, always the same ones: with ``score_max`` just under a
    threshold it shows people what the policy lets pass.
    """

    verdicts: tuple[VerdictValue, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    score_min: float | None = None
    score_max: float | None = None
    coverage_max: float | None = None
    region: FaceRegion | None = None  # a face has this part among those that look forged ...
    region_share_min: float = REGION_SHARE_MIN  # ... with at least this share of it
    tags: tuple[tuple[str, str], ...] = ()
    since: datetime | None = None
    sample_rate: float = 1.0

    def __post_init__(self) -> None:
        shares = {
            "score_min": self.score_min,
            "score_max": self.score_max,
            "coverage_max": self.coverage_max,
            "region_share_min": self.region_share_min,
            "sample_rate": self.sample_rate,
        }
        for name, value in shares.items():
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}, outside 0 to 1")
        if self.score_min is not None and self.score_max is not None and self.score_min > self.score_max:
            raise ValueError("score_min lies above score_max")
        if self.sample_rate == 0.0:
            raise ValueError("a sample_rate of 0 keeps nothing")
        if len(self.tags) > RULE_TAGS_MAX:
            raise ValueError(f"{len(self.tags)} tags, over {RULE_TAGS_MAX}")
        if self.since is not None and self.since.tzinfo is None:
            raise ValueError("since needs a time zone")

    def to_json(self) -> dict[str, object]:
        """Return the form that a queue keeps."""
        form = asdict(self)
        form["since"] = None if self.since is None else self.since.isoformat()
        return form

    @classmethod
    def from_json(cls, form: Mapping[str, object]) -> "QueueRule":
        """Read the form of ``to_json``. Raises ValueError where it is none."""
        since, region = form.get("since"), form.get("region")
        return cls(
            verdicts=_read_choices(form, "verdicts", VerdictValue),
            outcomes=_read_choices(form, "outcomes", Outcome),
            score_min=_read_share(form, "score_min"),
            score_max=_read_share(form, "score_max"),
            coverage_max=_read_share(form, "coverage_max"),
            region=None if region is None else FaceRegion(str(region)),
            region_share_min=_read_share(form, "region_share_min") or 0.0,
            tags=tuple((str(name), str(value)) for name, value in _read_list(form, "tags")),
            since=None if since is None else datetime.fromisoformat(str(since)),
            sample_rate=_read_share(form, "sample_rate") or 0.0,
        )


def _read_list(form: Mapping[str, object], name: str) -> Sequence[Sequence[object]]:
    return cast("Sequence[Sequence[object]]", form.get(name) or ())


def _read_choices(form: Mapping[str, object], name: str, values: type[Value]) -> tuple[Value, ...]:
    return tuple(values(str(value)) for value in cast("Sequence[object]", form.get(name) or ()))


def _read_share(form: Mapping[str, object], name: str) -> float | None:
    value = form.get(name)
    return float(value) if isinstance(value, int | float) else None


@dataclass(frozen=True)
class QueueDraft:
    """What a queue is made of. ``lease_s`` is how long an item stays with a person who is silent.

    ``known_share`` is how often, from 0 to 0.2, somebody is given an analysis whose truth is known instead of
    the next match.
    """

    name: str
    rule: QueueRule
    order: QueueOrder = QueueOrder.OLDEST
    is_blind: bool = False
    lease_s: int = LEASE_S
    second_opinion_rate: float = 0.0
    known_share: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= QUEUE_NAME_LETTERS_MAX or not self.name.isprintable():
            raise ValueError(f"a queue has a name of 1 to {QUEUE_NAME_LETTERS_MAX} printable letters")
        if not 30 <= self.lease_s <= 86_400:
            raise ValueError("a lease lasts 30 seconds to a day")
        if not 0.0 <= self.second_opinion_rate <= 1.0:
            raise ValueError("second_opinion_rate is a share from 0 to 1")
        if not 0.0 <= self.known_share <= KNOWN_SHARE_MAX:
            raise ValueError(f"known_share is a share from 0 to {KNOWN_SHARE_MAX:g}")


@dataclass(frozen=True)
class KnownDraft:
    """What is known of a video, and how: who made it, or where the original is."""

    truth: Truth
    note: str

    def __post_init__(self) -> None:
        if not (0 < len(self.note) <= KNOWN_NOTE_LETTERS_MAX and is_storable(self.note)):
            raise ValueError(f"the note says how it is known in 1 to {KNOWN_NOTE_LETTERS_MAX} letters")


@dataclass(frozen=True)
class TrackDraft:
    """What is said of one face."""

    ordinal: int
    disposition: Disposition
    reason_code: ReasonCode


@dataclass(frozen=True)
class DecisionDraft:
    """What a reviewer says of a video, and of faces in it."""

    disposition: Disposition
    reason_code: ReasonCode
    comment: str | None = None
    policy_ref: str | None = None
    automated_means: AutomatedMeans = AutomatedMeans.PARTIAL
    tracks: tuple[TrackDraft, ...] = ()

    def __post_init__(self) -> None:
        check_comment(self.reason_code, self.comment)
        if self.policy_ref is not None and not (
            0 < len(self.policy_ref) <= POLICY_REF_LETTERS_MAX and is_storable(self.policy_ref)
        ):
            raise ValueError(f"policy_ref has 1 to {POLICY_REF_LETTERS_MAX} letters")
        ordinals = [track.ordinal for track in self.tracks]
        if len(set(ordinals)) != len(ordinals):
            raise ValueError("a face is judged twice")


def check_comment(reason: ReasonCode, comment: str | None) -> None:
    """Raise ValueError for a comment that cannot be kept, or for ``other`` without one."""
    if comment is not None and not (0 < len(comment) <= COMMENT_LETTERS_MAX and is_storable(comment)):
        raise ValueError(f"a comment has 1 to {COMMENT_LETTERS_MAX} letters, and no NUL")
    if reason is ReasonCode.OTHER and comment is None:
        raise ValueError("the reason 'other' needs a comment")
