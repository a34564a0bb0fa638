"""Policies on the wire: thresholds, what they would change, what they changed."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from api.schemas.analyses import Share
from api.schemas.shape import Answer, Bool, Int, Request, Time
from engine.policy import Policy
from engine.results import VerdictValue
from fakesieve.filters.lexer import LETTERS_MAX
from fakesieve.values.policies import MOVED_MAX, NAME_LENGTH_MAX

_REVIEWED = (VerdictValue.LIKELY_MANIPULATED, VerdictValue.INCONCLUSIVE)
FilterBody = Annotated[
    str | None, Field(max_length=LETTERS_MAX, description="Only these analyses; absent is all of history.")
]
Threshold = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class Rules(Request):
    """Thresholds and what else a verdict asks for."""

    low: Annotated[Threshold, Field(description="Below it nothing was found.")]
    high: Annotated[Threshold, Field(description="At or over it the video is likely manipulated.")]
    min_coverage: Annotated[
        float,
        Field(ge=0, le=1, description="Least share of the time with a scored face for 'nothing found'."),
    ] = 0.1
    min_peak_frames: Annotated[
        Int, Field(ge=1, le=10_000, description="Frames that must reach the score for 'likely manipulated'.")
    ] = 2

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.low > self.high:
            raise ValueError("low is over high")
        return self

    def make(self, name: str) -> Policy:
        """Return these rules under a name."""
        return Policy(name, 1, self.low, self.high, self.min_coverage, self.min_peak_frames)


class NewPolicyBody(Rules):
    """A policy under a name of the tenant's own; the same name again is its next version."""

    name: Annotated[
        str, Field(min_length=1, max_length=NAME_LENGTH_MAX, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    ]
    note: Annotated[str | None, Field(max_length=1000)] = None


class PreviewAsk(Request):
    """What to preview over and how much of it to show."""

    filter: FilterBody = None
    moved_max: Annotated[Int, Field(ge=0, le=MOVED_MAX, description="Moved analyses to name.")] = 100
    review_minutes: Annotated[
        float, Field(gt=0, le=600, description="Minutes of a person's time for one video.")
    ] = 4.0
    reviewed: Annotated[
        list[VerdictValue], Field(max_length=3, description="Verdicts that a person looks at.")
    ] = Field(default_factory=lambda: list(_REVIEWED))


class TryRulesBody(Rules, PreviewAsk):
    """Rules that are not kept, to see what they would change."""


class ApplyBody(Request):
    """How far a policy is applied."""

    filter: FilterBody = None
    activate: Annotated[Bool, Field(description="Judge new analyses with it too.")] = True


class PolicyOut(Answer):
    """A policy. A preset belongs to everybody and has no id; what a model brings has no time and no note."""

    object: Literal["policy"] = "policy"
    id: str | None
    name: str
    version: int
    low: Share
    high: Share
    min_coverage: Share
    min_peak_frames: int
    extrapolated: bool
    is_preset: bool
    is_active: Annotated[
        bool, Field(description="Judges new analyses: all, or those of its models where none is chosen.")
    ]
    model_ids: Annotated[
        list[str],
        Field(
            default_factory=list,
            description="Models that bring it: it judges what they score where none is chosen.",
        ),
    ]
    note: str | None
    create_time: Time | None


class MoveOut(Answer):
    """How many analyses go from one verdict to another; null is none, without a score."""

    before: VerdictValue | None
    after: VerdictValue | None
    count: int


class MovedOut(Answer):
    """One analysis whose verdict changes."""

    analysis_id: str
    video_id: str
    before: VerdictValue | None
    after: VerdictValue | None
    score: Share | None


class WorkOut(Answer):
    """What a policy asks of people: videos with a verdict that is looked at, and the hours that it takes."""

    videos_before: int
    videos_after: int
    hours_before: float
    hours_after: float
    minutes_each: float
    reviewed: list[VerdictValue]


class PreviewOut(Answer):
    """What a policy would change. Nothing was changed and nothing scored again."""

    object: Literal["policy_preview"] = "policy_preview"
    policy: str
    analyses: int
    moved_count: int
    counts: list[MoveOut]
    review: WorkOut
    kept: Annotated[
        int,
        Field(
            default=0,
            description="Of `analyses`, those that stay as they stand under `-`: no host has said which"
            " policy their model brings, so what it would say of them is not known.",
        ),
    ]
    kept_model_ids: Annotated[list[str], Field(default_factory=list, description="Their models.")]
    histogram: Annotated[list[int], Field(description="Analyses by score, 50 bins of equal width.")]
    moved: Annotated[list[MovedOut], Field(description="The first of those that move, highest scores first.")]


class AppliedOut(Answer):
    """What applying a policy changed: ``moved`` analyses have another verdict now.

    ``judged`` counts all that it was held against; with a filter, those that stood by another policy. Neither
    counts deleted videos.
    """

    object: Literal["policy_applied"] = "policy_applied"
    policy: str
    is_active: bool
    judged: int
    moved: int
    kept: Annotated[
        int,
        Field(
            default=0,
            description="Neither judged nor moved: they stay as they stand, as no host has said which policy"
            " their model brings.",
        ),
    ]
