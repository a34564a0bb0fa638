"""What one analysis found, as people read it: its verdict, its faces and the spans that stand out."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.results import (
    EvidenceReason,
    FaceRegion,
    MissingSamples,
    Outcome,
    Segment,
    VerdictReason,
    VerdictValue,
)
from fakesieve.values.analysis_lines import Untold
from fakesieve.values.reviews import Disposition


@dataclass(frozen=True)
class Face:
    """One face over time. ``regions`` are the mean shares of suspicious patches by part of the face."""

    ordinal: int
    start_us: int
    end_us: int
    outcome: Outcome
    score: float | None
    frame_count: int
    scored_count: int
    peak_pts_us: tuple[int, ...]
    regions: tuple[tuple[FaceRegion, float], ...]
    has_maps: bool


@dataclass(frozen=True)
class Finding:
    """An analysis. ``score`` is what the verdict stands on, ``interval`` its 95 % interval; 0 to 1."""

    analysis_id: str
    video: str  # the caller's own name of the video, or its id
    outcome: Outcome
    verdict: VerdictValue | None
    verdict_reasons: tuple[VerdictReason, ...]
    disposition: Disposition | Untold | None  # what people say
    policy: str  # NAME@VERSION
    score: float | None
    interval: tuple[float, float] | None
    coverage_ratio: float
    reasons: tuple[EvidenceReason, ...]
    missing: tuple[MissingSamples, ...] | None  # None where it was not kept
    faces: tuple[Face, ...]
    segments: tuple[Segment, ...]
    model: str
    engine: str
    precision: str


@dataclass(frozen=True)
class FaceMap:
    """The patch map of one frame: grid x grid bytes by rows from the top left, each 255 * P(manipulated).

    ``to_frame`` [2][3] leads from pixels of the crop to pixels of the displayed frame.
    """

    pts_us: int
    cells: bytes
    to_frame: Sequence[Sequence[float]]


@dataclass(frozen=True)
class FaceMaps:
    """The patch maps of one face in order of time. Crops are ``crop_size`` pixels a side."""

    ordinal: int
    grid: int
    crop_size: int
    maps: tuple[FaceMap, ...]
