"""The JSON document of one scanned input, which ``engine/output/schema.py`` describes.

Every key is always there; what is not known is null. Numbers are rounded to six digits, so that the documents
of two equal scans are equal.
"""

import json
from collections.abc import Sequence

from engine.container import MediaKind
from engine.output.names import to_text
from engine.output.patches import encode_map, find_rows
from engine.probe import Probe
from engine.results import Coverage, FrameScore, MediaWarning, Segment, TimeSeries, TrackScore, VideoScore
from engine.scan_result import ScanResult

SCHEMA_VERSION = "1.0"

Json = None | bool | int | float | str | Sequence["Json"] | dict[str, "Json"]
JsonObject = dict[str, Json]


def build_document(result: ScanResult, *, with_patches: bool = False) -> JsonObject:
    """Return the document of one input; ``with_patches`` puts the patch maps in, as base64."""
    score = result.score
    return {
        "schema_version": SCHEMA_VERSION,
        "input": {
            "path": to_text(result.path),
            "sha256": result.source.sha256,
            "size_bytes": result.source.size_bytes,
        },
        "media": None if result.probe is None else _media(result.probe, find_warnings(result)),
        "outcome": result.outcome.value,
        "score": _score(score),
        "verdict": _verdict(result),
        "coverage": None if score is None else _coverage(score),
        "tracks": []
        if score is None
        else [_track(result, t, with_patches=with_patches) for t in score.tracks],
        "segments": [] if score is None else [_segment(each) for each in score.segments],
        "time_series": _time_series(result),
        "model": {
            "name": result.model.name,
            "weights_sha256": result.model.weights_sha256,
            "engine": result.model.engine,
            "precision": result.model.precision,
        },
        "fingerprint": result.fingerprint,
        "timings_ms": dict(result.timings_ms),
        "error": _error(result),
    }


def dump_document(document: Json, *, indent: int | None = None) -> str:
    """Return a document as text: ASCII, so that no name in it can steer a terminal; no NaN."""
    separators = (",", ":") if indent is None else None
    return json.dumps(document, ensure_ascii=True, allow_nan=False, indent=indent, separators=separators)


def find_warnings(result: ScanResult) -> tuple[MediaWarning, ...]:
    """Return what is unusual about the input, from probing and from decoding."""
    found = dict.fromkeys(() if result.probe is None else result.probe.warnings)
    found |= dict.fromkeys(() if result.evidence is None else result.evidence.warnings)
    return tuple(found)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _media(probe: Probe, warnings: Sequence[MediaWarning]) -> JsonObject:
    return {
        "kind": probe.kind.value,
        "container": probe.container.value,
        "codec": probe.codec,
        "pixel_format": probe.pixel_format,
        "width": probe.width,
        "height": probe.height,
        "coded_width": probe.coded_width,
        "coded_height": probe.coded_height,
        "rotation": probe.rotation,
        "sample_aspect_ratio": list(probe.sample_aspect_ratio),
        "duration_us": probe.duration_us,
        "frame_count": probe.frame_count,
        "bit_rate": probe.bit_rate,
        "is_variable_rate": probe.is_variable_rate,
        "is_hdr": probe.is_hdr,
        "is_interlaced": probe.is_interlaced,
        "color_matrix": probe.color_matrix,
        "color_range": probe.color_range,
        "color_transfer": probe.color_transfer,
        "has_audio": probe.has_audio,
        "stream_count": probe.stream_count,
        "attached_pictures": probe.attached_pictures,
        "warnings": [warning.value for warning in warnings],
    }


def _score(score: VideoScore | None) -> JsonObject:
    if score is None:
        return {"raw": None, "calibrated": None, "interval": None}
    interval = None if score.interval is None else [_round(end) for end in score.interval]
    return {"raw": _round(score.raw), "calibrated": _round(score.calibrated), "interval": interval}


def _verdict(result: ScanResult) -> JsonObject:
    policy, verdict = result.policy, result.verdict
    return {
        "value": None if verdict is None or verdict.value is None else verdict.value.value,
        "policy": f"{policy.name}@{policy.version}",
        "thresholds": {"low": _round(policy.low), "high": _round(policy.high)},
        "reasons": [] if verdict is None else [reason.value for reason in verdict.reasons],
    }


def _coverage(score: VideoScore) -> JsonObject:
    coverage: Coverage = score.coverage
    return {
        "frames_in_video": coverage.frames_in_video,
        "frames_sampled": coverage.frames_sampled,
        "frames_decoded": coverage.frames_decoded,
        "frames_with_face": coverage.frames_with_face,
        "faces_detected": coverage.faces_detected,
        "faces_scored": coverage.faces_scored,
        "faces_rejected": {reason.value: count for reason, count in coverage.faces_rejected},
        "scored_us": coverage.scored_us,
        "total_us": coverage.total_us,
        "ratio": _round(coverage.ratio),
        "reasons": [reason.value for reason in score.reasons],
    }


def _track(result: ScanResult, track: TrackScore, *, with_patches: bool) -> JsonObject:
    rows = find_rows(result, track) if with_patches else {}
    frames: list[Json] = []
    for frame in track.frames:
        form = _frame(frame)
        if with_patches:
            row = rows.get(frame.pts_us)
            form["patch_map"] = None if row is None else encode_map(result, row)
        frames.append(form)
    return {
        "ordinal": track.ordinal,
        "start_us": track.start_us,
        "end_us": track.end_us,
        "score": _round(track.score),
        "outcome": track.outcome.value,
        "reasons": [reason.value for reason in track.reasons],
        "peak_pts_us": list(track.peak_pts_us),
        "regions": {region.value: _round(share) for region, share in track.regions},
        "patch_persistence": _round(track.patch_persistence),
        "frames": frames,
    }


def _frame(frame: FrameScore) -> JsonObject:
    x, y, width, height = (_round(value) for value in frame.box)
    return {
        "pts_us": frame.pts_us,
        "box": {"x": x, "y": y, "w": width, "h": height},
        "score": _round(frame.score),
        "patch_max": _round(frame.patch_max),
        "patch_area": _round(frame.patch_area),
        "exclude_reason": None if frame.exclude_reason is None else frame.exclude_reason.value,
    }


def _segment(segment: Segment) -> JsonObject:
    return {
        "kind": segment.kind.value,
        "start_us": segment.start_us,
        "end_us": segment.end_us,
        "track": segment.track,
        "score_max": _round(segment.score_max),
        "score_mean": _round(segment.score_mean),
        "reason": None if segment.reason is None else segment.reason.value,
        "regions": [region.value for region in segment.regions],
    }


def _time_series(result: ScanResult) -> JsonObject | None:
    """Return the scores over time; null for a picture, which has no time."""
    series: TimeSeries | None = None if result.score is None else result.score.time_series
    if series is None or result.probe is None or result.probe.kind is MediaKind.PICTURE:
        return None
    return {
        "pts_us": list(series.pts_us),
        "score": [_round(score) for score in series.score],
        "track": list(series.track),
        "excluded": [[start, end, reason.value] for start, end, reason in series.excluded],
    }


def _error(result: ScanResult) -> JsonObject | None:
    fault = result.fault
    if fault is None:
        return None
    # A message may name the file, with bytes in it that are no text.
    message = fault.message.encode("utf-8", "backslashreplace").decode("utf-8")
    return {"reason": fault.reason.value, "message": message, "hint": fault.hint}
