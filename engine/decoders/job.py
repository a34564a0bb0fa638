"""What the parent asks of a sandbox child and what it hears back. Plain values that survive JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Protocol, TypeVar, cast

from engine.arrays import U8
from engine.container import Container
from engine.decoders.timeline import Rate, TimeBase
from engine.limits import Limits


class FieldsWrong(ValueError):
    """A JSON object does not carry the fields of the record that it should be."""


_Record = TypeVar("_Record")
_PLAIN: dict[str, type] = {"int": int, "bool": bool, "str": str, "float": float}
_LONGEST_TEXT = 200


def _check_plain(name: str, kind: str, value: object) -> None:
    # `type is`: JSON true would pass for an int by isinstance.
    optional = kind.endswith(" | None")
    if optional and value is None:
        return
    expected = _PLAIN[kind.removesuffix(" | None")]
    if type(value) is not expected and not (expected is float and type(value) is int):
        raise FieldsWrong(f"{name} should be {kind}, is {type(value).__name__}")
    if isinstance(value, str) and (len(value) > _LONGEST_TEXT or not value.isprintable()):
        raise FieldsWrong(f"{name} is too long or not printable")
    if type(value) is int and abs(value) > 1 << 62:
        raise FieldsWrong(f"{name} is out of range")


def _kind_of(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def read_record(cls: type[_Record], values: Mapping[str, object]) -> _Record:
    """Make a flat dataclass of int, bool, str and float fields from JSON, refusing anything else.

    Raises `FieldsWrong` (a `ValueError`), or the `ValueError` of the record's own checks.
    """
    kinds = {field.name: _kind_of(field.type) for field in fields(cast("type", cls))}
    if set(values) != set(kinds):
        raise FieldsWrong(f"{cls.__name__}: fields {sorted(set(values) ^ set(kinds))} differ")
    for name, kind in kinds.items():
        _check_plain(name, kind, values[name])
    return cls(**values)


@dataclass(frozen=True)
class MediaFacts:
    """What looking at an input found, times excepted. Sizes are pixels; colour words are FFmpeg's names."""

    codec: str
    pixel_format: str
    coded_width: int
    coded_height: int
    width: int
    height: int
    rotation: int  # degrees clockwise that bring the coded picture upright
    is_mirrored: bool  # to be mirrored left to right before it is rotated
    sar_numerator: int
    sar_denominator: int
    stream_index: int
    time_numerator: int
    time_denominator: int
    origin_ticks: int
    rate_numerator: int
    rate_denominator: int
    duration_us: int
    declared_duration_us: int | None
    frame_us: int
    is_variable_rate: bool
    is_index_timed: bool
    has_bad_timestamps: bool
    is_hdr: bool
    is_interlaced: bool
    color_matrix: str
    color_range: str
    color_transfer: str
    has_audio: bool
    stream_count: int
    video_streams: int
    attached_pictures: int
    lost_frames: int  # listed by the container, absent from the file
    bit_rate: int

    def __post_init__(self) -> None:
        if self.rotation not in (0, 90, 180, 270):
            raise ValueError(f"rotation by {self.rotation} degrees")
        sizes = (self.coded_width, self.coded_height, self.width, self.height)
        if min(sizes) < 1 or min(self.sar_numerator, self.sar_denominator) < 1:
            raise ValueError(f"no picture size: {sizes}")
        counts = (self.stream_index, self.stream_count, self.video_streams, self.attached_pictures)
        if min(*counts, self.lost_frames, self.bit_rate, self.duration_us) < 0 or self.frame_us < 1:
            raise ValueError("a count or a duration is negative")
        self.base()
        self.rate()

    def base(self) -> TimeBase:
        return TimeBase(self.time_numerator, self.time_denominator, self.origin_ticks)

    def rate(self) -> Rate:
        return Rate(self.rate_numerator, self.rate_denominator)


@dataclass(frozen=True)
class ProbeJob:
    """Look at the input, which the parent has sniffed to be of this container."""

    container: Container
    size_bytes: int
    limits: Limits

    def to_json(self) -> dict[str, object]:
        return {
            "do": "probe",
            "container": self.container.value,
            "size": self.size_bytes,
            "limits": asdict(self.limits),
        }

    @staticmethod
    def from_json(value: Mapping[str, object]) -> "ProbeJob":
        limits = read_record(Limits, cast("dict[str, object]", value["limits"]))
        return ProbeJob(Container(cast("str", value["container"])), cast("int", value["size"]), limits)


@dataclass(frozen=True)
class DecodeJob:
    """Decode these targets of an input that has been probed."""

    container: Container
    size_bytes: int
    decoder: str
    facts: MediaFacts
    targets: tuple[tuple[int, int], ...]  # (pts_us, seek_us), pts_us strictly increasing
    tolerance_us: int  # how far a frame's time may lie from its target; 0 when targets are times of frames
    slots: int
    limits: Limits

    def to_json(self) -> dict[str, object]:
        return {
            "do": "decode",
            "container": self.container.value,
            "size": self.size_bytes,
            "decoder": self.decoder,
            "facts": asdict(self.facts),
            "targets": self.targets,
            "tolerance": self.tolerance_us,
            "slots": self.slots,
            "limits": asdict(self.limits),
        }

    @staticmethod
    def from_json(value: Mapping[str, object]) -> "DecodeJob":
        pairs = cast("list[list[int]]", value["targets"])
        return DecodeJob(
            container=Container(cast("str", value["container"])),
            size_bytes=cast("int", value["size"]),
            decoder=cast("str", value["decoder"]),
            facts=read_record(MediaFacts, cast("dict[str, object]", value["facts"])),
            targets=tuple((pts, seek) for pts, seek in pairs),
            tolerance_us=cast("int", value["tolerance"]),
            slots=cast("int", value["slots"]),
            limits=read_record(Limits, cast("dict[str, object]", value["limits"])),
        )


@dataclass(frozen=True)
class DecodedFrame:
    """The frame for target number ``target``. ``rgb`` may be a view that lives until the next frame."""

    target: int
    pts_us: int
    rgb: U8  # [H, W, 3] of the displayed size
    is_resized: bool = False  # the stream changed its resolution; this frame was scaled to the probed one


class MissKind(StrEnum):
    """Why a frame that was asked for is not there."""

    CORRUPT = "corrupt"  # it, or a frame that it is predicted from, is damaged
    ABSENT = "absent"  # the file ends before it, or holds no frame at that time
    RESOLUTION = "resolution"  # the picture changed its shape


@dataclass(frozen=True)
class MissedFrame:
    """Target number ``target`` could not be decoded."""

    target: int
    kind: MissKind
    detail: str


class FrameSource(Protocol):
    """A decoder inside the child. Answers every target of a job once."""

    @property
    def name(self) -> str: ...

    def decode(self, descriptor: int, job: DecodeJob) -> Iterator[DecodedFrame | MissedFrame]:
        """Decode from an open, seekable, read-only descriptor; frames in order of presentation.

        Raises `MediaRejected` where nothing more can be had of the input.
        """
        ...
