"""Rows F30 to F36, F49, F53, F65 and F67: colours, codecs and containers, taken and not taken."""

import io
from fractions import Fraction

import av

from tests.hostile_recipes.drawing import RATE, Encoding, encode, pattern, plain_clip, remux
from tests.hostile_recipes.not_video import picture_bytes
from tests.hostile_recipes.recipe import Recipe, of_bytes
from tests.hostile_recipes.sound import pictures_with_bad_sound

HDR = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=limited"


def _hdr() -> bytes:
    how = Encoding(
        codec="libx265", pixel_format="yuv420p10le",
        codec_options={
            "x265-params": f"log-level=none:pools=none:frame-threads=1:{HDR}",
            "color_trc": "smpte2084", "color_primaries": "bt2020", "colorspace": "bt2020nc",
        },
    )  # fmt: skip
    return encode(pattern(320, 240, 25), how)


def _interlaced() -> bytes:
    how = Encoding(codec_options={"x264-params": "cpu-independent=1:tff=1", "flags": "+bitexact+ilme+ildct"})
    return encode(pattern(320, 240), how)


def _alpha() -> bytes:
    how = Encoding(codec="libvpx-vp9", format="webm", pixel_format="yuva420p")
    return encode(pattern(320, 240, 25), how)


def _with_cover() -> bytes:
    """Return an MP4 whose first stream is a cover picture and whose second is the video."""
    target = io.BytesIO()
    cover = picture_bytes("png", next(pattern(600, 600, 1)))
    with (
        av.open(io.BytesIO(plain_clip())) as source,
        av.open(target, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container,
    ):
        picture = container.add_mux_stream("png", rate=1, width=600, height=600)
        picture.disposition = av.stream.Disposition.attached_pic
        video = container.add_stream_from_template(source.streams.video[0])
        still = av.Packet(cover)
        still.stream, still.time_base, still.pts, still.dts = picture, Fraction(1, RATE), 0, 0
        still.is_keyframe = True
        container.mux(still)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                container.mux(packet)
    return target.getvalue()


def _with_attachment() -> bytes:
    """Return a Matroska file that carries a program as an attachment."""
    target = io.BytesIO()
    program = b"\x7fELF\2\1\1" + bytes(57) + b"\x90" * 4096
    with (
        av.open(io.BytesIO(plain_clip())) as source,
        av.open(target, "w", format="matroska", container_options={"fflags": "+bitexact"}) as container,
    ):
        video = container.add_stream_from_template(source.streams.video[0])
        container.add_attachment("player.exe", "application/x-msdownload", program)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                container.mux(packet)
    return target.getvalue()


def _fragmented() -> bytes:
    how = Encoding(
        codec_options={"g": "25"},
        container_options={"movflags": "+frag_keyframe+empty_moov+default_base_moof"},
    )
    return encode(pattern(320, 240), how)


def _webm() -> bytes:
    return encode(pattern(320, 240), Encoding(codec="libvpx-vp9", format="webm"))


def _unwanted(codec: str, container: str, pixel_format: str, size: tuple[int, int] = (320, 240)) -> bytes:
    """Return a short clip of a codec that FFmpeg would decode and that screening does not take."""
    options = {"strict": "-2"} if codec == "snow" else {}
    how = Encoding(codec, container, pixel_format, codec_options=options)
    return encode(pattern(*size, 3), how)


def _elementary_stream() -> bytes:
    return remux(plain_clip(), "h264")


UNWANTED = (
    # row, file name, codec, container, pixel format
    ("F53a", "cinepak.avi", "cinepak", "avi", "rgb24"),
    ("F53b", "flv1.flv", "flv", "flv", "yuv420p"),
    ("F53c", "flv1.avi", "flv", "avi", "yuv420p"),
    ("F53d", "zmbv.avi", "zmbv", "avi", "bgr0"),
    ("F53e", "wmv2.asf", "wmv2", "asf", "yuv420p"),
    ("F53f", "wmv2.avi", "wmv2", "avi", "yuv420p"),
    ("F53g", "snow.mkv", "snow", "matroska", "yuv420p"),
    ("F53h", "utvideo.avi", "utvideo", "avi", "yuv420p"),
    ("F53i", "ffv1.mkv", "ffv1", "matroska", "yuv420p"),
    ("F53j", "mjpeg.avi", "mjpeg", "avi", "yuvj420p"),
    ("F53k", "mjpeg.mov", "mjpeg", "mov", "yuvj420p"),
    ("F53l", "png.mov", "png", "mov", "rgb24"),
)

RECIPES: tuple[Recipe, ...] = (
    of_bytes("F31", "hdr.mp4", _hdr),
    of_bytes("F33", "interlaced.mp4", _interlaced),
    of_bytes("F34", "alpha.webm", _alpha),
    of_bytes("F35", "av1.mp4", lambda: encode(pattern(320, 240), Encoding(codec="libsvtav1"))),
    of_bytes("F36", "cover.mp4", _with_cover),
    of_bytes("F49", "attachment.mkv", _with_attachment),
    *(of_bytes(row, name, lambda how=how: _unwanted(*how)) for row, name, *how in UNWANTED),
    of_bytes("F53m", "roq.roq", lambda: _unwanted("roqvideo", "roq", "yuvj444p", (256, 256))),
    of_bytes("F53p", "raw.mp4", _elementary_stream),
    of_bytes("F65", "bad_sound.mp4", pictures_with_bad_sound),
    of_bytes("F67a", "fragmented.mp4", _fragmented),
    of_bytes("F67b", "plain.ts", lambda: remux(plain_clip(), "mpegts")),
    of_bytes("F67c", "plain.mkv", lambda: remux(plain_clip(), "matroska")),
    of_bytes("F67d", "plain.webm", _webm),
    of_bytes("F67e", "plain.mov", lambda: remux(plain_clip(), "mov")),
    of_bytes("F67f", "plain.mp4", plain_clip),
    of_bytes(
        "F67g",
        "plain.avi",
        lambda: encode(pattern(320, 240), Encoding(format="avi", codec_options={"bf": "0"})),
    ),
)
