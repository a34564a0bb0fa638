"""Still pictures: header and EXIF are read by us, pixels by FFmpeg's JPEG, PNG and WebP decoders."""

import os
import struct
from collections.abc import Iterator

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from engine.arrays import U8
from engine.container import Container
from engine.decoders.colour import FrameConverter, describe_colour
from engine.decoders.geometry import Orientation, orientation_from_exif
from engine.decoders.job import DecodedFrame, DecodeJob, MediaFacts
from engine.decoders.opening import check_size, translated_errors
from engine.errors import MediaRejected
from engine.limits import Limits, format_size
from engine.results import RejectReason

_DECODERS = {Container.JPEG: "mjpeg", Container.PNG: "png", Container.WEBP: "webp"}
_MOST_BYTES = 256 << 20
_HEADER_BYTES = 1 << 20  # EXIF and dimensions stand before this in any sane file
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _corrupt(seen: str) -> MediaRejected:
    return MediaRejected(RejectReason.CORRUPT, seen, "the picture is damaged; get it again from its source")


def _jpeg_segments(head: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment before the image data (ITU-T T.81, annex B)."""
    place = 2
    while place + 4 <= len(head) and head[place] == 0xFF:
        marker = head[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        if marker == 0xDA:
            return
        (length,) = struct.unpack_from(">H", head, place + 2)
        yield marker, head[place + 4 : place + 2 + length]
        place += 2 + max(2, length)


def _riff_chunks(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 12
    while place + 8 <= len(head):
        name, length = struct.unpack_from("<4sI", head, place)
        yield name, head[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def _png_chunks(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place + 8 <= len(head):
        length, name = struct.unpack_from(">I4s", head, place)
        yield name, head[place + 8 : place + 8 + length]
        place += 12 + length


def _webp_size(name: bytes, content: bytes) -> tuple[int, int] | None:
    """Size by the WebP container, the VP8 key frame header (RFC 6386, 9.1) or the lossless header."""
    if name == b"VP8X" and len(content) >= 10:
        return (
            1 + int.from_bytes(content[4:7], "little"),
            1 + int.from_bytes(content[7:10], "little"),
        )
    if name == b"VP8 " and len(content) >= 10:
        width, height = struct.unpack_from("<HH", content, 6)
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L" and len(content) >= 5:
        bits = int.from_bytes(content[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


def read_size(head: bytes, container: Container) -> tuple[int, int]:
    """Width and height as the header says, before anything is decoded. Raises `MediaRejected` (CORRUPT)."""
    size: tuple[int, int] | None = None
    if container is Container.PNG and head[12:16] == b"IHDR" and len(head) >= 24:
        size = struct.unpack_from(">II", head, 16)
    elif container is Container.JPEG:
        for marker, content in _jpeg_segments(head):
            if marker in _FRAME_MARKERS and len(content) >= 5:
                height, width = struct.unpack_from(">HH", content, 1)
                size = width, height
                break
    elif container is Container.WEBP:
        sizes = (_webp_size(name, content) for name, content in _riff_chunks(head))
        size = next((found for found in sizes if found is not None), None)
    if size is None or min(size) < 1:
        raise _corrupt("the header does not say how large the picture is")
    return size


def _tiff_orientation(tiff: bytes) -> int:
    """Tag 0x0112 of the first directory of an EXIF block, 1 when absent or unreadable."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (directory,) = struct.unpack_from(order + "I", tiff, 4)
    if directory + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(order + "H", tiff, directory)
    for place in range(directory + 2, min(directory + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", tiff, place)
        if tag == 0x0112 and kind == 3:
            return int(struct.unpack_from(order + "H", tiff, place + 8)[0])
    return 1


def read_orientation(head: bytes, container: Container) -> Orientation:
    """The EXIF orientation of a picture; upright when it says nothing."""
    if container is Container.JPEG:
        blocks = (c for m, c in _jpeg_segments(head) if m == 0xE1 and c.startswith(b"Exif\0\0"))
    elif container is Container.PNG:
        blocks = (c for name, c in _png_chunks(head) if name == b"eXIf")
    else:
        blocks = (c for name, c in _riff_chunks(head) if name == b"EXIF")
    block = next(blocks, b"").removeprefix(b"Exif\0\0")
    return orientation_from_exif(_tiff_orientation(block))


def _read_all(descriptor: int, size_bytes: int, limits: Limits) -> bytes:
    if size_bytes > _MOST_BYTES:
        raise MediaRejected(
            RejectReason.SOURCE_TOO_LARGE,
            f"a picture of {format_size(size_bytes)}, at most {format_size(_MOST_BYTES)} are taken",
            "save it with compression",
        )
    if size_bytes > limits.memory_bytes // 4:  # the file, its pixels and their conversion
        raise MediaRejected(
            RejectReason.LIMIT_MEMORY,
            f"a picture of {format_size(size_bytes)} needs more than {format_size(limits.memory_bytes)}",
            "give a smaller copy, or raise the memory limit",
        )
    parts: list[bytes] = []
    place = 0
    while place < size_bytes and (part := os.pread(descriptor, size_bytes - place, place)):
        parts.append(part)
        place += len(part)
    return b"".join(parts)


def _decode(data: bytes, container: Container, limits: Limits) -> VideoFrame:
    context = av.CodecContext.create(_DECODERS[container], "r")
    assert isinstance(context, VideoCodecContext)
    context.options = {"max_pixels": str(limits.pixels)}
    context.thread_count = 1
    with translated_errors("decoding the picture", limits):
        frames = [*context.decode(Packet(data)), *context.decode(None)]
    if not frames:
        raise _corrupt("the picture holds no pixels that could be decoded")
    if frames[0].is_corrupt:
        raise _corrupt("part of the picture could not be decoded")
    return frames[0]


def _check_animation(head: bytes, container: Container) -> None:
    if container is Container.WEBP and any(name in (b"ANIM", b"ANMF") for name, _ in _riff_chunks(head)):
        raise MediaRejected(
            RejectReason.UNSUPPORTED_CONTAINER, "an animated WebP", "convert it to a video, MP4 or WebM"
        )


def inspect_picture(descriptor: int, container: Container, size_bytes: int, limits: Limits) -> MediaFacts:
    """Look at a picture: limits by its header, then one decode to see that it is whole."""
    head = os.pread(descriptor, _HEADER_BYTES, 0)
    _check_animation(head, container)
    size = read_size(head, container)
    check_size(*size, limits)
    turned = read_orientation(head, container)
    frame = _decode(_read_all(descriptor, size_bytes, limits), container, limits)
    check_size(frame.width, frame.height, limits)
    colour = describe_colour(frame)
    coded = frame.width, frame.height
    return MediaFacts(
        codec=container.value,
        pixel_format=frame.format.name,
        coded_width=coded[0],
        coded_height=coded[1],
        width=coded[1] if turned.swaps_sides else coded[0],
        height=coded[0] if turned.swaps_sides else coded[1],
        rotation=turned.rotation,
        is_mirrored=turned.is_mirrored,
        sar_numerator=1,
        sar_denominator=1,
        stream_index=0,
        time_numerator=1,
        time_denominator=1_000_000,
        origin_ticks=0,
        rate_numerator=1,
        rate_denominator=1,
        duration_us=0,
        declared_duration_us=None,
        frame_us=1_000_000,
        is_variable_rate=False,
        is_index_timed=False,
        has_bad_timestamps=False,
        is_hdr=False,
        is_interlaced=False,
        color_matrix=colour.matrix,
        color_range=colour.range,
        color_transfer=colour.transfer,
        has_audio=False,
        stream_count=1,
        video_streams=1,
        attached_pictures=0,
        lost_frames=0,
        bit_rate=0,
    )


def _over_white(frame: VideoFrame) -> VideoFrame:
    """A frame with alpha, composed over white as viewers show it; others as they are."""
    if not any(component.is_alpha for component in frame.format.components):
        return frame
    rgba = frame.reformat(format="rgba").to_ndarray().astype(np.uint16)
    alpha = rgba[..., 3:]
    blended = (rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return VideoFrame.from_ndarray(blended.astype(np.uint8), format="rgb24")


def decode_picture(descriptor: int, job: DecodeJob) -> Iterator[DecodedFrame]:
    """The picture's one frame for the first target. Raises `MediaRejected`."""
    frame = _decode(_read_all(descriptor, job.size_bytes, job.limits), job.container, job.limits)
    turned = Orientation(job.facts.rotation, job.facts.is_mirrored)
    converter = FrameConverter(job.facts.width, job.facts.height, turned, is_chroma_smooth=True)
    rgb: U8 = converter.convert(_over_white(frame))
    yield DecodedFrame(target=0, pts_us=0, rgb=rgb)
