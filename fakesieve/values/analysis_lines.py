"""Analyses as people and programs list them."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from engine.results import EvidenceReason, MediaWarning, Outcome, VerdictReason, VerdictValue
from fakesieve.values.reviews import Disposition

Position = tuple[datetime | str | int | float, ...]
"""The keys of a line in the order of its list, its id last."""


class Untold(Enum):
    """Stands where a line was read for somebody who may not know what people say, or did not ask."""

    UNTOLD = auto()


@dataclass(frozen=True)
class AnalysisLine:
    """One analysis in short, with the verdict that holds. Scores are P(manipulated), 0 to 1.

    ``disposition`` is what people say now; None where they say nothing.
    """

    id: str
    video_id: str
    external_id: str | None
    create_time: datetime
    outcome: Outcome
    score_raw: float | None
    score_calibrated: float | None
    score_low: float | None
    score_high: float | None
    verdict: VerdictValue | None
    verdict_reasons: tuple[VerdictReason, ...]
    policy: str
    policy_version: int
    low: float
    high: float
    coverage_ratio: float
    scored_us: int
    total_us: int
    faces_scored: int
    duration_us: int | None
    reasons: tuple[EvidenceReason, ...]
    warnings: tuple[MediaWarning, ...]
    model_id: str
    model: str
    weights_sha256: str
    engine: str
    precision: str
    fingerprint: str
    tags: tuple[tuple[str, str], ...]
    disposition: Disposition | Untold | None
    position: Position

    @property
    def score(self) -> float | None:
        """The score that people look at: the calibrated one where there is one."""
        return self.score_raw if self.score_calibrated is None else self.score_calibrated
