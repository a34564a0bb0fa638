"""Look at an input: what it is, when its frames are shown, whether it is within limits."""

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np

from engine.arrays import I64
from engine.container import HEAD_BYTES, Container, MediaKind, is_extension_wrong, sniff_container
from engine.decoders.job import MediaFacts, ProbeJob, read_record
from engine.errors import EngineError, MediaRejected, Unavailable
from engine.limits import Limits, format_size
from engine.results import MediaWarning, RejectReason
from engine.sandbox.channel import Kind, ProtocolBroken
from engine.sandbox.handle import CallDied, CallTimedOut, Sandbox, SandboxCall, SandboxLost
from engine.sandbox.integers import unpack_integers
from engine.source import SourceStamp, check_untouched, digest_source, refuse_source

__all__ = ["Limits", "Probe", "probe_video"]

_SLOW_DISK_BYTES_PER_S = 50_000_000


def _no_times() -> I64:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Probe:
    """What an input is. Sizes are pixels, times microseconds from the first presented frame."""

    kind: MediaKind
    container: Container
    codec: str
    pixel_format: str
    coded_width: int
    coded_height: int
    width: int  # displayed: after rotation, with square pixels
    height: int
    rotation: int  # degrees clockwise that bring the coded picture upright
    sample_aspect_ratio: tuple[int, int]
    duration_us: int  # from the packets, not from what the header says; 0 for a picture
    frame_count: int
    keyframes_us: tuple[int, ...]  # sorted, first is 0; at most 65,536, evenly thinned
    time_base: tuple[int, int]
    is_variable_rate: bool
    is_hdr: bool
    is_interlaced: bool
    color_matrix: str
    color_range: str
    color_transfer: str
    has_audio: bool
    stream_count: int
    attached_pictures: int
    size_bytes: int
    sha256: str
    bit_rate: int  # of the video stream, bits per second
    warnings: tuple[MediaWarning, ...] = ()
    is_mirrored: bool = False  # to be mirrored left to right before it is rotated
    is_index_timed: bool = False  # time stamps are absent or unusable: frame i is shown at i / rate
    frame_us: int = 40_000  # the usual distance of two frames
    rate: tuple[int, int] = (25, 1)
    stream_index: int = 0
    origin_ticks: int = 0  # time stamp of the first presented frame
    lost_frames: int = 0  # listed by the container, absent from the file
    frames_us: I64 = field(default_factory=_no_times, repr=False, compare=False)  # [n] each frame's time
    stamp: SourceStamp | None = field(
        default=None, repr=False, compare=False
    )  # None: seen on another machine

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.coded_width, self.coded_height) < 1:
            raise ValueError("a picture has at least one pixel")
        if self.rotation not in (0, 90, 180, 270):
            raise ValueError(f"rotation by {self.rotation} degrees")
        if self.duration_us < 0 or self.frame_count < 1:
            raise ValueError(f"{self.frame_count} frames in {self.duration_us} us")
        times = np.asarray(self.keyframes_us, dtype=np.int64)
        if not len(times) or times[0] != 0 or np.any(np.diff(times) <= 0):
            raise ValueError("keyframe times start at 0 and increase")
        if len(self.frames_us) and (self.frames_us[0] != 0 or np.any(np.diff(self.frames_us) <= 0)):
            raise ValueError("frame times start at 0 and increase")


@contextmanager
def open_source(path: Path) -> Generator[tuple[int, os.stat_result]]:
    """A read-only descriptor of a regular file. Raises `MediaRejected`."""
    shown = clean_words(path)  # a name may hold what moves a terminal's cursor
    try:
        # Non-blocking: opening a named pipe must not wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise refuse_source(error, shown) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise MediaRejected(
                RejectReason.NOT_VIDEO, f"{shown} is no regular file", "give a file, not a folder or device"
            )
        yield descriptor, status
    finally:
        os.close(descriptor)


@contextmanager
def given_or_own(sandbox: Sandbox | None) -> Generator[Sandbox]:
    """The sandbox of the caller, or one of our own for this call."""
    if sandbox is not None:
        yield sandbox
        return
    with Sandbox.start() as own:
        yield own


def probe_video(path: Path, limits: Limits | None = None, sandbox: Sandbox | None = None) -> Probe:
    """Look at a video or a still picture. Without ``sandbox`` one is started for this call (0.5 s).

    Raises `MediaRejected` with the reason for which it cannot be screened, and `Unavailable` where no
    sandbox can be had.
    """
    limits = limits or Limits()
    with open_source(path) as (descriptor, status):
        size_bytes = status.st_size
        if size_bytes > limits.size_bytes:
            raise MediaRejected(
                RejectReason.SOURCE_TOO_LARGE,
                f"{format_size(size_bytes)}, at most {format_size(limits.size_bytes)} are taken",
                "cut or compress the video, or raise the limit",
            )
        extension = path.suffix
        stamp = SourceStamp.of(status)
        container = sniff_container(os.pread(descriptor, HEAD_BYTES, 0), size_bytes, extension)
        job = ProbeJob(container, size_bytes, limits)
        with given_or_own(sandbox) as used:
            answer, sha256 = _ask(used, job, descriptor, stamp)
    wrong_extension = is_extension_wrong(container, extension)
    return replace(_assemble(job, answer, sha256, wrong_extension=wrong_extension), stamp=stamp)


@dataclass
class _Answer:
    facts: MediaFacts | None = None
    frames_us: I64 | None = None
    keyframes_us: I64 | None = None


def _ask(
    sandbox: Sandbox, job: ProbeJob, descriptor: int, stamp: SourceStamp, tries: int = 2
) -> tuple[_Answer, str]:
    """What a child finds, and the digest of the same bytes. Raises `MediaRejected` if they change."""
    wall_s = job.limits.wall_s + job.size_bytes / _SLOW_DISK_BYTES_PER_S
    with sandbox.call(job.to_json(), descriptor, 0, wall_s) as call:
        sha256 = digest_source(descriptor, job.size_bytes)  # while the child reads the same pages
        try:
            answer = _collect(call, wall_s)
        except SandboxLost as error:
            sandbox.recover(call)
            if tries == 1:
                raise sandbox_lost() from error
        except MediaRejected:
            check_untouched(descriptor, stamp)  # half of a file that is being written looks damaged
            raise
        else:
            check_untouched(descriptor, stamp)
            return answer, sha256
    return _ask(sandbox, job, descriptor, stamp, tries - 1)


def sandbox_lost() -> Unavailable:
    """The failure of a machine that ends our processes."""
    return Unavailable(
        RejectReason.SANDBOX_UNAVAILABLE,
        "the process that starts decoders was ended from outside, twice",
        "see whether the machine runs out of memory",
    )


def _collect(call: SandboxCall, wall_s: float) -> _Answer:
    answer, heard = _Answer(), set[Kind]()
    try:
        while True:
            message = call.receive()
            if message.kind in heard:
                raise ProtocolBroken(f"{message.kind.name} came twice")
            heard.add(message.kind)
            if message.kind is Kind.FACTS:
                answer.facts = read_record(MediaFacts, message.json())
            elif message.kind is Kind.TIMES:
                answer.frames_us = unpack_integers(message)
            elif message.kind is Kind.KEYFRAMES:
                answer.keyframes_us = unpack_integers(message)
            elif message.kind is Kind.REJECTED:
                raise rejection(message.json())
            elif message.kind is Kind.DONE:
                return answer
            else:
                raise ProtocolBroken(f"{message.kind.name} during a probe")
    except CallTimedOut as error:
        raise MediaRejected(
            RejectReason.DECODE_TIMEOUT,
            f"probing took longer than {wall_s:.3g} s",
            "give a shorter or simpler video, or raise the time limit",
        ) from error
    except (CallDied, ProtocolBroken, ValueError) as error:
        raise crash(str(error)) from error


def crash(what: str) -> MediaRejected:
    """The refusal for an input that brought its decoder down."""
    return MediaRejected(
        RejectReason.DECODER_CRASHED,
        f"the decoder broke off: {what}",
        "the file is damaged or made to do harm; convert it with a trusted tool if you must",
    )


def rejection(value: dict[str, object]) -> EngineError:
    """The error that a child reported; its words are not trusted further than to be shown."""
    reason = RejectReason(str(value.get("reason")))
    seen, hint = (clean_words(value.get(name)) for name in ("seen", "hint"))
    kind = Unavailable if reason is RejectReason.ENGINE_UNAVAILABLE else MediaRejected
    return kind(reason, seen, hint)


def clean_words(value: object) -> str:
    """At most 500 printable characters of whatever a child sent or a name holds."""
    return "".join(c if c.isprintable() else " " for c in str(value)[:500])


def _assemble(job: ProbeJob, answer: _Answer, sha256: str, *, wrong_extension: bool) -> Probe:
    facts, frames_us, keyframes_us = answer.facts, answer.frames_us, answer.keyframes_us
    if facts is None or frames_us is None or keyframes_us is None:
        raise crash("the probe's answer is incomplete")
    try:
        return Probe(
            kind=job.container.kind,
            container=job.container,
            codec=facts.codec,
            pixel_format=facts.pixel_format,
            coded_width=facts.coded_width,
            coded_height=facts.coded_height,
            width=facts.width,
            height=facts.height,
            rotation=facts.rotation,
            sample_aspect_ratio=(facts.sar_numerator, facts.sar_denominator),
            duration_us=facts.duration_us,
            frame_count=len(frames_us),
            keyframes_us=tuple(cast("list[int]", keyframes_us.tolist())),
            time_base=(facts.time_numerator, facts.time_denominator),
            is_variable_rate=facts.is_variable_rate,
            is_hdr=facts.is_hdr,
            is_interlaced=facts.is_interlaced,
            color_matrix=facts.color_matrix,
            color_range=facts.color_range,
            color_transfer=facts.color_transfer,
            has_audio=facts.has_audio,
            stream_count=facts.stream_count,
            attached_pictures=facts.attached_pictures,
            size_bytes=job.size_bytes,
            sha256=sha256,
            bit_rate=facts.bit_rate,
            warnings=_warnings(facts, wrong_extension=wrong_extension),
            is_mirrored=facts.is_mirrored,
            is_index_timed=facts.is_index_timed,
            frame_us=facts.frame_us,
            rate=(facts.rate_numerator, facts.rate_denominator),
            stream_index=facts.stream_index,
            origin_ticks=facts.origin_ticks,
            lost_frames=facts.lost_frames,
            frames_us=frames_us,
        )
    except ValueError as error:
        raise crash(str(error)) from error


def _warnings(facts: MediaFacts, *, wrong_extension: bool) -> tuple[MediaWarning, ...]:
    declared = facts.declared_duration_us
    off_us = 0 if declared is None else abs(declared - facts.duration_us)
    found = {
        MediaWarning.HDR: facts.is_hdr,
        MediaWarning.INTERLACED: facts.is_interlaced,
        MediaWarning.VARIABLE_RATE: facts.is_variable_rate,
        MediaWarning.BAD_TIMESTAMPS: facts.has_bad_timestamps,
        MediaWarning.CORRUPT_FRAMES: facts.lost_frames > 0,
        MediaWarning.ATTACHED_PICTURE: facts.attached_pictures > 0,
        MediaWarning.SEVERAL_VIDEO_STREAMS: facts.video_streams > 1,
        MediaWarning.EXTENSION_MISMATCH: wrong_extension,
        MediaWarning.DURATION_MISMATCH: off_us > max(1_000_000, facts.duration_us // 10),
    }
    return tuple(warning for warning, holds in found.items() if holds)
