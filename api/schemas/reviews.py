"""Reviews, feedback and calibrations on the wire."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from api.schemas.shape import Answer, Bool, Int, Request, Time
from engine.results import FaceRegion, Outcome, VerdictValue
from fakesieve.calibration.fit import Method
from fakesieve.values.reviews import (
    COMMENT_LETTERS_MAX,
    KNOWN_SHARE_MAX,
    LEASE_S,
    POLICY_REF_LETTERS_MAX,
    QUEUE_NAME_LETTERS_MAX,
    REGION_SHARE_MIN,
    RULE_TAGS_MAX,
    AutomatedMeans,
    DecisionDraft,
    Disposition,
    EntryKind,
    FeedbackCategory,
    QueueDraft,
    QueueOrder,
    QueueRule,
    ReasonCode,
    ReviewKind,
    ReviewState,
    TrackDraft,
    check_comment,
)

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Comment = Annotated[str, Field(min_length=1, max_length=COMMENT_LETTERS_MAX)]
IdText = Annotated[str, Field(min_length=1, max_length=100)]


class TagBody(Request):
    """A label that a video must have."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    value: Annotated[str, Field(max_length=256)]


class RuleBody(Request):
    """Which analyses a queue holds; an empty list or null does not restrict, all parts must hold."""

    verdicts: list[VerdictValue] = Field(default_factory=list[VerdictValue], max_length=10)
    outcomes: list[Outcome] = Field(default_factory=list[Outcome], max_length=10)
    score_min: Share | None = None
    score_max: Share | None = None
    coverage_max: Share | None = None
    region: FaceRegion | None = None
    region_share_min: Share = REGION_SHARE_MIN
    tags: list[TagBody] = Field(default_factory=list[TagBody], max_length=RULE_TAGS_MAX)
    since: Time | None = None
    sample_rate: Annotated[
        float, Field(gt=0, le=1, allow_inf_nan=False, description="Keeps this share of the matches.")
    ] = 1.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.read()
        return self

    def read(self) -> QueueRule:
        """Return the rule."""
        return QueueRule(
            verdicts=tuple(self.verdicts),
            outcomes=tuple(self.outcomes),
            score_min=self.score_min,
            score_max=self.score_max,
            coverage_max=self.coverage_max,
            region=self.region,
            region_share_min=self.region_share_min,
            tags=tuple((tag.name, tag.value) for tag in self.tags),
            since=self.since,
            sample_rate=self.sample_rate,
        )


class NewQueueBody(Request):
    """A queue to be made."""

    name: Annotated[str, Field(min_length=1, max_length=QUEUE_NAME_LETTERS_MAX)]
    rule: RuleBody = Field(default_factory=RuleBody)
    order: QueueOrder = QueueOrder.OLDEST
    is_blind: Annotated[Bool, Field(description="Whether the score is hidden until somebody commits.")] = (
        False
    )
    lease_s: Annotated[Int, Field(ge=30, le=86_400)] = LEASE_S
    second_opinion_rate: Share = 0.0
    known_share: Annotated[
        float,
        Field(
            ge=0,
            le=KNOWN_SHARE_MAX,
            allow_inf_nan=False,
            description="How often a known analysis comes instead of the next match.",
        ),
    ] = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.read()
        return self

    def read(self) -> QueueDraft:
        """Return what to make."""
        return QueueDraft(
            self.name,
            self.rule.read(),
            self.order,
            is_blind=self.is_blind,
            lease_s=self.lease_s,
            second_opinion_rate=self.second_opinion_rate,
            known_share=self.known_share,
        )


class QueueCounts(Answer):
    """Items of a queue by their state."""

    open: int = 0
    claimed: int = 0
    decided: int = 0
    skipped: int = 0


class QueueOut(Answer):
    """A queue. ``items`` counts what was taken in so far; matches are taken in as people ask for them."""

    object: Literal["review_queue"] = "review_queue"
    id: str
    name: str
    rule: RuleBody
    order: QueueOrder
    is_blind: bool
    is_active: bool
    lease_s: int
    second_opinion_rate: float
    known_share: float
    items: QueueCounts
    create_time: Time


class FindingOut(Answer):
    """What the pipeline says."""

    outcome: Outcome
    score: float | None
    verdict: VerdictValue | None


class ReviewOut(Answer):
    """One look at one analysis. ``finding`` is null while the score is hidden."""

    object: Literal["review"] = "review"
    id: str
    queue_id: str
    analysis_id: str
    video_id: str
    kind: ReviewKind
    parent_id: str | None
    state: ReviewState
    is_blind: bool
    is_hidden: bool
    finding: FindingOut | None
    claimed_by: str | None
    claim_until: Time | None
    disposition: Disposition | None
    decision_id: str | None
    decided_by: str | None
    decide_time: Time | None
    statement: str | None
    create_time: Time


class ClaimOut(Answer):
    """What a queue has for the caller; null when it has nothing."""

    object: Literal["claim"] = "claim"
    review: ReviewOut | None


class TrackBody(Request):
    """What is said of one face."""

    ordinal: Annotated[Int, Field(ge=0, le=32_767)]
    disposition: Disposition
    reason_code: ReasonCode


class DecisionBody(Request):
    """What a reviewer says."""

    disposition: Disposition
    reason_code: ReasonCode
    comment: Comment | None = None
    policy_ref: Annotated[str, Field(min_length=1, max_length=POLICY_REF_LETTERS_MAX)] | None = None
    automated_means: AutomatedMeans = AutomatedMeans.PARTIAL
    tracks: list[TrackBody] = Field(default_factory=list[TrackBody], max_length=100)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.read()
        return self

    def read(self) -> DecisionDraft:
        """Return what is decided."""
        return DecisionDraft(
            self.disposition,
            self.reason_code,
            self.comment,
            self.policy_ref,
            self.automated_means,
            tuple(TrackDraft(each.ordinal, each.disposition, each.reason_code) for each in self.tracks),
        )


class RevealBody(Request):
    """What a reviewer says before the score is shown."""

    disposition: Disposition


class SkipBody(Request):
    """Why an item is passed over."""

    reason_code: ReasonCode
    comment: Comment | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_comment(self.reason_code, self.comment)
        return self


class SecondOpinionBody(Request):
    """How somebody else is to look."""

    is_blind: Bool = True


class AppealBody(Request):
    """What speaks against a decision."""

    statement: Comment


class TrackOut(Answer):
    """What was said of one face."""

    ordinal: int
    disposition: Disposition
    reason_code: ReasonCode


class EntryOut(Answer):
    """One thing that somebody said."""

    object: Literal["review_entry"] = "review_entry"
    id: str
    kind: EntryKind
    review_id: str | None
    analysis_id: str
    video_id: str
    reviewer: str
    disposition: Disposition | None
    reason_code: ReasonCode | None
    policy_ref: str | None
    comment: str | None
    automated_means: AutomatedMeans | None
    category: FeedbackCategory | None
    is_blind: bool
    is_undone: bool
    seconds_spent: float | None
    tracks: list[TrackOut]
    create_time: Time


class ExportFormat(StrEnum):
    """How a list is written into a file."""

    CSV = "csv"
    JSONL = "jsonl"


class FeedbackBody(Request):
    """What a caller says of a result that it was given."""

    analysis_id: IdText
    category: FeedbackCategory
    comment: Comment | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_comment(ReasonCode.NO_SIGN_FOUND, self.comment)
        return self


class FeedbackOut(Answer):
    """Feedback that was kept."""

    object: Literal["feedback"] = "feedback"
    id: str
    analysis_id: str
    category: FeedbackCategory
    comment: str | None
    create_time: Time


class NewCalibrationBody(Request):
    """What to fit. ``model_id`` is the id of a model, or what it is called: `champion`."""

    model_id: IdText
    method: Method | None = None
    prior: Annotated[
        float, Field(gt=0, lt=1, allow_inf_nan=False, description="Share of manipulated videos to assume.")
    ] = 0.5


class CalibrationOut(Answer):
    """P(manipulated) = 1 / (1 + exp(-(slope * logit + intercept))), and how well it holds.

    ``ece_after`` was measured on decisions left out of the fit; ``ece_interval`` is its 95 % interval.
    """

    object: Literal["calibration"] = "calibration"
    id: str
    model_id: str
    method: Method
    slope: float
    intercept: float
    prior: float
    n: int
    n_manipulated: int
    ece_before: float
    ece_after: float
    ece_interval: tuple[float, float]
    created_by: str
    create_time: Time


class AuditOut(Answer):
    """One act in the audit log."""

    object: Literal["audit_entry"] = "audit_entry"
    sequence: int
    actor: str
    action: str
    subject: str
    details: dict[str, JsonValue]
    sha256: str
    create_time: Time


class AuditCheckOut(Answer):
    """Whether a piece of the log is whole. With ``head_sha256`` kept elsewhere, nobody shortens it unseen."""

    object: Literal["audit_check"] = "audit_check"
    entries: int
    broken_at: int | None
    after_sha256: Annotated[
        str | None, Field(description="Hash of the entry `after`: compare it with the one that you kept.")
    ]
    head_sha256: str | None
    next_after: Annotated[int | None, Field(description="Where to go on; null at the end of the log.")]
