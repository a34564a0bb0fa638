"""Looking at an input inside the sandbox: all packets are read, one frame is decoded, limits are kept."""

from array import array
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from engine.arrays import I64
from engine.container import Container, MediaKind
from engine.decoders.boxes import check_boxes
from engine.decoders.colour import describe_colour, is_hdr, orientation_of
from engine.decoders.geometry import Orientation, square_size
from engine.decoders.job import MediaFacts, ProbeJob
from engine.decoders.opening import (
    VideoPacket,
    check_size,
    codec_of,
    is_attached,
    open_input,
    too_many_streams,
    translated_errors,
)
from engine.decoders.pictures import inspect_picture
from engine.decoders.timeline import (
    DISCARDED,
    FALLBACK_RATE,
    KEY,
    LOST,
    NO_TIME,
    PacketTable,
    Rate,
    TimeBase,
    Timeline,
    build_timeline,
)
from engine.errors import MediaRejected
from engine.limits import CODECS, Limits, format_seconds
from engine.results import RejectReason

_FIRST_FRAME_TRIES = 100  # packets fed until one frame comes out
_MOST_KEYFRAMES = 65_536


@dataclass(frozen=True)
class Inspection:
    """Facts and times of an input: ``frames_us`` [n] of all frames, ``keyframes_us`` [k]."""

    facts: MediaFacts
    frames_us: I64
    keyframes_us: I64


def inspect_media(descriptor: int, job: ProbeJob) -> Inspection:
    """Look at an input through its open descriptor. Raises `MediaRejected`."""
    if job.container.kind is MediaKind.PICTURE:
        facts = inspect_picture(descriptor, job.container, job.size_bytes, job.limits)
        zero = np.zeros(1, np.int64)
        return Inspection(facts, zero, zero)
    if job.container is Container.MP4:
        check_boxes(descriptor, job.size_bytes)
    with open_input(descriptor, job.container, job.limits) as source:
        return _inspect_video(source, job)


def _inspect_video(source: InputContainer, job: ProbeJob) -> Inspection:
    stream = choose_stream(source, job.limits)
    for other in source.streams:
        other.discard = Discard.default if other.index == stream.index else Discard.all
    reader = _PacketReader(stream, job.limits)
    with translated_errors("reading the packets", job.limits):
        reader.read(source)
    lost = reader.note_lost_packets()
    reader.note_spoilt_start()
    timeline = _timeline_of(reader, stream, job)
    _check_duration(timeline, job.limits)
    facts = _facts_of(source, stream, reader, timeline, lost, job)
    keyframes_us = timeline.keyframes_us
    keyframes_us = keyframes_us[:: -(-len(keyframes_us) // _MOST_KEYFRAMES)]
    return Inspection(facts, timeline.frames_us, keyframes_us)


def choose_stream(source: InputContainer, limits: Limits) -> VideoStream:
    """The video stream that is screened: the first that is no cover picture. Raises `MediaRejected`."""
    if len(source.streams) > limits.streams:
        raise too_many_streams(f"{len(source.streams)} streams, at most {limits.streams} are taken")
    stream = next((s for s in source.streams.video if not is_attached(s)), None)
    if stream is None:
        raise MediaRejected(
            RejectReason.NO_VIDEO_STREAM,
            "no video stream among the file's streams",
            "give a video, not a sound",
        )
    codec = codec_of(stream)
    # In AVI, MPEG-4 Part 2 packs several frames into one packet (DivX): their times cannot be trusted.
    is_packed = codec == "mpeg4" and source.format.name == "avi"
    if codec not in limits.accepted_codecs or is_packed:
        accepted = ", ".join(sorted(limits.accepted_codecs))
        raise MediaRejected(
            RejectReason.UNSUPPORTED_CODEC,
            f"the video is coded as {codec}{' in AVI' if is_packed else ''}; accepted are {accepted}",
            f"convert it to one of {accepted}"
            + (", or accept it" if codec in CODECS and not is_packed else ""),
        )
    check_size(stream.width, stream.height, limits)
    return stream


class _PacketReader:
    """Reads all packets of one stream and decodes as few of them as give one frame."""

    def __init__(self, stream: VideoStream, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._codec = codec_of(stream)
        self._pts, self._dts, self._duration = array("q"), array("q"), array("q")
        self._flags = bytearray()
        self._tries = _FIRST_FRAME_TRIES
        self.first_frame: VideoFrame | None = None
        self.bytes_read = 0
        self._empty = 0

    def __len__(self) -> int:
        return len(self._flags)

    def read(self, source: InputContainer) -> None:
        context = self._stream.codec_context
        context.thread_count = 1
        context.options = {"max_pixels": str(self._limits.pixels)}
        self._check_count(len(self._stream.index_entries))  # reading two million packets takes seconds
        for packet in source.demux(self._stream):
            if packet.size:
                self._take(packet)
            elif packet.dts is None and packet.pts is None:
                self._look(None)  # the demuxer is through: what the decoder still holds comes out
            else:
                self._empty += 1  # a sample without data repeats the frame before it
        if not self._flags:
            raise MediaRejected(
                RejectReason.NO_FRAMES, "the video stream holds no frame data", "get the whole file"
            )

    def _check_count(self, frames: int) -> None:
        if frames > self._limits.frames:
            raise MediaRejected(
                RejectReason.LIMIT_FRAMES,
                f"more than {self._limits.frames} frames",
                "cut the video into parts, or raise the limit",
            )

    def _take(self, packet: VideoPacket) -> None:
        self._check_count(len(self) + 1)
        self._pts.append(NO_TIME if packet.pts is None else packet.pts)
        self._dts.append(NO_TIME if packet.dts is None else packet.dts)
        self._duration.append(packet.duration or 0)
        hidden = packet.is_discard or is_hidden(self._codec, packet)
        self._flags.append((KEY if packet.is_keyframe else 0) | (DISCARDED if hidden else 0))
        self.bytes_read += packet.size
        self._look(packet)

    def _look(self, packet: VideoPacket | None) -> None:
        if self.first_frame is not None or self._tries <= 0:
            return
        self._tries -= 1
        try:
            frames = self._stream.codec_context.decode(packet)
        except MemoryError:
            raise
        except FFmpegError:
            return
        if frames:
            self.first_frame = frames[0]

    def note_lost_packets(self) -> int:
        """Add the frames that the container lists behind the end of the file, and count them.

        Their decoding times are moved to the distance at which presentation runs, which is where they
        would be shown save for reordering; nothing of them can be decoded anyway.
        """
        listed = self._stream.index_entries
        missing = len(listed) - len(self) - self._empty
        if missing <= 0 or len(listed) > self._limits.frames:
            return 0
        delay = (
            min(p for p in self._pts) - self._dts[0] if NO_TIME not in (self._dts[0], min(self._pts)) else 0
        )
        for entry in listed[len(self) :]:
            self._pts.append(entry.timestamp + delay)
            self._dts.append(entry.timestamp)
            self._duration.append(self._duration[0])
            self._flags.append(LOST | (DISCARDED if entry.is_discard else 0))
        return missing

    def note_spoilt_start(self) -> None:
        """Count the first packet as a keyframe if the container's index calls it one.

        FFmpeg takes that back where it finds no keyframe in damaged data. Frames before the first keyframe
        are not presented, so those behind a spoilt one would be missed by nobody.
        """
        listed = self._stream.index_entries
        if not len(self) or not len(listed) or not listed[0].is_keyframe:
            return
        if listed[0].timestamp in (self._pts[0], self._dts[0]):
            self._flags[0] |= KEY

    def table(self) -> PacketTable:
        pts, dts, duration = (np.array(c, dtype=np.int64) for c in (self._pts, self._dts, self._duration))
        return PacketTable(pts, dts, duration, np.frombuffer(bytes(self._flags), dtype=np.uint8))


def is_hidden(codec: str, packet: VideoPacket) -> bool:
    """Whether a packet holds a VP8 frame that is never shown (RFC 6386, section 9.1)."""
    return codec == "vp8" and not memoryview(packet)[0] & 0x10


def _rate_of(stream: VideoStream) -> Rate | None:
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate is not None and 1 <= rate <= 240:
            limited = Fraction(rate).limit_denominator(1001)
            return Rate(limited.numerator, limited.denominator)
    return None


def _timeline_of(reader: _PacketReader, stream: VideoStream, job: ProbeJob) -> Timeline:
    base = stream.time_base or Fraction(1, 1_000_000)
    try:
        return build_timeline(
            reader.table(),
            TimeBase(base.numerator, base.denominator),
            _rate_of(stream),
            is_index_timed=job.container is Container.AVI,
        )
    except ValueError as error:
        raise MediaRejected(
            RejectReason.NO_FRAMES, f"{error} among {len(reader)}", "the file shows nothing; get it again"
        ) from error


def _check_duration(timeline: Timeline, limits: Limits) -> None:
    if timeline.duration_us > limits.duration_us:
        raise MediaRejected(
            RejectReason.LIMIT_DURATION,
            f"{format_seconds(timeline.duration_us)}, at most {format_seconds(limits.duration_us)} are taken",
            "cut the video into parts, or raise the limit",
        )


def _declared_us(source: InputContainer, stream: VideoStream) -> int | None:
    if stream.duration is not None and stream.time_base is not None:
        declared = round(stream.duration * stream.time_base * 1_000_000)
    elif source.duration is not None:
        declared = source.duration
    else:
        return None
    return declared if 0 <= declared < 1 << 62 else None


def _sizes_of(
    stream: VideoStream, frame: VideoFrame | None, turned: Orientation, limits: Limits
) -> tuple[tuple[int, int], tuple[int, int], Fraction]:
    """Coded size, displayed size and the shape of a pixel. Raises `MediaRejected`."""
    coded = (frame.width, frame.height) if frame else (stream.width, stream.height)
    if min(coded) < 1:
        raise MediaRejected(
            RejectReason.CORRUPT, "no frame could be decoded and no size is declared", "get the file again"
        )
    check_size(*coded, limits)
    aspect = stream.sample_aspect_ratio or Fraction(1, 1)
    size = square_size(*coded, aspect.numerator, aspect.denominator)
    check_size(*size, limits)
    shown = (size[1], size[0]) if turned.swaps_sides else size
    return coded, shown, aspect if size != coded else Fraction(1, 1)


def _facts_of(
    source: InputContainer,
    stream: VideoStream,
    reader: _PacketReader,
    timeline: Timeline,
    lost: int,
    job: ProbeJob,
) -> MediaFacts:
    frame, context = reader.first_frame, stream.codec_context
    turned = orientation_of(frame) if frame else Orientation()
    coded, shown, aspect = _sizes_of(stream, frame, turned, job.limits)
    base, rate = stream.time_base or Fraction(1, 1_000_000), _rate_of(stream) or FALLBACK_RATE
    colour, attached = describe_colour(frame or context), sum(is_attached(s) for s in source.streams.video)
    seconds = max(timeline.duration_us, 1) / 1e6
    return MediaFacts(
        codec=codec_of(stream),
        pixel_format=frame.format.name if frame else context.pix_fmt or "unknown",
        coded_width=coded[0],
        coded_height=coded[1],
        width=shown[0],
        height=shown[1],
        rotation=turned.rotation,
        is_mirrored=turned.is_mirrored,
        sar_numerator=aspect.numerator,
        sar_denominator=aspect.denominator,
        stream_index=stream.index,
        time_numerator=base.numerator,
        time_denominator=base.denominator,
        origin_ticks=timeline.origin_ticks,
        rate_numerator=rate.numerator,
        rate_denominator=rate.denominator,
        duration_us=timeline.duration_us,
        declared_duration_us=_declared_us(source, stream),
        frame_us=timeline.frame_us,
        is_variable_rate=timeline.is_variable_rate,
        is_index_timed=timeline.is_index_timed,
        has_bad_timestamps=timeline.is_index_timed and job.container is not Container.AVI,
        is_hdr=is_hdr(frame or context),
        is_interlaced=bool(frame and frame.interlaced_frame) or context.field_order > 1,
        color_matrix=colour.matrix,
        color_range=colour.range,
        color_transfer=colour.transfer,
        has_audio=bool(source.streams.audio),
        stream_count=len(source.streams),
        video_streams=len(source.streams.video) - attached,
        attached_pictures=attached,
        lost_frames=lost,
        bit_rate=int(min(reader.bytes_read * 8 / seconds, 1e12)),
    )
