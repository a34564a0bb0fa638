"""What a scan of one input gives, and what names the pipeline that made it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.evidence import ShardEvidence
from engine.policy import Policy
from engine.probe import Probe
from engine.results import Outcome, RejectReason, VideoScore, VideoVerdict
from engine.source import SourceIdentity


@dataclass(frozen=True)
class ModelUse:
    """The model that made a score, and how it was run."""

    name: str
    weights_sha256: str
    engine: str
    precision: str


@dataclass(frozen=True)
class ScanFault:
    """Why an input has no score although it should have been looked at."""

    reason: RejectReason
    message: str
    hint: str


@dataclass(frozen=True)
class ScanResult:
    """Everything that a scan found out about one input; what it did not come to is None."""

    path: Path
    source: SourceIdentity
    model: ModelUse
    policy: Policy
    fingerprint: str
    timings_ms: Mapping[str, int]
    probe: Probe | None = None
    evidence: ShardEvidence | None = None
    score: VideoScore | None = None
    verdict: VideoVerdict | None = None
    fault: ScanFault | None = None

    def __post_init__(self) -> None:
        complete = (self.probe, self.evidence, self.score, self.verdict)
        if self.fault is None and None in complete:
            raise ValueError("a scan without a fault has a score and all that leads to it")
        if self.fault is not None and self.score is not None:
            raise ValueError("a scan that failed has no score")

    @property
    def outcome(self) -> Outcome:
        """Whether there was evidence; ``UNSCORABLE`` for an input that failed."""
        return Outcome.UNSCORABLE if self.score is None else self.score.outcome
