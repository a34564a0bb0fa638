"""The JSON document of a job's result: that of ``fakesieve scan`` for the same video, and the job beside it.

Made from rows with the forms of ``engine.result_forms``: whoever serves results needs no decoder and no
network. A contract test holds it against ``engine/output/document.py``.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from engine import result_forms
from engine.result_forms import (
    MEDIA_FIELDS,
    SCHEMA_VERSION,
    Json,
    JsonObject,
    form_coverage,
    form_score,
    form_segment,
    form_time_series,
    form_track,
    form_verdict,
)
from engine.results import Outcome
from fakesieve.records.analyses import AnalysisRecord, TrackMaps

_PICTURE = "picture"


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
    score = record.score
    is_picture = video.media is not None and video.media.get("kind") == _PICTURE
    maps = {each.ordinal: _index_maps(each) for each in record.maps} if with_patches else None
    tracks: list[Json] = [
        form_track(track, None if maps is None else maps.get(track.ordinal, {})) for track in score.tracks
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "job": job,
        "input": _input(video),
        "media": _media(video, [warning.value for warning in record.warnings]),
        "outcome": score.outcome.value,
        "score": form_score(score),
        "verdict": form_verdict(record.policy, record.verdict),
        "coverage": form_coverage(score),
        "tracks": tracks,
        "segments": [form_segment(each) for each in score.segments],
        "time_series": form_time_series(score, is_picture=is_picture),
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
        "score": form_score(None),
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


def _input(video: VideoFacts) -> JsonObject:
    return {"path": video.path, "sha256": video.sha256, "size_bytes": video.size_bytes}


def _media(video: VideoFacts, warnings: list[str] | None) -> JsonObject | None:
    """Return the probe's answer; ``warnings`` are those of decoding too, if it was decoded."""
    if video.media is None:
        return None
    media = cast("Mapping[str, Json]", video.media)
    return {
        **{name: media.get(name) for name in MEDIA_FIELDS},
        "warnings": media.get("warnings") if warnings is None else warnings,
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
    return result_forms.form_map(maps.grid, data, maps.crop_size, (matrix[:3], matrix[3:]))


def _index_maps(maps: TrackMaps) -> dict[int, JsonObject]:
    """Return the maps of a track by the time of their frame."""
    data = unpack_maps(maps)
    return {time: form_map(maps, index, data[index]) for index, time in enumerate(maps.pts_us)}
