"""The JSON document of a job's result: that of ``fakesieve scan`` for the same video, and the job beside it.

Made from rows in plain Python: whoever serves results needs no decoder and no network. A contract test
holds it against ``engine/output/document.py``. Every key is always there; numbers have six digits.
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from engine.results import Coverage, FrameScore, Outcome, Segment, TrackScore, VideoScore
from fakesieve.records.analyses import AnalysisRecord, TrackMaps

SCHEMA_VERSION = "1.0"
_PICTURE = "picture"
_MEDIA = (
    "kind",
    "container",
    "codec",
    "pixel_format",
    "width",
    "height",
    "coded_width",
    "coded_height",
    "rotation",
    "sample_aspect_ratio",
    "duration_us",
    "frame_count",
    "bit_rate",
    "is_variable_rate",
    "is_hdr",
    "is_interlaced",
    "color_matrix",
    "color_range",
    "color_transfer",
    "has_audio",
    "stream_count",
    "attached_pictures",
)

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
JsonObject = dict[str, Json]


@dataclass(frozen=True)
class VideoFacts:
    """What is known of the bytes: where they were, their hash and size, and the probe's answer."""

    path: str
    sha256: str | None = None
    size_bytes: int | None = None
    media: Mapping[str, object] | None = None


def build_document(
    video: VideoFacts, record: AnalysisRecord, job: JsonObject | None, *, with_patches: bool = False
) -> JsonObject:
    """Return the document of an analysis; ``with_patches`` puts the patch maps in, as base64."""
    score, policy, verdict = record.score, record.policy, record.verdict
    maps = {each.ordinal: _index_maps(each) for each in record.maps} if with_patches else None
    tracks: list[Json] = [
        _track(track, None if maps is None else maps.get(track.ordinal, {})) for track in score.tracks
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "job": job,
        "input": _input(video),
        "media": _media(video, [warning.value for warning in record.warnings]),
        "outcome": score.outcome.value,
        "score": _score(score),
        "verdict": {
            "value": None if verdict.value is None else verdict.value.value,
            "policy": f"{policy.name}@{policy.version}",
            "thresholds": {"low": _round(policy.low), "high": _round(policy.high)},
            "reasons": [reason.value for reason in verdict.reasons],
        },
        "coverage": _coverage(score),
        "tracks": tracks,
        "segments": [_segment(each) for each in score.segments],
        "time_series": _time_series(video, score),
        "model": {
            "name": record.model.name,
            "weights_sha256": record.model.weights_sha256,
            "engine": record.model.engine,
            "precision": record.model.precision,
        },
        "fingerprint": record.fingerprint,
        "timings_ms": dict(record.timings_ms),
        "error": None,
    }


def build_failed_document(
    video: VideoFacts, job: JsonObject, error: JsonObject | None, fingerprint: str | None
) -> JsonObject:
    """Return the document of a job without an analysis: no model has looked, so none is named."""
    return {
        "schema_version": SCHEMA_VERSION,
        "job": job,
        "input": _input(video),
        "media": _media(video, None),
        "outcome": Outcome.UNSCORABLE.value,
        "score": {"raw": None, "calibrated": None, "interval": None},
        "verdict": None,
        "coverage": None,
        "tracks": [],
        "segments": [],
        "time_series": None,
        "model": None,
        "fingerprint": fingerprint,
        "timings_ms": {},
        "error": error,
    }


def extend_schema(schema: Mapping[str, object]) -> dict[str, object]:
    """Return the JSON Schema of these documents from that of ``scan``'s.

    ``job`` comes in, and what names a pipeline is null where none has looked.
    """
    properties = dict(cast("Mapping[str, Mapping[str, object]]", schema["properties"]))
    for name in ("verdict", "model", "fingerprint"):
        properties[name] = {"anyOf": [properties[name], {"type": "null"}]}
    properties["job"] = {
        "type": "object",
        "description": "The request that led here, as 'fakesieve jobs show --json' prints it.",
        "properties": {
            "id": {"type": "string", "pattern": "^job_[0-9a-z]{26}$"},
            "state": {"enum": ["succeeded", "failed", "cancelled", "expired"]},
            "attempts": {"type": "integer", "minimum": 0},
        },
        "required": ["id", "state", "attempts", "lane", "source", "reused_analysis", "shards", "error"],
    }
    return {**schema, "properties": properties, "required": list(properties)}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _input(video: VideoFacts) -> JsonObject:
    return {"path": video.path, "sha256": video.sha256, "size_bytes": video.size_bytes}


def _media(video: VideoFacts, warnings: list[str] | None) -> JsonObject | None:
    """Return the probe's answer; ``warnings`` are those of decoding too, if it was decoded."""
    if video.media is None:
        return None
    media = cast("Mapping[str, Json]", video.media)
    return {
        **{name: media.get(name) for name in _MEDIA},
        "warnings": media.get("warnings") if warnings is None else warnings,
    }


def _score(score: VideoScore) -> JsonObject:
    interval = None if score.interval is None else [_round(end) for end in score.interval]
    return {"raw": _round(score.raw), "calibrated": _round(score.calibrated), "interval": interval}


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


def _track(track: TrackScore, maps: Mapping[int, JsonObject] | None) -> JsonObject:
    frames: list[Json] = []
    for frame in track.frames:
        form = _frame(frame)
        if maps is not None:
            form["patch_map"] = maps.get(frame.pts_us)
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


def _time_series(video: VideoFacts, score: VideoScore) -> JsonObject | None:
    """Return the scores over time; null for a picture, which has no time."""
    series = score.time_series
    if series is None or (video.media is not None and video.media.get("kind") == _PICTURE):
        return None
    return {
        "pts_us": list(series.pts_us),
        "score": [_round(score) for score in series.score],
        "track": list(series.track),
        "excluded": [[start, end, reason.value] for start, end, reason in series.excluded],
    }


def unpack_maps(maps: TrackMaps) -> list[bytes]:
    """Return the maps of a track, each grid x grid bytes by rows from the top left, 255 * P(manipulated)."""
    size = maps.grid * maps.grid
    packed = zlib.decompress(maps.packed)
    if len(packed) != size * len(maps.pts_us):
        raise ValueError(f"{len(packed)} bytes are not {len(maps.pts_us)} maps of {size}")
    return [packed[start : start + size] for start in range(0, len(packed), size)]


def form_map(maps: TrackMaps, index: int, data: bytes) -> JsonObject:
    """Return one map as ``scan --patches`` writes it."""
    matrix = maps.to_frame[index]
    return {
        "grid": maps.grid,
        "u8": base64.b64encode(data).decode("ascii"),
        "crop_size": maps.crop_size,
        "to_frame": [[round(value, 6) for value in line] for line in (matrix[:3], matrix[3:])],
    }


def _index_maps(maps: TrackMaps) -> dict[int, JsonObject]:
    """Return the maps of a track by the time of their frame."""
    data = unpack_maps(maps)
    return {time: form_map(maps, index, data[index]) for index, time in enumerate(maps.pts_us)}
