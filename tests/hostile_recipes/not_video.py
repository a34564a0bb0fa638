"""Rows F01 to F07, F52 and the text of F53: files that are no video, whatever their name says."""

import io
import random
import struct
import zipfile
from fractions import Fraction

import av
import numpy as np

from tests.hostile_recipes.drawing import pattern
from tests.hostile_recipes.recipe import Recipe, of_bytes

MIB = 1 << 20


def _random_bytes() -> bytes:
    return random.Random(3).randbytes(MIB)


def _web_page() -> bytes:
    return (
        b"<!DOCTYPE html>\n<html><body><video src='clip.mp4'></video>"
        + b"<p>text</p>" * 500
        + b"</body></html>"
    )


def picture_bytes(codec: str, picture: np.ndarray, options: dict[str, str] | None = None) -> bytes:
    """Return one RGB picture [H, W, 3] as a file of an image codec (png, mjpeg, libwebp)."""
    pixel_format = {"png": "rgb24", "mjpeg": "yuvj420p", "libwebp": "yuv420p"}[codec]
    encoder = av.CodecContext.create(codec, "w")
    encoder.options = options or {}
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base = pixel_format, Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    packets = encoder.encode(frame.reformat(format=pixel_format)) + encoder.encode()
    return b"".join(bytes(p) for p in packets)


def _zip_bomb() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        # A fixed date: ZipInfo would take the clock's.
        archive.writestr(
            zipfile.ZipInfo("clip.mp4", (2024, 1, 1, 0, 0, 0)), bytes(64 * MIB), zipfile.ZIP_DEFLATED
        )
    return target.getvalue()


def _program() -> bytes:
    """Return the header of an ELF program and something that looks like code."""
    head = b"\x7fELF\2\1\1" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x401000, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    return head + random.Random(7).randbytes(8192)


def _giant_gif() -> bytes:
    """Return a 3840x2160 GIF of 30 frames that each repeat one colour: 1.5 KB that unpack to 32 MB each."""
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 3840, 2160, 0) + b"\2\2\x4c\1\0"
    return (
        b"GIF89a" + struct.pack("<HHBBB", 3840, 2160, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
        + (b"\x21\xf9\4\0\4\0\0\0" + frame) * 30 + b"\x3b"
    )  # fmt: skip


def _ansi_art() -> bytes:
    lines = (f"\x1b[{30 + n % 8};{40 + n % 7}m line {n} \x1b[0m\r\n" for n in range(300))
    return "".join(lines).encode() + b"\x1aSAUCE00" + b"fakesieve".ljust(121)


RECIPES: tuple[Recipe, ...] = (
    of_bytes("F01", "empty.mp4", bytes),
    of_bytes("F02", "one_byte.mp4", lambda: b"\0"),
    of_bytes("F03", "random.mp4", _random_bytes),
    of_bytes("F04", "page.mp4", _web_page),
    of_bytes("F05", "picture.mp4", lambda: picture_bytes("png", next(pattern(320, 240, 1)))),
    of_bytes("F05b", "photo.mp4", lambda: picture_bytes("mjpeg", next(pattern(320, 240, 1)))),
    of_bytes("F05c", "webp.mov", lambda: picture_bytes("libwebp", next(pattern(320, 240, 1)))),
    of_bytes("F06", "archive.mp4", _zip_bomb),
    of_bytes("F07", "program.mp4", _program),
    of_bytes("F52", "giant.gif", _giant_gif),
    of_bytes("F52b", "giant.mp4", _giant_gif),
    of_bytes("F53n", "ansi.mp4", _ansi_art),
    of_bytes("F53o", "ansi.ans", _ansi_art),
)
