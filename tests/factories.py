"""Rows and records with sensible values; a test says only what it is about."""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.orm import Session

from engine.policy import PRESETS, Policy, decide
from engine.results import (
    Coverage,
    EvidenceReason,
    FaceRegion,
    FrameScore,
    MediaWarning,
    MissingSamples,
    Outcome,
    Segment,
    SegmentKind,
    TimeSeries,
    TrackScore,
    VideoScore,
)
from fakesieve.database import Database
from fakesieve.records.analyses import AnalysisRecord, TrackMaps, store_analysis
from fakesieve.records.models import ModelFacts
from fakesieve.records.tenants import ensure_tenant
from fakesieve.records.videos import upsert_video

SECOND_US = 1_000_000
GRID, CROP_SIZE = 4, 64
MODEL = ModelFacts("lv-compact", "ab" * 32, "onnxruntime-cpu", "f32")
MEDIA: dict[str, object] = {
    "kind": "video",
    "container": "mp4",
    "codec": "h264",
    "width": 640,
    "height": 360,
    "duration_us": 3 * SECOND_US,
    "warnings": [],
}


def hash_text(text: str) -> str:
    """Return a sha256 that differs with the text."""
    return hashlib.sha256(text.encode()).hexdigest()


def make_tenant(database: Database, name: str = "acme") -> str:
    """Return the id of a tenant, which is made if there is none."""
    with database.transaction(tenant_id=None) as session:
        return ensure_tenant(session, name)


def make_video(session: Session, tenant_id: str, content: str = "clip") -> str:
    """Return the id of a video whose bytes hash like the text."""
    return upsert_video(
        session, tenant_id=tenant_id, sha256=hash_text(content), size_bytes=10_000, media=MEDIA
    )


def make_frame(pts_us: int, score: float | None = 0.9) -> FrameScore:
    """Return a face in the middle of a frame; without a score it is too small."""
    return FrameScore(
        pts_us=pts_us,
        box=(0.375, 0.25, 0.125, 0.5),
        score=score,
        patch_max=None if score is None else 1.0,
        patch_area=None if score is None else 0.25,
        exclude_reason=EvidenceReason.FACE_TOO_SMALL if score is None else None,
        confidence=0.75,
    )


def make_track(ordinal: int = 0, scores: Sequence[float | None] = (0.9, 0.95, None)) -> TrackScore:
    """Return a track with a face each second; its score is the highest."""
    known = [score for score in scores if score is not None]
    return TrackScore(
        ordinal=ordinal,
        start_us=0,
        end_us=len(scores) * SECOND_US,
        outcome=Outcome.SCORED if known else Outcome.INSUFFICIENT_EVIDENCE,
        score=max(known, default=None),
        frames=tuple(make_frame(second * SECOND_US, score) for second, score in enumerate(scores)),
        peak_pts_us=(SECOND_US,) if known else (),
        regions=((FaceRegion.LEFT_EYE, 0.125), (FaceRegion.MOUTH, 0.7)) if known else (),
        reasons=() if known else (EvidenceReason.TOO_FEW_FRAMES,),
        patch_persistence=0.5 if known else None,
    )


CUT_OFF = MissingSamples(
    EvidenceReason.NOT_DECODED,
    "DECODE_TIMEOUT: took too long",
    1,
    2 * SECOND_US,
    2 * SECOND_US,
    (2 * SECOND_US,),
)


def make_coverage(tracks: Sequence[TrackScore], seconds: int = 3) -> Coverage:
    """Return the coverage that such tracks have."""
    faces = sum(len(track.frames) for track in tracks)
    scored = sum(track.scored_count for track in tracks)
    rejected = ((EvidenceReason.FACE_TOO_SMALL, faces - scored),) if faces > scored else ()
    return Coverage(
        frames_in_video=seconds * 25,
        frames_sampled=seconds,
        frames_decoded=seconds,
        frames_with_face=min(seconds, faces),
        faces_detected=faces,
        faces_scored=scored,
        faces_rejected=rejected,
        scored_us=min(seconds, scored) * SECOND_US,
        total_us=seconds * SECOND_US,
        missing=(),
    )


def make_score(raw: float = 0.9, *, tracks: Sequence[TrackScore] | None = None) -> VideoScore:
    """Return a scored video with one face, a forged mouth, a second without a face, a frame not decoded."""
    kept = (make_track(),) if tracks is None else tuple(tracks)
    mouth = Segment(
        0, 2 * SECOND_US, SegmentKind.SUSPICIOUS, kept[0].ordinal, 0.95, 0.925, regions=(FaceRegion.MOUTH,)
    )
    small = Segment(2 * SECOND_US, 3 * SECOND_US, SegmentKind.EXCLUDED, reason=EvidenceReason.FACE_TOO_SMALL)
    return VideoScore(
        outcome=Outcome.PARTIALLY_SCORED,
        raw=raw,
        calibrated=raw / 2,
        interval=(raw / 4, raw),
        tracks=kept,
        segments=(mouth, small),
        coverage=replace(make_coverage(kept), frames_sampled=4, missing=(CUT_OFF,)),
        peak_track=kept[0].ordinal,
        reasons=(EvidenceReason.PARTIAL_DECODE,),
        time_series=TimeSeries(
            (0, SECOND_US, 2 * SECOND_US),
            (0.9, 0.95, None),
            (kept[0].ordinal, kept[0].ordinal, None),
            ((2 * SECOND_US, 3 * SECOND_US, EvidenceReason.FACE_TOO_SMALL),),
        ),
    )


def make_empty_score(outcome: Outcome = Outcome.NO_FACE) -> VideoScore:
    """Return a video without a face: no score."""
    return VideoScore(outcome, None, None, None, (), (), make_coverage(()), reasons=(EvidenceReason.NO_FACE,))


def make_maps(track: TrackScore) -> TrackMaps:
    """Return patch maps for the scored frames of a track."""
    times = tuple(frame.pts_us for frame in track.frames if frame.score is not None)
    matrix = (1.5, 0.0, 240.25, 0.0, 1.5, 90.125)
    cells = bytes(range(GRID * GRID)) * len(times)
    shares = bytes((0, 0, 0, 255, 51, 0, 0)) * len(times)
    matrices = (matrix,) * len(times)
    return TrackMaps(
        track.ordinal, times, GRID, CROP_SIZE, matrices, zlib.compress(cells), zlib.compress(shares)
    )


def make_record(
    tenant_id: str,
    video_id: str,
    *,
    score: VideoScore | None = None,
    fingerprint: str = "pipeline-1",
    policy: Policy = PRESETS["balanced"],
    model: ModelFacts = MODEL,
) -> AnalysisRecord:
    """Return everything that is kept of a scored video."""
    found = make_score() if score is None else score
    return AnalysisRecord(
        tenant_id=tenant_id,
        video_id=video_id,
        fingerprint=fingerprint,
        model=model,
        score=found,
        policy=policy,
        verdict=decide(found, policy),
        maps=tuple(make_maps(track) for track in found.tracks if track.scored_count),
        warnings=(MediaWarning.VARIABLE_RATE,),
        timings_ms={"decode": 120, "score": 35},
    )


def make_judged_tenant(database: Database) -> str:
    """Return a tenant with three analyses that ``balanced`` judged: in the middle, high, without a face."""
    tenant_id = make_tenant(database)
    # Without a calibration, and seen in all frames.
    whole = replace(
        make_score(0.96, tracks=(make_track(0, (0.96, 0.96, 0.96)),)),
        calibrated=None, outcome=Outcome.SCORED, interval=None,
    )  # fmt: skip
    for number, score in enumerate((make_score(0.98), whole, make_empty_score())):
        with database.transaction(tenant_id=tenant_id) as session:
            video_id = make_video(session, tenant_id, f"clip {number}")
            store_analysis(session, make_record(tenant_id, video_id, score=score))
    return tenant_id
