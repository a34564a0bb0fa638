"""Results as answers: from records to shapes."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from api.schemas.analyses import (
    AnalysisOut,
    BoxOut,
    CoverageOut,
    ExcludedOut,
    FrameOut,
    MapOut,
    MapsOut,
    MasksOut,
    MissingOut,
    ModelUsed,
    RunsOut,
    ScoreOut,
    SegmentOut,
    SeriesOut,
    ThresholdsOut,
    TrackOut,
    VerdictOut,
)
from engine.results import MissingSamples, Segment, TimeSeries, TrackScore
from fakesieve.documents import unpack_maps
from fakesieve.map_files import count_runs
from fakesieve.records.analyses import AnalysisRecord, Matrix, TrackMaps
from fakesieve.records.frame_lists import FrameLine
from fakesieve.values.analysis_lines import AnalysisLine, Untold


def write_line(line: AnalysisLine) -> AnalysisOut:
    """Return an analysis in short, with what people say of it if that was read."""
    words: dict[str, Any] = {} if line.disposition is Untold.UNTOLD else {"disposition": line.disposition}
    low, high = line.score_low, line.score_high
    return AnalysisOut(
        id=line.id,
        video_id=line.video_id,
        external_id=line.external_id,
        create_time=line.create_time,
        outcome=line.outcome,
        score=ScoreOut(
            raw=line.score_raw,
            calibrated=line.score_calibrated,
            interval=None if low is None or high is None else (low, high),
        ),
        verdict=VerdictOut(
            value=line.verdict,
            policy=f"{line.policy}@{line.policy_version}",
            thresholds=_write_thresholds(line.low, line.high),
            reasons=list(line.verdict_reasons),
        ),
        coverage=CoverageOut(
            ratio=line.coverage_ratio,
            scored_us=line.scored_us,
            total_us=line.total_us,
            faces_scored=line.faces_scored,
        ),
        duration_us=line.duration_us,
        reasons=list(line.reasons),
        warnings=list(line.warnings),
        tags=dict(line.tags),
        model=_write_model(line.model_id, line.model, line.weights_sha256, line.engine, line.precision),
        fingerprint=line.fingerprint,
        **words,
    )


# Of these there are few, and every line of a list has one: they are made once.
@lru_cache(maxsize=256)
def _write_thresholds(low: float, high: float) -> ThresholdsOut:
    return ThresholdsOut(low=low, high=high)


@lru_cache(maxsize=256)
def _write_model(model_id: str, name: str, weights_sha256: str, engine: str, precision: str) -> ModelUsed:
    return ModelUsed(
        id=model_id, name=name, weights_sha256=weights_sha256, engine=engine, precision=precision
    )


def write_full(line: AnalysisLine, record: AnalysisRecord, track_ids: Mapping[int, str]) -> AnalysisOut:
    """Return an analysis with its tracks, segments and scores over time; frames have a list of their own."""
    coverage, series = record.score.coverage, record.score.time_series
    return write_line(line).model_copy(
        update={
            "coverage": CoverageOut(
                ratio=coverage.ratio,
                scored_us=coverage.scored_us,
                total_us=coverage.total_us,
                faces_scored=coverage.faces_scored,
                faces_detected=coverage.faces_detected,
                frames_in_video=coverage.frames_in_video,
                frames_sampled=coverage.frames_sampled,
                frames_decoded=coverage.frames_decoded,
                frames_with_face=coverage.frames_with_face,
                faces_rejected=dict(coverage.faces_rejected),
                missing=None if coverage.missing is None else _write_missing(coverage.missing),
            ),
            "tracks": write_tracks(line.id, record, track_ids),
            "segments": [write_segment(each) for each in record.score.segments],
            "time_series": None if series is None else _write_series(series),
            "timings_ms": dict(record.timings_ms),
            "peak_track": record.score.peak_track,
        }
    )


def _write_missing(missing: Iterable[MissingSamples]) -> list[MissingOut]:
    return [
        MissingOut(
            reason=each.reason,
            detail=each.detail,
            count=each.count,
            first_us=each.first_us,
            last_us=each.last_us,
            pts_us=None if each.pts_us is None else list(each.pts_us),
        )
        for each in missing
    ]


def write_tracks(analysis_id: str, record: AnalysisRecord, track_ids: Mapping[int, str]) -> list[TrackOut]:
    """Return the tracks of an analysis."""
    mapped = {maps.ordinal for maps in record.maps}
    return [
        _write_track(analysis_id, track, track_ids[track.ordinal], has_maps=track.ordinal in mapped)
        for track in record.score.tracks
    ]


def _write_track(analysis_id: str, track: TrackScore, track_id: str, *, has_maps: bool) -> TrackOut:
    return TrackOut(
        id=track_id,
        ordinal=track.ordinal,
        start_us=track.start_us,
        end_us=track.end_us,
        outcome=track.outcome,
        score=track.score,
        frame_count=len(track.frames),
        scored_count=track.scored_count,
        peak_pts_us=list(track.peak_pts_us),
        regions=dict(track.regions),
        patch_persistence=track.patch_persistence,
        reasons=list(track.reasons),
        maps=f"/v1/analyses/{analysis_id}/tracks/{track.ordinal}/maps" if has_maps else None,
    )


def write_frame(line: FrameLine) -> FrameOut:
    """Return one face in one frame."""
    frame = line.frame
    x, y, w, h = frame.box
    return FrameOut(
        track=line.ordinal,
        pts_us=frame.pts_us,
        box=BoxOut(x=x, y=y, w=w, h=h),
        confidence=frame.confidence,
        score=frame.score,
        patch_max=frame.patch_max,
        patch_area=frame.patch_area,
        exclude_reason=frame.exclude_reason,
    )


def write_segment(segment: Segment) -> SegmentOut:
    """Return a span."""
    return SegmentOut(
        kind=segment.kind,
        start_us=segment.start_us,
        end_us=segment.end_us,
        track=segment.track,
        score_max=segment.score_max,
        score_mean=segment.score_mean,
        reason=segment.reason,
        regions=list(segment.regions),
    )


def _write_series(series: TimeSeries) -> SeriesOut:
    return SeriesOut(
        pts_us=list(series.pts_us),
        score=list(series.score),
        track=list(series.track),
        excluded=[
            ExcludedOut(start_us=start, end_us=end, reason=reason) for start, end, reason in series.excluded
        ],
    )


def write_maps(maps: TrackMaps, chosen: Sequence[int]) -> MapsOut:
    """Return some maps of a track as bytes in base64."""
    data = unpack_maps(maps)
    return MapsOut(
        track=maps.ordinal,
        grid=maps.grid,
        crop_size=maps.crop_size,
        maps=[
            MapOut(
                pts_us=maps.pts_us[index],
                u8=base64.b64encode(data[index]).decode("ascii"),
                to_frame=_split(maps.to_frame[index]),
            )
            for index in chosen
        ],
    )


def write_masks(maps: TrackMaps, chosen: Sequence[int], threshold: float) -> MasksOut:
    """Return some maps of a track, cut at a threshold, as runs."""
    data = unpack_maps(maps)
    return MasksOut(
        track=maps.ordinal,
        grid=maps.grid,
        crop_size=maps.crop_size,
        threshold=threshold,
        maps=[
            RunsOut(
                pts_us=maps.pts_us[index],
                counts=count_runs(data[index], threshold),
                to_frame=_split(maps.to_frame[index]),
            )
            for index in chosen
        ],
    )


def _split(matrix: Matrix) -> list[list[float]]:
    return [list(matrix[:3]), list(matrix[3:])]
