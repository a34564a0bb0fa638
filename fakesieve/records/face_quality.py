"""What the samples of each face were like, as far as they are stored. Nothing here changes a row."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlalchemy.types import Double, Text

from engine.results import EvidenceReason
from fakesieve.records.analysis_tables import Analysis, FrameScore
from fakesieve.records.videos import Video


@dataclass(frozen=True)
class FaceQuality:
    """Of one face: the median of the shorter side of its box, and how many samples were left out and why.

    ``size_px`` is in pixels of the displayed picture, None where its size is not stored. ``confidence`` is
    the median of how sure the detector was, 0 to 1.
    """

    sample_count: int
    size_px: float | None
    confidence: float
    left_out: Mapping[EvidenceReason, int] = field(default_factory=dict[EvidenceReason, int])


def measure_faces(session: Session, analysis: Analysis, video: Video) -> Mapping[int, FaceQuality]:
    """Return what is stored of each face by its number; one whose samples have aged out is missing."""
    face = FrameScore
    sides = func.least(face.box_w * (video.width or 0), face.box_h * (video.height or 0))
    middle = func.percentile_cont(0.5)
    reasons = func.array_agg(cast(face.exclude_reason, Text()), type_=ARRAY(Text()))
    # One statement: of hours of video each that reads the samples takes as long as the rest of a page.
    rows = session.execute(
        select(
            face.ordinal,
            func.count(),
            middle.within_group(sides.cast(Double[float]())).label("size"),
            middle.within_group(face.confidence.cast(Double[float]())).label("sure"),
            reasons.filter(face.exclude_reason.is_not(None)).label("left_out"),
        )
        .where(face.analysis_id == analysis.id, face.analysis_time == analysis.create_time)
        .group_by(face.ordinal)
    )
    is_sized = video.width is not None and video.height is not None
    return {
        ordinal: FaceQuality(count, float(size) if is_sized else None, float(sure), _count(left_out or ()))
        for ordinal, count, size, sure, left_out in rows
    }


def _count(reasons: Iterable[str]) -> Mapping[EvidenceReason, int]:
    """Return how many there are of each reason, the most first."""
    counts = Counter(reasons)
    return {
        EvidenceReason(each): counts[each] for each in sorted(counts, key=lambda each: (-counts[each], each))
    }
