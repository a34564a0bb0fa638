"""What a page shows of one analysis: its head at once, places and maps in pieces. It changes no row."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session, defer

from engine.results import SegmentKind, VerdictValue
from fakesieve.records.analysis_tables import Analysis, FaceTrack, FrameScore, PatchMap, Segment
from fakesieve.records.judgements import Judgement, load_judgement
from fakesieve.records.models import Model, ModelCard
from fakesieve.records.score_series import only_shown
from fakesieve.records.standings import Standing
from fakesieve.records.table import JsonObject
from fakesieve.records.videos import Source, Video, list_sources

TRACKS_MAX = 100
SPANS_MAX = 2000
EARLIER_MAX = 20
_LEAST = 64 << 10  # bytes of packed cells that are asked for, of whatever piece


@dataclass(frozen=True)
class EarlierAnalysis:
    """Another pipeline over the same video."""

    id: str
    create_time: datetime
    model: str
    weights_sha256: str
    score: float | None
    verdict: VerdictValue | None


@dataclass(frozen=True)
class Evidence:
    """One analysis without its samples. ``card`` is what is known of the model, None where none was kept."""

    analysis: Analysis
    video: Video
    model: Model
    card: JsonObject | None
    judgement: Judgement
    tracks: Sequence[FaceTrack]
    segments: Sequence[Segment]
    sources: Sequence[Source]
    others: Sequence[EarlierAnalysis]

    def list_spans(self, kind: SegmentKind) -> list[Segment]:
        """Return the spans of a kind, in order of time."""
        return sorted((each for each in self.segments if each.kind is kind), key=lambda each: each.start_us)


@dataclass(frozen=True)
class PlacedFace:
    """One face in one sample. ``box`` is x, y, width, height as fractions of the displayed picture."""

    ordinal: int
    pts_us: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class MapSpan:
    """The patch maps of one face in a span: n times, 6 n numbers of matrices, n x grid x grid cells."""

    ordinal: int
    grid: int
    crop_size: int
    pts_us: Sequence[int]
    to_frame: Sequence[float]
    cells: bytes


@dataclass(frozen=True)
class MapFacts:
    """Cells in a row of a patch map, and pixels in a row of the crop that it covers."""

    grid: int
    crop_size: int


# The scores over time, which hold as many numbers as the video has samples.
_SERIES = (
    Analysis.series_pts_us, Analysis.series_score, Analysis.series_track, Analysis.series_excluded
)  # fmt: skip


def load_evidence(session: Session, analysis_id: str) -> Evidence | None:
    """Return an analysis of the tenant at hand; None where there is none or its video is deleted."""
    found = session.execute(
        select(Analysis, Video, Model, ModelCard.card)
        .join(Video, Video.id == Analysis.video_id)
        .join(Model, Model.id == Analysis.model_id)
        .outerjoin(ModelCard, ModelCard.model_id == Model.id)
        .where(Analysis.id == analysis_id, Video.delete_time.is_(None))
        .options(*(defer(column, raiseload=True) for column in _SERIES))
    ).one_or_none()
    if found is None:
        return None
    analysis, video, model, card = found
    tracks = select(FaceTrack).where(FaceTrack.analysis_id == analysis_id).order_by(FaceTrack.ordinal)
    segments = select(Segment).where(Segment.analysis_id == analysis_id).order_by(Segment.position)
    return Evidence(
        analysis=analysis,
        video=video,
        model=model,
        card=card,
        judgement=load_judgement(session, analysis_id),
        tracks=session.scalars(tracks.limit(TRACKS_MAX)).all(),
        segments=session.scalars(segments.limit(SPANS_MAX)).all(),
        sources=list_sources(session, video.id),
        others=_list_others(session, analysis),
    )


def load_faces(
    session: Session, analysis_id: str, start_us: int, end_us: int
) -> tuple[list[PlacedFace], list[MapSpan]] | None:
    """Return the faces of a span with their places, and their patch maps; None as ``load_evidence``."""
    time = session.scalar(only_shown(select(Analysis.create_time), analysis_id))
    if time is None:
        return None
    face = FrameScore
    rows = session.execute(
        select(face.ordinal, face.pts_us, face.box_x, face.box_y, face.box_w, face.box_h)
        .where(
            face.analysis_id == analysis_id,
            face.analysis_time == time,
            face.pts_us >= start_us,
            face.pts_us < end_us,
        )
        .order_by(face.ordinal, face.pts_us)
    )
    faces = [
        PlacedFace(row.ordinal, row.pts_us, (row.box_x, row.box_y, row.box_w, row.box_h)) for row in rows
    ]
    ordinals = sorted({each.ordinal for each in faces})
    return faces, _load_maps(session, analysis_id, ordinals, (start_us, end_us))


# The server cuts the arrays: those of a long video are too long to be read anew for each piece of it. Of the
# cells, which are packed as one, it gives as many bytes as their share in time, and a quarter more.
_MAP_SPANS = text("""
SELECT ordinal, grid, crop_size, first,
       pts_us[first + 1 : last] AS pts_us, to_frame[6 * first + 1 : 6 * last] AS to_frame,
       substring(packed, 1, least(ceil(1.25 * octet_length(packed) * last / cardinality(pts_us)) + :least,
                                  octet_length(packed))::int) AS packed
FROM patch_map CROSS JOIN LATERAL (
    SELECT width_bucket(cast(:start_us AS bigint) - 1, pts_us) AS first,
           width_bucket(cast(:end_us AS bigint) - 1, pts_us) AS last
) AS span
WHERE analysis_id = :id AND ordinal = ANY (:ordinals) AND last > first ORDER BY ordinal
""")


def _load_maps(
    session: Session, analysis_id: str, ordinals: list[int], span: tuple[int, int]
) -> list[MapSpan]:
    asked = {"id": analysis_id, "ordinals": ordinals, "start_us": span[0], "end_us": span[1], "least": _LEAST}
    return [_read_maps(session, analysis_id, row) for row in session.execute(_MAP_SPANS, asked).all()]


def _read_maps(session: Session, analysis_id: str, row: Row[Any]) -> MapSpan:
    size = row.grid * row.grid
    start, end = row.first * size, (row.first + len(row.pts_us)) * size
    cells = zlib.decompressobj().decompress(row.packed, end)
    if len(cells) < end:  # a restless beginning packs worse than the rest: too few bytes were asked for
        whole = select(PatchMap.packed).where(PatchMap.analysis_id == analysis_id)
        packed = session.scalars(whole.where(PatchMap.ordinal == row.ordinal)).one()
        cells = zlib.decompressobj().decompress(packed, end)
    return MapSpan(row.ordinal, row.grid, row.crop_size, row.pts_us, row.to_frame, cells[start:])


def describe_maps(session: Session, analysis_id: str) -> Sequence[MapFacts]:
    """Return what the patch maps of an analysis are like, without the maps."""
    rows = session.execute(
        select(PatchMap.grid, PatchMap.crop_size).where(PatchMap.analysis_id == analysis_id).distinct()
    )
    return [MapFacts(row.grid, row.crop_size) for row in rows]


def list_ordinals(session: Session, analysis_id: str) -> list[int]:
    """Return the numbers of the faces of an analysis."""
    wanted = select(FaceTrack.ordinal).where(FaceTrack.analysis_id == analysis_id)
    return list(session.scalars(wanted.order_by(FaceTrack.ordinal).limit(TRACKS_MAX)))


def _list_others(session: Session, analysis: Analysis) -> list[EarlierAnalysis]:
    rows = session.execute(
        select(
            Analysis.id,
            Analysis.create_time,
            Model.name,
            Model.weights_sha256,
            Standing.score,
            Standing.verdict,
        )
        .join(Model, Model.id == Analysis.model_id)
        .join(Standing, Standing.analysis_id == Analysis.id)
        .where(Analysis.video_id == analysis.video_id, Analysis.id != analysis.id)
        .order_by(Analysis.create_time.desc(), Analysis.id.desc())
        .limit(EARLIER_MAX)
    )
    return [EarlierAnalysis(*row) for row in rows]
