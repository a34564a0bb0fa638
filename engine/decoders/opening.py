"""Opening an untrusted container with PyAV: forced format, bounded probing, errors translated."""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.logging import Capture
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from engine.container import Container
from engine.errors import MediaRejected
from engine.limits import Limits, format_size
from engine.results import RejectReason

if TYPE_CHECKING:  # PyAV's class takes a parameter in its stub only
    VideoPacket: TypeAlias = Packet[VideoStream]
else:
    VideoPacket = Packet

DECODER_THREADS = 2
_ONE_THREAD_FROM_PX = 4096 * 2304  # every decoder thread holds frames of its own: 100 MB each at 8K, 10 bit

_FORMATS = {
    Container.MP4: "mov",
    Container.MATROSKA: "matroska",
    Container.MPEGTS: "mpegts",
    Container.AVI: "avi",
}

_CODEC_NAMES = {"libdav1d": "av1", "av1": "av1", "libvpx": "vp8", "libvpx-vp9": "vp9"}

_DAMAGED = "the file is damaged; get it again from its source"


def _options(descriptor: int, limits: Limits) -> dict[str, str]:
    return {
        "fd": str(descriptor),
        "protocol_whitelist": "fd",
        # Given at opening because probing decodes: set on the codec later, a 16000x16000 frame costs
        # 633 MB before anyone can refuse it.
        "max_pixels": str(limits.pixels),
        "max_streams": str(limits.streams),
        "enable_drefs": "0",
        "threads": "1",  # of the decoders that probing opens
    }


@contextmanager
def translated_errors(doing: str, limits: Limits) -> Generator[None]:
    """Turn FFmpeg's errors into `MediaRejected`; ``doing`` ends the sentence 'failed while ...'."""
    try:
        yield
    except MemoryError as error:  # before OSError: av.MemoryError is both
        raise MediaRejected(
            RejectReason.LIMIT_MEMORY,
            f"decoding needs more than {format_size(limits.memory_bytes)} while {doing}",
            "give a copy with a smaller picture or fewer streams, or raise the memory limit",
        ) from error
    except FFmpegError as error:
        if error.errno == errno.ENOMEM:
            raise MediaRejected(
                RejectReason.LIMIT_MEMORY, f"out of memory while {doing}", "raise the memory limit"
            ) from error
        raise MediaRejected(RejectReason.CORRUPT, f"{error.strerror} while {doing}", _DAMAGED) from error


def open_input(descriptor: int, container: Container, limits: Limits) -> InputContainer:
    """Open a video container on a descriptor. Raises `MediaRejected`."""
    os.lseek(descriptor, 0, os.SEEK_SET)  # FFmpeg begins to read where the descriptor stands
    with translated_errors("reading the container", limits), Capture() as words:
        try:
            return av.open(
                "fd:", mode="r", format=_FORMATS[container], options=_options(descriptor, limits),
                metadata_errors="replace",
            )  # fmt: skip
        except MemoryError as error:
            # FFmpeg answers too many streams with ENOMEM; only what it logs tells the two apart.
            if any("max_streams" in text for _, _, text in words):
                raise too_many_streams(f"more than {limits.streams} streams") from error
            raise


def too_many_streams(seen: str) -> MediaRejected:
    """The refusal of a container with more streams than may be."""
    hint = "extract the video stream of interest, or raise the limit"
    return MediaRejected(RejectReason.LIMIT_STREAMS, seen, hint)


def codec_of(stream: VideoStream) -> str:
    """FFmpeg's name of a stream's codec, whichever library decodes it; 'unknown' without a decoder."""
    context = stream.codec_context
    if context is None:  # pyright: ignore[reportUnnecessaryComparison] - PyAV's stub is wrong here
        return "unknown"
    return _CODEC_NAMES.get(context.name, context.name)


def is_attached(stream: VideoStream) -> bool:
    """Whether a video stream is a cover picture."""
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def prepare_decoder(stream: VideoStream, limits: Limits, threads_max: int = DECODER_THREADS) -> int:
    """Bound the decoder of a stream before its first packet; return how many threads it has."""
    context = stream.codec_context
    context.thread_type = "AUTO"
    is_large = stream.width * stream.height > _ONE_THREAD_FROM_PX
    context.thread_count = threads = 1 if is_large else threads_max
    context.options = {"max_pixels": str(limits.pixels)}
    return threads


def check_size(width: int, height: int, limits: Limits) -> None:
    """Refuse pictures above or below the limits. Raises `MediaRejected`."""
    if width * height > limits.pixels or max(width, height) > limits.side_px:
        raise MediaRejected(
            RejectReason.LIMIT_PIXELS,
            f"{width}x{height} pixels, at most {limits.pixels} and {limits.side_px} a side are taken",
            "give a copy with a smaller picture, or raise the limit",
        )
    if 0 < min(width, height) < limits.min_side_px:
        raise MediaRejected(
            RejectReason.TOO_SMALL,
            f"{width}x{height} pixels: no face could be seen",
            f"the shorter side must have at least {limits.min_side_px} pixels",
        )
