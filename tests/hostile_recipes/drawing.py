"""Clips encoded with PyAV from drawn pictures: the good files that the corpus spoils."""

import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

import av
import numpy as np
from numpy.typing import NDArray

from tests.hostile_recipes.boxes import fast_start
from tests.scheduling import ordinary_priority

U8 = NDArray[np.uint8]
FRAMES = 50
RATE = 25
os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder greets on stderr otherwise


@dataclass(frozen=True)
class Encoding:
    """How to write a clip."""

    codec: str = "libx264"
    format: str = "mp4"
    pixel_format: str = "yuv420p"
    rate: int = RATE
    codec_options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    display_rotation: int = 0  # degrees counter-clockwise, a note to the player


def pattern(width: int, height: int, count: int = FRAMES) -> Iterator[U8]:
    """Yield pictures [H, W, 3] of moving colour ramps with a block that crosses them; nobody is in them."""
    x, y = np.arange(width), np.arange(height)[:, None]
    for n in range(count):
        left = (n * 5) % max(1, width - 8)
        picture = np.stack(
            np.broadcast_arrays((x * 2 + n * 3) % 256, (y * 2 + n) % 256, (x + y + n * 7) % 256), axis=-1
        ).astype(np.uint8)
        picture[height // 3 : height // 3 + 8, left : left + 8] = 255
        yield picture


def noise(width: int, height: int, count: int, seed: int = 54) -> Iterator[U8]:
    """Yield pictures [H, W, 3] in which no pixel tells anything about the next."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield random.integers(0, 256, (height, width, 3), dtype=np.uint8)


def encode(pictures: Iterable[U8], how: Encoding = Encoding()) -> bytes:
    """Return the file of RGB pictures [H, W, 3], byte for byte the same on every run."""
    target = io.BytesIO()
    options = {"fflags": "+bitexact", **how.container_options}
    with (
        ordinary_priority(),
        av.open(target, "w", format=how.format, container_options=options) as container,
    ):
        stream = None
        for n, picture in enumerate(pictures):
            if stream is None:
                stream = container.add_stream(how.codec, rate=how.rate, options=encoder_options(how))
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = how.pixel_format
                stream.codec_context.time_base = Fraction(1, how.rate)
                stream.codec_context.thread_count = 1
                if how.display_rotation:
                    stream.set_display_rotation(how.display_rotation)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=how.pixel_format)
            frame.pts, frame.time_base = n, Fraction(1, how.rate)
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())
    return target.getvalue()


# The fastest settings that an encoder has; x264 rounds by the alignment of its buffers unless told not to.
_OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "x264-params": "cpu-independent=1"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libsvtav1": {"preset": "12"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}


def encoder_options(how: Encoding) -> dict[str, str]:
    """Return codec options: fast, the same on every run, without a mark of the library's version."""
    return {"flags": "+bitexact", **_OPTIONS.get(how.codec, {}), **how.codec_options}


@cache
def plain_clip() -> bytes:
    """Return the good file that most rows spoil: H.264 MP4, 320x240, 50 frames in 2 s, two key frames.

    Its ``moov`` lies in front, so that the start of the file is enough to know what it is.
    """
    return fast_start(late_index_clip())


@cache
def late_index_clip() -> bytes:
    """Return the same clip with its ``moov`` behind its ``mdat``."""
    return encode(pattern(320, 240), Encoding(codec_options={"g": "25"}))


Retime = Callable[[int, av.Packet], None]


def remux(clip: bytes, container_format: str, retime: Retime | None = None) -> bytes:
    """Return the same packets in another container; ``retime`` may change each before it is written."""
    target = io.BytesIO()
    settings = {"fflags": "+bitexact"}
    with (
        av.open(io.BytesIO(clip)) as source,
        av.open(target, "w", format=container_format, container_options=settings) as container,
    ):
        streams = {s.index: container.add_stream_from_template(s) for s in source.streams}
        packets = (p for p in source.demux() if p.dts is not None)
        for n, packet in enumerate(packets):
            packet.stream = streams[packet.stream_index]
            if retime is not None:
                retime(n, packet)
            container.mux(packet)
    return target.getvalue()
