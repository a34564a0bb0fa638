"""The JSON document of one scanned input, which ``engine/output/schema.py`` describes.

Its parts are those of ``engine.result_forms``, which documents of stored results have as well.
"""

import json
from collections.abc import Sequence

from engine.container import MediaKind
from engine.output.names import to_text
from engine.output.patches import encode_map, find_rows
from engine.probe import Probe
from engine.result_forms import (
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
from engine.results import MediaWarning, TrackScore
from engine.scan_result import ScanResult


def build_document(result: ScanResult, *, with_patches: bool = False) -> JsonObject:
    """Return the document of one input; ``with_patches`` puts the patch maps in, as base64."""
    score = result.score
    is_picture = result.probe is not None and result.probe.kind is MediaKind.PICTURE

    def maps(track: TrackScore) -> dict[int, JsonObject] | None:
        return _encode_maps(result, track) if with_patches else None

    return {
        "schema_version": SCHEMA_VERSION,
        "input": {
            "path": to_text(result.path),
            "sha256": result.source.sha256,
            "size_bytes": result.source.size_bytes,
        },
        "media": None if result.probe is None else _media(result.probe, find_warnings(result)),
        "outcome": result.outcome.value,
        "score": form_score(score),
        "verdict": form_verdict(result.policy, result.verdict),
        "coverage": None if score is None else form_coverage(score),
        "tracks": [] if score is None else [form_track(t, maps(t)) for t in score.tracks],
        "segments": [] if score is None else [form_segment(each) for each in score.segments],
        "time_series": form_time_series(score, is_picture=is_picture),
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


def _encode_maps(result: ScanResult, track: TrackScore) -> dict[int, JsonObject]:
    """Return the patch maps of a track by the times of their frames."""
    return {time: encode_map(result, row) for time, row in find_rows(result, track).items()}


def _error(result: ScanResult) -> JsonObject | None:
    fault = result.fault
    if fault is None:
        return None
    # A message may name the file, with bytes in it that are no text.
    message = fault.message.encode("utf-8", "backslashreplace").decode("utf-8")
    return {"reason": fault.reason.value, "message": message, "hint": fault.hint}
