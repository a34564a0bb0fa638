"""What the samples of each face were like, as far as they are stored. Nothing here changes a row."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlalchemy.types import Double

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
    of_it = (face.analysis_id == analysis.id, face.analysis_time == analysis.create_time)
    sides = func.least(face.box_w * (video.width or 0), face.box_h * (video.height or 0))
    middle = func.percentile_cont(0.5)
    rows = session.execute(
        select(
            face.ordinal,
            func.count(),
            middle.within_group(sides.cast(Double[float]())).label("size"),
            middle.within_group(face.confidence.cast(Double[float]())).label("sure"),
        )
        .where(*of_it)
        .group_by(face.ordinal)
    ).all()
    counts = session.execute(
        select(face.ordinal, face.exclude_reason, func.count())
        .where(*of_it, face.exclude_reason.is_not(None))
        .group_by(face.ordinal, face.exclude_reason)
        .order_by(func.count().desc(), face.exclude_reason)
    )
    left_out: dict[int, dict[EvidenceReason, int]] = {}
    for ordinal, reason, count in counts:
        if reason is not None:
            left_out.setdefault(ordinal, {})[reason] = count
    is_sized = video.width is not None and video.height is not None
    return {
        ordinal: FaceQuality(count, float(size) if is_sized else None, float(sure), left_out.get(ordinal, {}))
        for ordinal, count, size, sure in rows
    }
