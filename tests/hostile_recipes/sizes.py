"""Rows F17 to F26, F37, F54 and F55: pictures too large or too small, and floods of frames and streams."""

import io
import struct
from fractions import Fraction

import av
import numpy as np

from tests.hostile_recipes.boxes import SAMPLE_TABLE, Movie, find, patch
from tests.hostile_recipes.drawing import RATE, Encoding, encode, noise, pattern, plain_clip, remux
from tests.hostile_recipes.h264 import GreyVideo, length_prefixed
from tests.hostile_recipes.recipe import Recipe, of_bytes

TICKS = 90_000


def grey_movie(width: int, height: int, count: int, *, timescale: int = RATE, ticks: int = 1) -> Movie:
    """Return an MP4 of grey frames, the first a key frame, each ``ticks`` long."""
    video = GreyVideo(width, height)
    samples = [length_prefixed(u) for u in video.frames(count)]
    runs = ((count, ticks),)
    return Movie(samples, video.configuration(), width, height, timescale=timescale, durations=runs)


def _black() -> bytes:
    return encode(np.zeros((240, 320, 3), np.uint8) for _ in range(50))


def _odd_size() -> bytes:
    how = Encoding(pixel_format="yuv444p", codec_options={"qp": "20"})
    return encode(pattern(321, 241), how)


def _small_claim() -> bytes:
    """Return 16000x16000 pictures in a file that says 320x240 in its track and its sample entry."""
    data = grey_movie(16000, 16000, 3).to_bytes()
    track = find(data, "moov/trak/tkhd")
    entry = find(data, f"{SAMPLE_TABLE}/stsd").body + 8 + 8 + 24
    data = patch(data, track.end - 8, struct.pack(">II", 320 << 16, 240 << 16))
    return patch(data, entry, struct.pack(">HH", 320, 240))


def _ivf_65535() -> bytes:
    """Return an IVF file with one VP9 key frame header that claims 65535x65535: 0 bits of pictures."""
    # frame marker, profile 0, shown key frame, sync code, colour space, limited range, size minus one
    bits = "10" + "00" + "0" + "0" + "1" + "0" + f"{0x498342:024b}" + "010" + "0" + f"{65534:016b}" * 2
    bits += "0" * (-len(bits) % 8)
    frame = int(bits, 2).to_bytes(len(bits) // 8, "big") + bytes(32)
    head = b"DKIF" + struct.pack("<HHIHHIIII", 0, 32, 0x30395056, 65535, 65535, 25, 1, 1, 0)
    return head + struct.pack("<IQ", len(frame), 0) + frame


def transport_stream(parts: list[tuple[int, int, int]]) -> bytes:
    """Return an MPEG-TS of grey parts (width, height, frames) that follow each other at 25 fps."""
    target = io.BytesIO()
    with av.open(target, "w", format="mpegts", container_options={"fflags": "+bitexact"}) as container:
        width, height, _ = parts[0]
        stream = container.add_mux_stream("h264", rate=RATE, width=width, height=height)
        stream.time_base = Fraction(1, TICKS)
        n = 0
        for width, height, count in parts:
            video = GreyVideo(width, height)
            for unit in video.frames(count):
                key = unit[0] & 0x1F == 5
                data = video.byte_stream([unit]) if key else b"\0\0\0\1" + unit
                packet = av.Packet(b"\0\0\0\1\x09\xf0" + data)
                packet.stream, packet.time_base = stream, Fraction(1, TICKS)
                packet.pts = packet.dts = n * TICKS // RATE
                packet.is_keyframe = key
                container.mux(packet)
                n += 1
    return target.getvalue()


def _mpeg4_flood(count: int = 300_000) -> bytes:
    """Return 16x16 MPEG-4 Part 2 pictures, 1000 a second: one key frame and one still frame repeated."""
    encoder = av.CodecContext.create("mpeg4", "w")
    encoder.width = encoder.height = 16
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 1000)
    encoder.options = {"flags": "+bitexact", "g": "600"}
    packets = []
    for n in range(3):
        frame = av.VideoFrame.from_ndarray(np.full((24, 16), 128, np.uint8), format="yuv420p")
        frame.pts, frame.time_base = n, Fraction(1, 1000)
        packets += [bytes(p) for p in encoder.encode(frame)]
    return _riff_movie(packets[0], packets[1], count)


def _riff_movie(key: bytes, still: bytes, count: int) -> bytes:
    """Return an AVI of one key frame and ``count - 1`` times the same still frame, 16x16, without index."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)

    main = struct.pack("<14I", 1000, 0, 0, 0, count, 0, 1, 0, 16, 16, 0, 0, 0, 0)
    stream = b"vidsFMP4" + struct.pack("<10IHHHH", 0, 0, 0, 1, 1000, 0, count, 0, 0, 0, 0, 0, 16, 16)
    picture = struct.pack("<IiiHH4sIiiII", 40, 16, 16, 1, 24, b"FMP4", 768, 0, 0, 0, 0)
    lines = chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", picture))
    header = chunk(b"LIST", b"hdrl" + chunk(b"avih", main) + lines)
    frames = chunk(b"00dc", key) + chunk(b"00dc", still) * (count - 1)
    return chunk(b"RIFF", b"AVI " + header + chunk(b"LIST", b"movi" + frames))


def _flood(count: int = 300_000) -> bytes:
    video = GreyVideo(64, 64)
    samples = [length_prefixed(u) for u in video.frames(count, key_every=1000)]
    return Movie(samples, video.configuration(), 64, 64, timescale=1000, key_every=1000).to_bytes()


def _too_many() -> bytes:
    """Return two million frames and one; all behind the first are the same bytes."""
    video = GreyVideo(64, 64)
    samples = [length_prefixed(video.key_frame()), *[length_prefixed(video.still_frame(1))] * 2_000_000]
    return Movie(samples, video.configuration(), 64, 64, timescale=1000).to_bytes()


def _many_streams(count: int = 64) -> bytes:
    """Return the plain clip's first packets in as many video streams as asked for."""
    target = io.BytesIO()
    with (
        av.open(io.BytesIO(plain_clip())) as source,
        av.open(target, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container,
    ):
        streams = [container.add_stream_from_template(source.streams.video[0]) for _ in range(count)]
        packets = [p for p in source.demux(video=0) if p.dts is not None][:5]
        for packet in packets:
            for stream in streams:
                twin = av.Packet(bytes(packet))
                twin.pts, twin.dts, twin.time_base = packet.pts, packet.dts, packet.time_base
                twin.is_keyframe, twin.stream = packet.is_keyframe, stream
                container.mux(twin)
    return target.getvalue()


def _false_rate() -> bytes:
    """Return a Matroska file of 50 frames in two seconds that says 100,000 frames a second."""

    def retime(n: int, packet: av.Packet) -> None:
        packet.time_base, packet.pts, packet.dts = Fraction(1, 1000), n * 40, n * 40

    return remux(grey_movie(320, 240, 50, timescale=100_000).to_bytes(), "matroska", retime)


def _lossless_noise() -> bytes:
    how = Encoding(pixel_format="yuv444p", codec_options={"qp": "0", "preset": "ultrafast"})
    return encode(noise(640, 480, 40), how)


def _one_key_frame() -> bytes:
    how = Encoding(codec_options={"g": "999999", "sc_threshold": "0", "preset": "ultrafast"})
    return encode(pattern(160, 120, 60 * RATE), how)


RECIPES: tuple[Recipe, ...] = (
    of_bytes("F17", "nobody.mp4", lambda: encode(pattern(320, 240))),
    of_bytes("F18", "black.mp4", _black),
    of_bytes("F19", "tiny.mp4", lambda: encode(pattern(16, 16))),
    of_bytes("F20", "odd.mp4", _odd_size),
    of_bytes("F21", "giant.mp4", lambda: grey_movie(16000, 16000, 3).to_bytes()),
    of_bytes("F21b", "giant.ivf", _ivf_65535),
    of_bytes("F21c", "8k.mp4", lambda: grey_movie(7680, 4320, 12).to_bytes()),
    of_bytes("F22", "small_claim.mp4", _small_claim),
    of_bytes("F23", "grows.ts", lambda: transport_stream([(320, 240, 50), (4096, 4096, 50)])),
    of_bytes("F23b", "grows_giant.ts", lambda: transport_stream([(320, 240, 50), (16000, 16000, 3)])),
    of_bytes("F24", "flood.avi", _mpeg4_flood),
    of_bytes("F24b", "false_rate.mkv", _false_rate),
    of_bytes("F24c", "flood.mp4", _flood),
    of_bytes("F24d", "too_many.mp4", _too_many),
    of_bytes("F26", "day.mp4", lambda: grey_movie(320, 240, 86_400, timescale=1).to_bytes()),
    of_bytes("F37", "streams.mp4", _many_streams),
    of_bytes("F54", "noise.mp4", _lossless_noise),
    of_bytes("F55", "one_key.mp4", _one_key_frame),
)
