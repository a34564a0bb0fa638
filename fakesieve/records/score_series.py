"""The scores of an analysis over time, and where in the faces it was, each whole. It changes no row."""

import math
import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVarTuple

from sqlalchemy import ColumnElement, Select, func, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.types import LargeBinary

from engine.results import EvidenceReason, FaceRegion
from fakesieve.records.analysis_tables import Analysis, PatchMap
from fakesieve.records.number_arrays import read_float_array, read_floats, read_integer_array, read_integers
from fakesieve.records.videos import Video

Columns = TypeVarTuple("Columns")


@dataclass(frozen=True)
class Lane:
    """Scores over time, packed: NaN where a sample has none. Of a single face each of those has a reason."""

    pts_us: "array[int]"
    scores: "array[float]"
    reasons: Sequence[EvidenceReason | None] = ()

    def __post_init__(self) -> None:
        if not len(self.pts_us) == len(self.scores) == len(self.reasons or self.pts_us):
            raise ValueError(
                f"{len(self.scores)} scores and {len(self.reasons)} reasons for {len(self.pts_us)} samples"
            )


@dataclass(frozen=True)
class Lanes:
    """The highest score of each sample, None where none is kept, and the scores of each face by its number.

    There are no faces where their rows have aged out: what is highest stays with the analysis.
    """

    highest: Lane | None
    faces: Mapping[int, Lane]


@dataclass(frozen=True)
class RegionSeries:
    """Shares of hot cells by part of the face: 7 bytes for each time, 255 * the share, as ``FaceRegion``."""

    ordinal: int
    pts_us: "array[int]"
    shares: bytes

    def __post_init__(self) -> None:
        if len(self.shares) != len(self.pts_us) * len(FaceRegion):
            raise ValueError(f"{len(self.shares)} shares for {len(self.pts_us)} samples")


# The server joins the samples of a face, and sends their numbers as it holds them: hours of video have tens
# of thousands of rows, and each costs more on its way through the driver than all numbers of a face together.
# Only a sample without a score has a reason, so that as many reasons come as there are holes in the scores.
_FACES = text("""
SELECT ordinal,
       string_agg(int8send(pts_us), ''::bytea ORDER BY pts_us) AS times,
       string_agg(float8send(coalesce(score, 'NaN')), ''::bytea ORDER BY pts_us) AS scores,
       array_agg(exclude_reason::text ORDER BY pts_us) FILTER (WHERE score IS NULL) AS reasons
FROM frame_score WHERE analysis_id = :id AND analysis_time = :time GROUP BY ordinal ORDER BY ordinal
""")


def load_lanes(session: Session, analysis_id: str) -> Lanes | None:
    """Return the scores over time of an analysis; None where there is none or its video is deleted."""
    wanted = select(
        Analysis.create_time,
        _send(Analysis.series_pts_us),
        _send(func.array_replace(Analysis.series_score, None, math.nan)),
    )
    found = session.execute(only_shown(wanted, analysis_id)).one_or_none()
    if found is None:
        return None
    time, times, scores = found
    highest = None
    if times is not None and scores is not None:
        highest = Lane(read_integer_array(times), read_float_array(scores))
    rows = session.execute(_FACES, {"id": analysis_id, "time": time})
    return Lanes(highest, {row.ordinal: _read_lane(row.times, row.scores, row.reasons or ()) for row in rows})


def _read_lane(times: bytes, scores: bytes, reasons: Sequence[str]) -> Lane:
    read = read_floats(scores)
    known = iter(reasons)
    why = [EvidenceReason(next(known)) if math.isnan(each) else None for each in read] if reasons else []
    return Lane(read_integers(times), read, why)


def load_regions(session: Session, analysis_id: str) -> Sequence[RegionSeries]:
    """Return where in each face it was over time; faces of which nothing is kept are missing."""
    rows = session.execute(
        select(PatchMap.ordinal, _send(PatchMap.pts_us), PatchMap.regions)
        .join(Analysis, Analysis.id == PatchMap.analysis_id)
        .join(Video, Video.id == Analysis.video_id)
        .where(PatchMap.analysis_id == analysis_id, PatchMap.regions.is_not(None))
        .where(Video.delete_time.is_(None))
        .order_by(PatchMap.ordinal)
    )
    return [
        RegionSeries(ordinal, read_integer_array(times), zlib.decompress(regions))
        for ordinal, times, regions in rows
        if times is not None and regions is not None
    ]


def _send(numbers: ColumnElement[Any] | InstrumentedAttribute[Any]) -> ColumnElement[bytes | None]:
    """Return the bytes of an array, for ``read_integer_array`` and ``read_float_array``."""
    return func.array_send(numbers, type_=LargeBinary())


def only_shown(wanted: Select[*Columns], analysis_id: str) -> Select[*Columns]:
    """Return what is asked of an analysis, of this one and where its video is not deleted."""
    return wanted.join(Video, Video.id == Analysis.video_id).where(
        Analysis.id == analysis_id, Video.delete_time.is_(None)
    )
