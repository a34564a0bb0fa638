"""Rows F25b, F27 to F30: time that runs back, stands still, is cut by an edit list, or lies about its end."""

import struct
from fractions import Fraction

import av

from tests.hostile_recipes.boxes import Movie, patch
from tests.hostile_recipes.drawing import RATE, plain_clip, remux
from tests.hostile_recipes.h264 import GreyVideo, length_prefixed
from tests.hostile_recipes.recipe import Recipe, of_bytes

DURATION_ID = b"\x44\x89\x88"  # Matroska's Duration, a float of eight bytes


Edits = tuple[tuple[int, int], ...]


def grey_clip(count: int, *, key_every: int, edits: Edits = (), ticks: int = 1) -> bytes:
    """Return an MP4 of grey 320x240 frames at 25 fps, or of frames without length if ``ticks`` is 0."""
    video = GreyVideo(320, 240)
    samples = [length_prefixed(u) for u in video.frames(count, key_every)]
    return Movie(
        samples, video.configuration(), 320, 240, timescale=RATE, durations=((count, ticks),),
        key_every=key_every, edits=edits,
    ).to_bytes()  # fmt: skip


def matroska_of_times(times_ms: list[int]) -> bytes:
    """Return a Matroska file of grey key frames shown at these times, in this order."""

    def retime(n: int, packet: av.Packet) -> None:
        packet.time_base = Fraction(1, 1000)
        # A muxer wants rising decode times that are not behind the time of showing; Matroska drops them.
        packet.dts, packet.pts = n - len(times_ms), times_ms[n]

    return remux(grey_clip(len(times_ms), key_every=1), "matroska", retime)


def _out_of_order() -> bytes:
    """Return 50 frames in which each group of five is shown in the order 3 1 5 2 4."""
    order = (2, 0, 4, 1, 3)
    return matroska_of_times([100 + (n - n % 5 + order[n % 5]) * 40 for n in range(50)])


def _clock_set_back() -> bytes:
    """Return 50 frames after half of which the clock was set back by half a second."""
    return matroska_of_times([500 + n * 40 if n < 25 else n * 40 for n in range(50)])


def _endless_matroska() -> bytes:
    data = remux(plain_clip(), "matroska")
    place = data.index(DURATION_ID) + len(DURATION_ID)
    return patch(data, place, struct.pack(">d", 1e18))


def _wrapping_clock() -> bytes:
    """Return an MPEG-TS whose 33-bit clock wraps in the middle."""

    def retime(n: int, packet: av.Packet) -> None:
        start = 2**33 - 90_000
        ticks = packet.time_base * 90_000
        packet.pts, packet.dts = start + int(packet.pts * ticks), start + int(packet.dts * ticks)
        packet.time_base = Fraction(1, 90_000)

    return remux(plain_clip(), "mpegts", retime)


RECIPES: tuple[Recipe, ...] = (
    of_bytes("F25b", "endless.mkv", _endless_matroska),
    of_bytes("F27", "out_of_order.mkv", _out_of_order),
    of_bytes("F27b", "set_back.mkv", _clock_set_back),
    of_bytes("F28", "no_time.mp4", lambda: grey_clip(50, key_every=10, ticks=0)),
    of_bytes("F28b", "no_time.mkv", lambda: matroska_of_times([0] * 50)),
    of_bytes("F28c", "wrapping.ts", _wrapping_clock),
    of_bytes("F29", "edited.mp4", lambda: grey_clip(50, key_every=50, edits=((32, 18),))),
    of_bytes("F29b", "delayed.mp4", lambda: grey_clip(50, key_every=50, edits=((RATE, -1), (50, 0)))),
)
