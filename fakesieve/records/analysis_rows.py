"""Between the engine's records of a score and the rows that hold them. Functions of values."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy

from engine.policy import count_peak_frames
from engine.result_forms import form_missing
from engine.results import (
    Coverage,
    EvidenceReason,
    FaceRegion,
    FrameScore,
    MissingSamples,
    Segment,
    TimeSeries,
    TrackScore,
    VideoScore,
)
from fakesieve.records import analysis_tables as tables

Row = dict[str, object]
# Columns by name, as a statement has selected those below.
Found = sqlalchemy.Row[*tuple[Any, ...]]
FRAME_COLUMNS = (
    tables.FrameScore.ordinal,
    tables.FrameScore.pts_us,
    tables.FrameScore.box_x,
    tables.FrameScore.box_y,
    tables.FrameScore.box_w,
    tables.FrameScore.box_h,
    tables.FrameScore.confidence,
    tables.FrameScore.score,
    tables.FrameScore.patch_max,
    tables.FrameScore.patch_area,
    tables.FrameScore.exclude_reason,
)
TRACK_COLUMNS = (
    tables.FaceTrack.ordinal,
    tables.FaceTrack.start_us,
    tables.FaceTrack.end_us,
    tables.FaceTrack.outcome,
    tables.FaceTrack.score,
    tables.FaceTrack.peak_pts_us,
    tables.FaceTrack.regions,
    tables.FaceTrack.reasons,
    tables.FaceTrack.patch_persistence,
)
SEGMENT_COLUMNS = (
    tables.Segment.start_us,
    tables.Segment.end_us,
    tables.Segment.kind,
    tables.Segment.ordinal,
    tables.Segment.score_max,
    tables.Segment.score_mean,
    tables.Segment.reason,
    tables.Segment.regions,
)
_FLOAT32 = struct.Struct("<f")


def build_score_row(score: VideoScore) -> Row:
    """Return the columns of ``analysis`` that a score fills."""
    coverage, series = score.coverage, score.time_series
    low, high = score.interval or (None, None)
    return {
        "outcome": score.outcome,
        "score_raw": score.raw,
        "score_calibrated": score.calibrated,
        "score_low": low,
        "score_high": high,
        "peak_track": score.peak_track,
        "peak_frames": count_peak_frames(score),
        "reasons": [reason.value for reason in score.reasons],
        "frames_in_video": coverage.frames_in_video,
        "frames_sampled": coverage.frames_sampled,
        "frames_decoded": coverage.frames_decoded,
        "frames_with_face": coverage.frames_with_face,
        "faces_detected": coverage.faces_detected,
        "faces_scored": coverage.faces_scored,
        "faces_rejected": {reason.value: count for reason, count in coverage.faces_rejected},
        "scored_us": coverage.scored_us,
        "total_us": coverage.total_us,
        "coverage_ratio": coverage.ratio,
        "missing": None if coverage.missing is None else form_missing(coverage.missing),
        "series_pts_us": None if series is None else list(series.pts_us),
        "series_score": None if series is None else list(series.score),
        "series_track": None if series is None else list(series.track),
        "series_excluded": None if series is None else [list(span) for span in series.excluded],
    }


def build_track_row(track: TrackScore) -> Row:
    """Return the columns of ``face_track`` that a track fills."""
    return {
        "ordinal": track.ordinal,
        "start_us": track.start_us,
        "end_us": track.end_us,
        "outcome": track.outcome,
        "score": track.score,
        "frame_count": len(track.frames),
        "scored_count": track.scored_count,
        "peak_pts_us": list(track.peak_pts_us),
        "regions": {region.value: share for region, share in track.regions},
        "reasons": [reason.value for reason in track.reasons],
        "patch_persistence": track.patch_persistence,
    }


def build_frame_row(ordinal: int, frame: FrameScore) -> Row:
    """Return the columns of ``frame_score`` that a face in a frame fills."""
    x, y, width, height = frame.box
    return {
        "ordinal": ordinal,
        "pts_us": frame.pts_us,
        "box_x": x,
        "box_y": y,
        "box_w": width,
        "box_h": height,
        "confidence": frame.confidence,
        "score": frame.score,
        "patch_max": frame.patch_max,
        "patch_area": frame.patch_area,
        "exclude_reason": frame.exclude_reason,
    }


def build_segment_row(position: int, segment: Segment) -> Row:
    """Return the columns of ``segment`` that a span fills."""
    return {
        "position": position,
        "kind": segment.kind,
        "ordinal": segment.track,
        "start_us": segment.start_us,
        "end_us": segment.end_us,
        "score_max": segment.score_max,
        "score_mean": segment.score_mean,
        "reason": segment.reason,
        "regions": [region.value for region in segment.regions],
    }


def read_score(row: tables.Analysis, tracks: Sequence[TrackScore], segments: Iterable[Found]) -> VideoScore:
    """Return the score that an analysis was made from."""
    low, high = row.score_low, row.score_high
    return VideoScore(
        outcome=row.outcome,
        raw=row.score_raw,
        calibrated=row.score_calibrated,
        interval=None if low is None or high is None else (low, high),
        tracks=tuple(tracks),
        segments=tuple(read_segment(each) for each in segments),
        coverage=_read_coverage(row),
        peak_track=row.peak_track,
        reasons=_read_reasons(row.reasons),
        time_series=_read_series(row),
    )


def read_track(row: Found, frames: Iterable[Found]) -> TrackScore:
    """Return a track from ``TRACK_COLUMNS`` with its faces, which must come in order of time."""
    return TrackScore(
        ordinal=row.ordinal,
        start_us=row.start_us,
        end_us=row.end_us,
        outcome=row.outcome,
        score=row.score,
        frames=tuple(read_frame(frame) for frame in frames),
        peak_pts_us=tuple(row.peak_pts_us),
        regions=_read_regions(row.regions),
        reasons=_read_reasons(row.reasons),
        patch_persistence=row.patch_persistence,
    )


def read_frame(row: Found) -> FrameScore:
    """Return one face in one frame from ``FRAME_COLUMNS``."""
    x, y, width, height = (as_float32(edge) for edge in (row.box_x, row.box_y, row.box_w, row.box_h))
    return FrameScore(
        pts_us=row.pts_us,
        box=(x, y, width, height),
        score=row.score,
        patch_max=row.patch_max,
        patch_area=row.patch_area,
        exclude_reason=row.exclude_reason,
        confidence=as_float32(row.confidence),
    )


def read_segment(row: Found) -> Segment:
    """Return a span from ``SEGMENT_COLUMNS``."""
    return Segment(
        start_us=row.start_us,
        end_us=row.end_us,
        kind=row.kind,
        track=row.ordinal,
        score_max=row.score_max,
        score_mean=row.score_mean,
        reason=row.reason,
        regions=tuple(FaceRegion(region) for region in row.regions),
    )


def as_float32(value: float) -> float:
    """Return the 32-bit number that a column of type real holds.

    The database sends it with as few digits as tell it apart from its neighbours, which is another number
    where it is read with 64 bits.
    """
    (number,) = _FLOAT32.unpack(_FLOAT32.pack(value))
    return number


def _read_coverage(row: tables.Analysis) -> Coverage:
    # JSON objects have no order; the engine's is by count, then by name.
    rejected = sorted(row.faces_rejected.items(), key=lambda item: (-item[1], item[0]))
    return Coverage(
        frames_in_video=row.frames_in_video,
        frames_sampled=row.frames_sampled,
        frames_decoded=row.frames_decoded,
        frames_with_face=row.frames_with_face,
        faces_detected=row.faces_detected,
        faces_scored=row.faces_scored,
        faces_rejected=tuple((EvidenceReason(reason), count) for reason, count in rejected),
        scored_us=row.scored_us,
        total_us=row.total_us,
        missing=read_missing(row),
    )


def read_missing(row: tables.Analysis) -> tuple[MissingSamples, ...] | None:
    """Return why samples did not come; None where it was not kept, as by releases before 0020."""
    if row.missing is None:
        return () if row.frames_decoded == row.frames_sampled else None
    return tuple(
        MissingSamples(
            EvidenceReason(each["reason"]),
            each["detail"],
            each["count"],
            each["first_us"],
            each["last_us"],
            None if each.get("pts_us") is None else tuple(each["pts_us"]),  # not in rows of older releases
        )
        for each in row.missing
    )


def _read_series(row: tables.Analysis) -> TimeSeries | None:
    times, scores, owners = row.series_pts_us, row.series_score, row.series_track
    if times is None or scores is None or owners is None:
        return None
    excluded = ((start, end, EvidenceReason(reason)) for start, end, reason in row.series_excluded or ())
    return TimeSeries(tuple(times), tuple(scores), tuple(owners), tuple(excluded))


def _read_regions(shares: Mapping[str, float]) -> tuple[tuple[FaceRegion, float], ...]:
    """JSON objects have no order; the order of the list of regions is the engine's."""
    return tuple((region, float(shares[region])) for region in FaceRegion if region in shares)


def _read_reasons(reasons: Sequence[str]) -> tuple[EvidenceReason, ...]:
    return tuple(EvidenceReason(reason) for reason in reasons)
