"""What is handed in for a review, and an item as it is handed out."""

from dataclasses import dataclass
from datetime import datetime

from engine.results import Outcome, VerdictValue
from fakesieve.values.reviews import (
    Disposition,
    ReviewKind,
    ReviewState,
)

UNDO_S = 10.0


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
