"""The JSON Schema (draft 2020-12) of the documents that ``fakesieve scan`` prints."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from engine.container import Container, MediaKind
from engine.result_forms import SCHEMA_VERSION
from engine.results import (
    MISSING_GROUPS,
    EvidenceReason,
    FaceRegion,
    MediaWarning,
    Outcome,
    RejectReason,
    SegmentKind,
    VerdictReason,
    VerdictValue,
)

Schema = Mapping[str, "Schema | Sequence[Schema] | Sequence[str] | Sequence[int] | str | int | float | bool"]

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def build_schema() -> Schema:
    """Return the schema of one document; ``--json`` prints an array of them, ``--jsonl`` one a line."""
    document = _object(
        "One input of a scan. Times are integer microseconds from the first presented frame, spans are half "
        "open, boxes are fractions of the displayed picture, scores are P(manipulated) from 0 to 1.",
        {
            "schema_version": {
                "const": SCHEMA_VERSION,
                "description": "Of this layout; a document follows the schema of the release that wrote it.",
            },
            "input": _input(),
            "media": _or_null(_media()),
            "outcome": _one_of(Outcome, "Was there evidence? Neither a score nor a verdict."),
            "score": _score(),
            "verdict": _verdict(),
            "coverage": _or_null(_coverage()),
            "tracks": _list(_track(), "One face over time each, by ordinal."),
            "segments": _list(_segment(), "Spans that stand out, in order of time."),
            "time_series": _or_null(_time_series()),
            "model": _model(),
            "fingerprint": _hash("SHA-256 of everything that can move a number; thresholds are not in it."),
            "timings_ms": {
                "type": "object",
                "description": "Time by stage, and in total; the only part that differs between equal scans.",
                "additionalProperties": _count(),
            },
            "error": _or_null(_error()),
        },
    )
    return {"$schema": DRAFT, "title": "fakesieve scan document", **document}


def _object(description: str, properties: Mapping[str, Schema], optional: Iterable[str] = ()) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": [name for name in properties if name not in set(optional)],
        "additionalProperties": False,
    }


def _list(items: Schema, description: str) -> Schema:
    return {"type": "array", "description": description, "items": items}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _one_of(values: type[StrEnum], description: str = "") -> Schema:
    return {"type": "string", "enum": [value.value for value in values], "description": description}


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


def _hash(description: str) -> Schema:
    return {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": description}


def _count(description: str = "") -> Schema:
    return {"type": "integer", "minimum": 0, "description": description}


def _share(description: str = "") -> Schema:
    return {"type": "number", "minimum": 0, "maximum": 1, "description": description}


def _flag(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def _input() -> Schema:
    return _object(
        "The file as it was named; sha256 and size are null where it could not be read.",
        {
            "path": _text("Bytes that are no UTF-8 are written as escapes."),
            "sha256": _or_null(_hash("Of the whole file.")),
            "size_bytes": _or_null(_count()),
        },
    )


def _media() -> Schema:
    return _object(
        "What probing found; null for an input that was refused.",
        {
            "kind": _one_of(MediaKind),
            "container": _one_of(Container),
            "codec": _text("FFmpeg's name."),
            "pixel_format": _text("FFmpeg's name."),
            "width": _count("As displayed: after rotation, with square pixels."),
            "height": _count("As displayed."),
            "coded_width": _count(),
            "coded_height": _count(),
            "rotation": {"enum": [0, 90, 180, 270], "description": "Degrees clockwise that make it upright."},
            "sample_aspect_ratio": {"type": "array", "items": _count(), "minItems": 2, "maxItems": 2},
            "duration_us": _count("From the packets; 0 for a picture."),
            "frame_count": _count(),
            "bit_rate": _count("Of the video stream, bits per second."),
            "is_variable_rate": _flag("Frames come at uneven distances."),
            "is_hdr": _flag("High dynamic range."),
            "is_interlaced": _flag("Two half pictures a frame."),
            "color_matrix": _text("FFmpeg's name."),
            "color_range": _text("FFmpeg's name."),
            "color_transfer": _text("FFmpeg's name."),
            "has_audio": _flag("Sound is not looked at."),
            "stream_count": _count(),
            "attached_pictures": _count(),
            "warnings": _list(_one_of(MediaWarning), "What is unusual and may bear on the score."),
        },
    )


def _score() -> Schema:
    interval: Schema = {
        "type": "array",
        "description": "95 % interval of calibrated where there is one, else of raw.",
        "items": _share(),
        "minItems": 2,
        "maxItems": 2,
    }
    return _object(
        "Null where there is no evidence: no number stands in for a missing one.",
        {
            "raw": _or_null(_share("What the network and the scoring say. No probability.")),
            "calibrated": _or_null(_share("P(manipulated); null for a model without a calibration.")),
            "interval": _or_null(interval),
        },
    )


def _verdict() -> Schema:
    thresholds = _object("Of the policy.", {"low": _share(), "high": _share()})
    return _object(
        "What the policy says of the score; null exactly when there is none.",
        {
            "value": _or_null(_one_of(VerdictValue)),
            "policy": _text("name@version"),
            "thresholds": thresholds,
            "reasons": _list(_one_of(VerdictReason), ""),
        },
    )


def _coverage() -> Schema:
    rejected: Schema = {
        "type": "object",
        "description": "Faces that were not scored, by reason.",
        "propertyNames": {"enum": [reason.value for reason in EvidenceReason]},
        "additionalProperties": _count(),
    }
    return _object(
        "How much of the video the score rests on.",
        {
            "frames_in_video": _count(),
            "frames_sampled": _count("Asked for."),
            "frames_decoded": _count("Of those."),
            "frames_with_face": _count(),
            "faces_detected": _count(),
            "faces_scored": _count(),
            "faces_rejected": rejected,
            "scored_us": _count("Time with at least one scored face."),
            "total_us": _count(),
            "ratio": _share("scored_us of total_us; 1 for a picture with a scored face."),
            "missing": _or_null(_missing()),
            "reasons": _list(_one_of(EvidenceReason), "Why the outcome is what it is, and caveats."),
        },
    )


def _missing() -> Schema:
    cause = _object(
        "Samples that did not come, all for one cause; of more than 8 causes the last entry has the rest.",
        {
            "reason": _one_of(EvidenceReason),
            "detail": _text("What was seen; where decoding was broken off, its reason and a colon first."),
            "count": _count("Of samples."),
            "first_us": _count("Time of the first of them."),
            "last_us": _count("Time of the last of them."),
            "pts_us": _or_null(
                _list(_count(), "Times of all of them, in order; null where only first and last were kept.")
            ),
        },
    )
    causes = _list(cause, "Which frames_sampled - frames_decoded frames are missing, and why.")
    return {**causes, "maxItems": MISSING_GROUPS}


def _track() -> Schema:
    regions: Schema = {
        "type": "object",
        "description": "Mean share of suspicious patches by region of the face.",
        "properties": {region.value: _share() for region in FaceRegion},
        "additionalProperties": False,
    }
    return _object(
        "One face over time. No likeness was used to follow it.",
        {
            "ordinal": _count(),
            "start_us": _count(),
            "end_us": _count(),
            "score": _or_null(_share()),
            "outcome": _one_of(Outcome),
            "reasons": _list(_one_of(EvidenceReason), "Why it has no score."),
            "peak_pts_us": _list(_count(), "Times of its highest scores, highest first."),
            "regions": regions,
            "patch_persistence": _or_null(_share("Mean overlap of the maps of neighbouring frames.")),
            "frames": _list(_frame(), "One entry for each sample with this face, in order of time."),
        },
    )


def _frame() -> Schema:
    number: Schema = {"type": "number"}
    box = _object("May reach outside of the picture.", {"x": number, "y": number, "w": number, "h": number})
    return _object(
        "One face in one sample: either a score or a reason for having none.",
        {
            "pts_us": _count(),
            "box": box,
            "score": _or_null(_share()),
            "patch_max": _or_null(_share("Highest P(patch manipulated).")),
            "patch_area": _or_null(_share("Share of patches at or above one half.")),
            "exclude_reason": _or_null(_one_of(EvidenceReason)),
            "patch_map": _or_null(_patch_map()),
        },
        optional=["patch_map"],
    )


def _patch_map() -> Schema:
    row: Schema = {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}
    return _object(
        "Where on the face: only with --patches.",
        {
            "grid": _count("Cells a side."),
            "u8": {
                "type": "string",
                "contentEncoding": "base64",
                "description": "One byte a cell, 255 * P, row by row from the top left.",
            },
            "crop_size": _count("Side of the crop in pixels, which the cells divide evenly."),
            "to_frame": {
                "type": "array",
                "description": "Affine from crop pixels to pixels of the displayed frame.",
                "items": row,
                "minItems": 2,
                "maxItems": 2,
            },
        },
    )


def _segment() -> Schema:
    return _object(
        "A span that stands out.",
        {
            "kind": _one_of(SegmentKind),
            "start_us": _count(),
            "end_us": _count("Of a cut the same as its start."),
            "track": _or_null(_count("Null where the span concerns the whole picture.")),
            "score_max": _or_null(_share()),
            "score_mean": _or_null(_share()),
            "reason": _or_null(_one_of(EvidenceReason)),
            "regions": _list(_one_of(FaceRegion), "Where on the face, highest first."),
        },
    )


def _time_series() -> Schema:
    excluded: Schema = {
        "type": "array",
        "prefixItems": [_count(), _count(), _one_of(EvidenceReason)],
        "items": False,
        "minItems": 3,
    }
    return _object(
        "Columns with one entry for each decoded sample; null for a picture and for a failed input.",
        {
            "pts_us": _list(_count(), ""),
            "score": _list(_or_null(_share()), "Highest score of the sample."),
            "track": _list(_or_null(_count()), "The track with that score."),
            "excluded": _list(excluded, "Start, end and reason of spans without a scored face."),
        },
    )


def _model() -> Schema:
    return _object(
        "What made the score.",
        {
            "name": _text("Of the bundle."),
            "weights_sha256": _hash("Of the weights."),
            "engine": _text("onnxruntime, openvino or torch; on a GPU onnxruntime-cuda or -tensorrt."),
            "precision": _text("What it computed in: f32, on request bf16 (openvino) or f16 (TensorRT)."),
        },
    )


def _error() -> Schema:
    return _object(
        "Why the input could not be scanned; null when it was.",
        {
            "reason": _one_of(RejectReason),
            "message": _text("What was seen."),
            "hint": _text("What can be done."),
        },
    )
