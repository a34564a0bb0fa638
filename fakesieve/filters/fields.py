"""The allow-list: what a filter may name, of which kind it is, and what results may be ordered by."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from engine.results import (
    EvidenceReason,
    FaceRegion,
    MediaWarning,
    Outcome,
    SegmentKind,
    VerdictReason,
    VerdictValue,
)
from fakesieve.values.reviews import Disposition


class FieldKind(Enum):
    """What values a field takes and how it is compared."""

    TEXT = "text"
    CHOICE = "choice"
    NUMBER = "number"
    INTEGER = "integer"
    TIME = "time"
    LIST = "list of choices"
    TAGS = "texts by name"


@dataclass(frozen=True)
class Field:
    """One name of the allow-list. ``choices`` are the values of a closed list."""

    name: str
    kind: FieldKind
    meaning: str
    choices: tuple[str, ...] = ()
    is_order: bool = False

    @property
    def noun(self) -> str | None:
        """The list whose elements have this field; None for a field of the analysis itself."""
        head = self.name.partition(".")[0]
        return head if head in NOUNS and head != self.name else None


NOUNS: Mapping[str, str] = {
    "tracks": "faces over time",
    "frames": "faces in single frames",
    "segments": "spans that stand out",
    "jobs": "requests that this analysis answered",
}
"""Lists of an analysis. A comparison fits if one element fits; ``tracks:(a AND b)`` asks both of one."""


def _values(choices: type[StrEnum]) -> tuple[str, ...]:
    return tuple(choice.value for choice in choices)


def _text(name: str, meaning: str) -> Field:
    return Field(name, FieldKind.TEXT, meaning)


def _number(name: str, meaning: str, *, is_order: bool = False) -> Field:
    return Field(name, FieldKind.NUMBER, meaning, is_order=is_order)


def _integer(name: str, meaning: str, *, is_order: bool = False) -> Field:
    return Field(name, FieldKind.INTEGER, meaning, is_order=is_order)


def _choice(name: str, choices: type[StrEnum], meaning: str) -> Field:
    return Field(name, FieldKind.CHOICE, meaning, _values(choices))


def _list(name: str, choices: type[StrEnum], meaning: str) -> Field:
    return Field(name, FieldKind.LIST, meaning, _values(choices))


_ALL = (
    _text("id", "id of the analysis"),
    _text("video_id", "id of the video"),
    _text("external_id", "your own name for the video"),
    _text("sha256", "hash of the video's bytes"),
    Field("tags", FieldKind.TAGS, "labels of the video, as in tags.campaign = \"spring\""),
    Field("create_time", FieldKind.TIME, "when the analysis was stored", is_order=True),
    _choice("outcome", Outcome, "whether there was evidence"),
    _choice("verdict", VerdictValue, "what the policy says; null without a score"),
    _list("verdict_reasons", VerdictReason, "why the verdict reads as it does"),
    _choice("disposition", Disposition, "what people say: the newest decision that stands; null without one"),
    _text("policy", "name of the policy of the verdict"),
    _integer("policy_version", "its version"),
    _number("score", "P(manipulated), calibrated where there is a calibration", is_order=True),
    _number("score.raw", "score before calibration"),
    _number("score.calibrated", "calibrated score; null without a calibration"),
    _number("score.low", "lower end of the 95 % interval"),
    _number("score.high", "upper end of the 95 % interval"),
    _text("model", "name of the model"),
    _text("model_id", "id of the model, which names its weights"),
    _text("fingerprint", "name of the whole pipeline"),
    _text("engine", "what ran the network"),
    _text("precision", "its arithmetic"),
    _number("coverage.ratio", "share of the video's time with a scored face", is_order=True),
    _integer("coverage.frames_sampled", "frames that were looked at"),
    _integer("coverage.frames_decoded", "frames that could be decoded"),
    _integer("coverage.frames_with_face", "frames with a face"),
    _integer("coverage.faces_detected", "faces found in them"),
    _integer("coverage.faces_scored", "faces scored"),
    _integer("coverage.scored_us", "time with a scored face, microseconds"),
    _list("reasons", EvidenceReason, "caveats of the evidence"),
    _list("warnings", MediaWarning, "what is unusual about the file"),
    _integer("duration_us", "duration of the video, microseconds", is_order=True),
    _integer("size_bytes", "size of the file"),
    _integer("width", "width of the picture, pixels"),
    _integer("height", "height of the picture, pixels"),
    _text("container", "format of the file"),
    _text("codec", "format of its pictures"),
    _integer("tracks.ordinal", "number of the face, from 0"),
    _number("tracks.score", "score of the face"),
    _choice("tracks.outcome", Outcome, "whether the face had evidence"),
    _integer("tracks.start_us", "first time of the face"),
    _integer("tracks.end_us", "end of its last time"),
    _integer("tracks.frame_count", "frames with the face"),
    _integer("tracks.scored_count", "frames of it that were scored"),
    _number("tracks.patch_persistence", "overlap of its hot patches from frame to frame"),
    _list("tracks.reasons", EvidenceReason, "caveats of the face"),
    *(
        _number(f"tracks.regions.{region.value}", "mean share of suspicious patches there")
        for region in FaceRegion
    ),
    _number("frames.score", "score of one face in one frame"),
    _number("frames.patch_max", "highest patch of it"),
    _number("frames.patch_area", "share of its patches over the map's threshold"),
    _integer("frames.pts_us", "time of the frame"),
    _choice("frames.exclude_reason", EvidenceReason, "why it has no score"),
    _number("patch_area", "the same as frames.patch_area"),
    _choice("segments.kind", SegmentKind, "what the span stands out for"),
    _integer("segments.start_us", "its begin"),
    _integer("segments.end_us", "its end"),
    _integer("segments.track", "number of the face; null is the whole picture"),
    _number("segments.score_max", "highest score in it"),
    _number("segments.score_mean", "mean score in it"),
    _choice("segments.reason", EvidenceReason, "why it was excluded"),
    _list("segments.regions", FaceRegion, "parts of the face that stand out in it"),
    _text("jobs.id", "id of the job"),
    _text("jobs.batch_id", "batch of the job"),
    _text("jobs.external_id", "name that the job gave the video"),
    _text("jobs.bucket", "bucket of its object"),
    _text("jobs.key", "key of its object"),
    _text("jobs.file", "name of its file: that of its upload, else what stands behind the last / of the key"),
)  # fmt: skip
FIELDS: Mapping[str, Field] = {field.name: field for field in _ALL}
ALIASES: Mapping[str, str] = {"patch_area": "frames.patch_area"}
ORDERS = tuple(field.name for field in _ALL if field.is_order)
