"""What one pipeline found in one video, as one value: written once and read back whole."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from engine.policy import Policy, decide
from engine.results import (
    MediaWarning,
    Outcome,
    TrackScore,
    VideoScore,
    VideoVerdict,
)
from fakesieve.records.analysis_insert import build_parts, insert_analysis
from fakesieve.records.analysis_rows import (
    FRAME_COLUMNS,
    SEGMENT_COLUMNS,
    TRACK_COLUMNS,
    Row,
    as_float32,
    build_score_row,
    read_score,
    read_track,
)
from fakesieve.records.analysis_tables import Analysis, FaceTrack, FrameScore, PatchMap, Segment, Verdict
from fakesieve.records.judgements import load_judgement
from fakesieve.records.models import Model, ModelFacts, ensure_model
from fakesieve.records.policies import choose_policy
from fakesieve.records.rulings import is_settled
from fakesieve.records.standings import build_standing_row, set_standing
from fakesieve.records.table import ID_TYPE

Matrix = tuple[float, float, float, float, float, float]
_MATRIX = 6


@dataclass(frozen=True)
class TrackMaps:
    """The patch maps of one track, one for each of its scored frames, in order of time.

    ``packed`` is zlib over n x grid x grid bytes, row by row from the top left, each 255 * P(manipulated).
    ``to_frame`` leads from pixels of the crop, ``crop_size`` a side, to pixels of the displayed frame: for
    each map a 2 x 3 matrix, row by row. ``regions`` is zlib over n x 7 bytes, each 255 * the share of hot
    cells in one of ``FaceRegion``, in its order; None where it was not kept.
    """

    ordinal: int
    pts_us: tuple[int, ...]
    grid: int
    crop_size: int
    to_frame: tuple[Matrix, ...]
    packed: bytes
    regions: bytes | None = None

    def __post_init__(self) -> None:
        if len(self.pts_us) != len(self.to_frame) or not self.pts_us:
            raise ValueError(f"{len(self.pts_us)} times and {len(self.to_frame)} matrices of patch maps")
        if any(len(matrix) != _MATRIX for matrix in self.to_frame):
            raise ValueError("a 2 x 3 matrix has 6 numbers")
        if any(later <= earlier for earlier, later in itertools.pairwise(self.pts_us)):
            raise ValueError("times of patch maps do not increase")
        if self.grid < 1 or self.crop_size < 1:
            raise ValueError("patch maps have a grid and crops a size of at least 1")


@dataclass(frozen=True)
class AnalysisRecord:
    """Everything that is kept of a scored video: all of ``scan``'s document but the path and the probe.

    ``warnings`` are those of probing and of decoding. ``timings_ms`` is the time of each stage.
    """

    tenant_id: str
    video_id: str
    fingerprint: str
    model: ModelFacts
    score: VideoScore
    policy: Policy
    verdict: VideoVerdict
    maps: tuple[TrackMaps, ...] = ()
    warnings: tuple[MediaWarning, ...] = ()
    timings_ms: Mapping[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        if not self.fingerprint:
            raise ValueError("an analysis has a fingerprint of its pipeline")
        if (self.verdict.policy, self.verdict.policy_version) != (self.policy.name, self.policy.version):
            raise ValueError(f"a verdict by {self.verdict.policy} beside policy {self.policy.name}")
        if (self.verdict.value is not None) != self.outcome.has_score:
            raise ValueError(f"outcome {self.outcome} contradicts verdict {self.verdict.value}")
        ordinals = [track.ordinal for track in self.score.tracks]
        if len(set(ordinals)) != len(ordinals):
            raise ValueError("two tracks have the same ordinal")
        if not {maps.ordinal for maps in self.maps} <= set(ordinals):
            raise ValueError("patch maps of a track that is not there")

    @property
    def outcome(self) -> Outcome:
        """Whether there was evidence."""
        return self.score.outcome


def store_analysis(session: Session, record: AnalysisRecord) -> tuple[str, bool]:
    """Write an analysis and its verdict, and return its id and whether it is new.

    The verdict is by the tenant's own policy where it has chosen one, else by that of the record. Where the
    video has an analysis by the same pipeline, that one stays as it is and its id is returned; the verdict is
    added if the policy has not judged it yet.
    """
    judge = choose_policy(session, record.tenant_id, record.policy)
    verdict = record.verdict if judge.policy == record.policy else decide(record.score, judge.policy)
    parts = build_parts(record.score, [_build_maps_row(each) for each in record.maps]) | {
        "verdicts": [_build_verdict_row(judge.policy_id, verdict)],
        "standings": [build_standing_row(record.score, verdict, judge)],
    }
    row = _build_analysis_row(record)
    for _ in range(2):
        made = insert_analysis(session, record.model, row, parts)
        if made is not None:
            return made, True
        there = find_analysis(session, record.video_id, record.fingerprint)
        if there is not None:
            judge_analysis(session, there, record.policy)
            return there, False
        ensure_model(session, record.model)
    raise RuntimeError("the analysis that stood in the way belongs to another tenant")


def _build_analysis_row(record: AnalysisRecord) -> Row:
    return {
        "tenant_id": record.tenant_id,
        "video_id": record.video_id,
        "pipeline_fingerprint": record.fingerprint,
        "engine": record.model.engine,
        "precision": record.model.precision,
        "warnings": [warning.value for warning in record.warnings],
        "timings_ms": dict(record.timings_ms),
        **build_score_row(record.score),
    }


def _build_maps_row(maps: TrackMaps) -> Row:
    return {
        "ordinal": maps.ordinal,
        "grid": maps.grid,
        "crop_size": maps.crop_size,
        "pts_us": list(maps.pts_us),
        "to_frame": [number for matrix in maps.to_frame for number in matrix],
        "packed": maps.packed,
        "regions": maps.regions,
    }


def _build_verdict_row(policy_id: str, verdict: VideoVerdict) -> Row:
    return {
        "policy_id": policy_id,
        "value": verdict.value,
        "score_used": verdict.score_used,
        "reasons": [reason.value for reason in verdict.reasons],
    }


def judge_analysis(session: Session, analysis_id: str, policy: Policy) -> None:
    """Write what a policy says of an analysis that is stored; what it has said before stays.

    Where the tenant has chosen a policy of its own, that one judges in its place.
    """
    tenant_id = session.scalar(select(Analysis.tenant_id).where(Analysis.id == analysis_id))
    if tenant_id is None:
        return
    judge = choose_policy(session, tenant_id, policy)
    # Hosts of several models would take turns otherwise.
    if not judge.is_chosen and session.get(Verdict, (analysis_id, judge.policy_id)) is not None:
        return
    if is_settled(session, tenant_id, analysis_id, judge):
        return
    record = load_analysis(session, analysis_id)
    if record is None:
        return
    owner = {"tenant_id": tenant_id, "analysis_id": analysis_id}
    verdict = decide(record.score, judge.policy)
    row = owner | _build_verdict_row(judge.policy_id, verdict)
    session.execute(insert(Verdict).values(row).on_conflict_do_nothing())
    set_standing(session, analysis_id, verdict, judge)


def find_analysis(session: Session, video_id: str, fingerprint: str) -> str | None:
    """Return the id of the analysis of a video by a pipeline."""
    return session.scalar(
        select(Analysis.id).where(Analysis.video_id == video_id, Analysis.pipeline_fingerprint == fingerprint)
    )


# Built once, as building them takes longer than running them. What has many rows is read as columns: an
# object of the mapper for each costs as much as all else.
_THIS = bindparam("analysis", type_=ID_TYPE)
_HEAD = select(Analysis, Model).join(Model, Model.id == Analysis.model_id).where(Analysis.id == _THIS)
# The time tells the database in which partition to look.
_FRAMES = (
    select(*FRAME_COLUMNS)
    .where(FrameScore.analysis_id == _THIS, FrameScore.analysis_time == bindparam("at"))
    .order_by(FrameScore.ordinal, FrameScore.pts_us)
)
_TRACKS = select(*TRACK_COLUMNS).where(FaceTrack.analysis_id == _THIS).order_by(FaceTrack.ordinal)
_SEGMENTS = select(*SEGMENT_COLUMNS).where(Segment.analysis_id == _THIS).order_by(Segment.position)
_MAPS = select(PatchMap).where(PatchMap.analysis_id == _THIS).order_by(PatchMap.ordinal)


def load_analysis(session: Session, analysis_id: str) -> AnalysisRecord | None:
    """Return an analysis as it was stored, with the verdict that holds; None where the tenant has none."""
    found = session.execute(_HEAD, {"analysis": analysis_id}).one_or_none()
    if found is None:
        return None
    analysis, model = found
    judgement = load_judgement(session, analysis_id)
    segments = session.execute(_SEGMENTS, {"analysis": analysis_id})
    return AnalysisRecord(
        tenant_id=analysis.tenant_id,
        video_id=analysis.video_id,
        fingerprint=analysis.pipeline_fingerprint,
        model=ModelFacts(model.name, model.weights_sha256, analysis.engine, analysis.precision),
        score=read_score(analysis, _load_tracks(session, analysis), segments.all()),
        policy=judgement.policy.to_policy(),
        verdict=judgement.verdict,
        maps=load_maps(session, analysis_id),
        warnings=tuple(MediaWarning(warning) for warning in analysis.warnings),
        timings_ms=analysis.timings_ms,
    )


def _load_tracks(session: Session, analysis: Analysis) -> list[TrackScore]:
    frames = session.execute(_FRAMES, {"analysis": analysis.id, "at": analysis.create_time})
    by_track = {
        ordinal: list(rows) for ordinal, rows in itertools.groupby(frames, lambda frame: frame.ordinal)
    }
    tracks = session.execute(_TRACKS, {"analysis": analysis.id})
    return [read_track(track, by_track.get(track.ordinal, [])) for track in tracks]


def load_maps(session: Session, analysis_id: str) -> tuple[TrackMaps, ...]:
    """Return the patch maps of an analysis by track."""
    return tuple(_read_maps(row) for row in session.scalars(_MAPS, {"analysis": analysis_id}))


def _read_maps(row: PatchMap) -> TrackMaps:
    numbers = [as_float32(number) for number in row.to_frame]
    matrices = (tuple(numbers[start : start + _MATRIX]) for start in range(0, len(numbers), _MATRIX))
    return TrackMaps(
        ordinal=row.ordinal,
        pts_us=tuple(row.pts_us),
        grid=row.grid,
        crop_size=row.crop_size,
        to_frame=cast("tuple[Matrix, ...]", tuple(matrices)),
        packed=row.packed,
        regions=row.regions,
    )
