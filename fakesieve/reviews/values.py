"""What is handed in for a review, and an item as it is handed out."""

from dataclasses import dataclass
from datetime import datetime

from engine.results import Outcome, VerdictValue
from fakesieve.records.reviews import (
    COMMENT_LETTERS_MAX,
    AutomatedMeans,
    Disposition,
    ReasonCode,
    ReviewKind,
    ReviewState,
)
from fakesieve.texts import is_storable

UNDO_S = 10.0
POLICY_REF_LETTERS_MAX = 200


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


@dataclass(frozen=True)
class Finding:
    """What the pipeline says of the video of an item, kept from whoever looks at it blindly."""

    outcome: Outcome
    score: float | None
    verdict: VerdictValue | None


@dataclass(frozen=True)
class ReviewView:
    """An item as one person may see it. ``finding`` is None while the score is hidden from them."""

    id: str
    queue_id: str
    analysis_id: str
    video_id: str
    kind: ReviewKind
    parent_id: str | None
    state: ReviewState
    is_blind: bool
    finding: Finding | None
    claimed_by: str | None
    claim_until: datetime | None
    disposition: Disposition | None
    decision_id: str | None
    decided_by: str | None
    decide_time: datetime | None
    statement: str | None
    create_time: datetime


def check_comment(reason: ReasonCode, comment: str | None) -> None:
    """Raise ValueError for a comment that cannot be kept, or for ``other`` without one."""
    if comment is not None and not (0 < len(comment) <= COMMENT_LETTERS_MAX and is_storable(comment)):
        raise ValueError(f"a comment has 1 to {COMMENT_LETTERS_MAX} letters, and no NUL")
    if reason is ReasonCode.OTHER and comment is None:
        raise ValueError("the reason 'other' needs a comment")
