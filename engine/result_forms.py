"""The parts of a result's JSON document that are made from plain results, for scans and stored results alike.

Standard library only: whoever serves results needs no decoder and no network. Every key is always there; what
is not known is null. Numbers are rounded to six digits, so that the documents of two equal scans are equal.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence

from engine.policy import Policy
from engine.results import Coverage, FrameScore, MissingSamples, Segment, TrackScore, VideoScore, VideoVerdict

SCHEMA_VERSION = "1.0"
"""Of the layout; docs/reference/json.md says when it is raised."""
DETAIL_LONGEST = 300  # characters of why samples are missing

MEDIA_FIELDS = (
    "kind", "container", "codec", "pixel_format", "width", "height", "coded_width", "coded_height",
    "rotation", "sample_aspect_ratio", "duration_us", "frame_count", "bit_rate", "is_variable_rate", "is_hdr",
    "is_interlaced", "color_matrix", "color_range", "color_transfer", "has_audio", "stream_count",
    "attached_pictures",
)  # fmt: skip
"""What a document says of a probe, by the names that it has there; ``warnings`` come beside them."""

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
JsonObject = dict[str, Json]


def round_number(value: float | None) -> float | None:
    """Return a number as it stands in documents, with six digits."""
    return None if value is None else round(value, 6)


def form_score(score: VideoScore | None) -> JsonObject:
    """Return the score of a video; all null where there is none."""
    if score is None:
        return {"raw": None, "calibrated": None, "interval": None}
    interval = None if score.interval is None else [round_number(end) for end in score.interval]
    return {
        "raw": round_number(score.raw),
        "calibrated": round_number(score.calibrated),
        "interval": interval,
    }


def form_verdict(policy: Policy, verdict: VideoVerdict | None) -> JsonObject:
    """Return what a policy makes of a score; None for an input that was not scored."""
    return {
        "value": None if verdict is None or verdict.value is None else verdict.value.value,
        "policy": f"{policy.name}@{policy.version}",
        "thresholds": {"low": round_number(policy.low), "high": round_number(policy.high)},
        "reasons": [] if verdict is None else [reason.value for reason in verdict.reasons],
    }


def form_coverage(score: VideoScore) -> JsonObject:
    """Return how much of a video was judged, and why not more."""
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
        "ratio": round_number(coverage.ratio),
        "missing": None if coverage.missing is None else form_missing(coverage.missing),
        "reasons": [reason.value for reason in score.reasons],
    }


def form_missing(missing: Iterable[MissingSamples]) -> list[JsonObject]:
    """Return why samples did not come, an entry for each cause."""
    return [
        {
            "reason": samples.reason.value,
            "detail": _clean(samples.detail)[:DETAIL_LONGEST],
            "count": samples.count,
            "first_us": samples.first_us,
            "last_us": samples.last_us,
            "pts_us": None if samples.pts_us is None else list(samples.pts_us),
        }
        for samples in missing
    ]


def _clean(detail: str) -> str:
    """Escape what JSON, or a database's JSON, cannot hold: what was seen may name a file with such bytes."""
    return detail.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def form_track(track: TrackScore, maps: Mapping[int, JsonObject] | None = None) -> JsonObject:
    """Return one face over time.

    With ``maps``, by the times of frames, every frame has a ``patch_map``, null where it has none there.
    """
    frames: list[Json] = []
    for frame in track.frames:
        form = _form_frame(frame)
        if maps is not None:
            form["patch_map"] = maps.get(frame.pts_us)
        frames.append(form)
    return {
        "ordinal": track.ordinal,
        "start_us": track.start_us,
        "end_us": track.end_us,
        "score": round_number(track.score),
        "outcome": track.outcome.value,
        "reasons": [reason.value for reason in track.reasons],
        "peak_pts_us": list(track.peak_pts_us),
        "regions": {region.value: round_number(share) for region, share in track.regions},
        "patch_persistence": round_number(track.patch_persistence),
        "frames": frames,
    }


def _form_frame(frame: FrameScore) -> JsonObject:
    x, y, width, height = (round_number(value) for value in frame.box)
    return {
        "pts_us": frame.pts_us,
        "box": {"x": x, "y": y, "w": width, "h": height},
        "score": round_number(frame.score),
        "patch_max": round_number(frame.patch_max),
        "patch_area": round_number(frame.patch_area),
        "exclude_reason": None if frame.exclude_reason is None else frame.exclude_reason.value,
    }


def form_segment(segment: Segment) -> JsonObject:
    """Return one span that stands out."""
    return {
        "kind": segment.kind.value,
        "start_us": segment.start_us,
        "end_us": segment.end_us,
        "track": segment.track,
        "score_max": round_number(segment.score_max),
        "score_mean": round_number(segment.score_mean),
        "reason": None if segment.reason is None else segment.reason.value,
        "regions": [region.value for region in segment.regions],
    }


def form_time_series(score: VideoScore | None, *, is_picture: bool) -> JsonObject | None:
    """Return the scores over time; null for a picture, which has no time."""
    series = None if score is None else score.time_series
    if series is None or is_picture:
        return None
    return {
        "pts_us": list(series.pts_us),
        "score": [round_number(score) for score in series.score],
        "track": list(series.track),
        "excluded": [[start, end, reason.value] for start, end, reason in series.excluded],
    }


def form_map(grid: int, patches: bytes, crop_size: int, to_frame: Iterable[Iterable[float]]) -> JsonObject:
    """Return one patch map: ``grid`` cells a side, row by row from the top left, 255 * P as base64 bytes.

    ``to_frame`` [2][3] leads from crop pixels, ``crop_size`` a side, to pixels of the displayed frame.
    """
    return {
        "grid": grid,
        "u8": base64.b64encode(patches).decode("ascii"),
        "crop_size": crop_size,
        "to_frame": [[round(float(value), 6) for value in line] for line in to_frame],
    }
