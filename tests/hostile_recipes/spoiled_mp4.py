"""Rows F08 to F16, F25, F38 to F40, F48, F66 and F72: MP4 files cut, flipped, patched and doubled."""

import random
import struct

import numpy as np

from tests.hostile_recipes.boxes import SAMPLE_TABLE, Movie, box, children, find, patch, patch_box
from tests.hostile_recipes.drawing import Encoding, encode, late_index_clip, pattern, plain_clip
from tests.hostile_recipes.h264 import GreyVideo, length_prefixed
from tests.hostile_recipes.recipe import Recipe, of_bytes
from tests.hostile_recipes.sound import sound_only


def flip_bits(data: bytes, start: int, end: int, share: float, seed: int) -> bytes:
    """Return the data with one bit flipped in a share of the bytes of a span."""
    random_state = np.random.default_rng(seed)
    changed = np.frombuffer(data, np.uint8).copy()
    places = start + random_state.choice(end - start, max(1, int((end - start) * share)), replace=False)
    changed[places] ^= (1 << random_state.integers(0, 8, len(places))).astype(np.uint8)
    return changed.tobytes()


def flip_in(data: bytes, kind: str, share: float, seed: int) -> bytes:
    """Return the data with bits flipped in the body of one of its top boxes."""
    span = find(data, kind)
    return flip_bits(data, span.body, span.end, share, seed)


def _with_page() -> bytes:
    return plain_clip() + box(b"free", b"<html><script>alert(1)</script></html>")


def _first_half() -> bytes:
    data = late_index_clip()
    return data[: len(data) // 2]


def half_the_media(data: bytes) -> bytes:
    """Return a clip whose index is in front without the second half of its media."""
    media = find(data, "mdat")
    return data[: media.body + (media.end - media.body) // 2]


def _index_without_media() -> bytes:
    data = plain_clip()
    return data[: find(data, "mdat").start]


def _no_samples() -> bytes:
    return patch_box(plain_clip(), f"{SAMPLE_TABLE}/stsz", 8, bytes(4))


def _endless_duration() -> bytes:
    forever = struct.pack(">I", 2**32 - 2)
    data = patch_box(plain_clip(), "moov/mvhd", 16, forever)
    return patch_box(data, "moov/trak/mdia/mdhd", 16, forever)


def _deep_boxes(depth: int = 20_000) -> bytes:
    """Return ``moov`` in ``moov`` in ``moov``; sizes shrink by eight bytes a level as they must."""
    head = box(b"ftyp", b"isom\0\0\2\0isommp41")
    levels = (struct.pack(">I4s", 8 * (depth - n), b"moov") for n in range(depth))
    return head + b"".join(levels)


def _countless_samples() -> bytes:
    return patch_box(plain_clip(), f"{SAMPLE_TABLE}/stsz", 8, b"\xff" * 4)


def _countless_equal_samples() -> bytes:
    """Return a file whose ``stsz`` promises 2^31 samples of one byte each and so needs no table."""
    return patch_box(plain_clip(), f"{SAMPLE_TABLE}/stsz", 4, struct.pack(">II", 1, 2**31))


def _media_past_the_end() -> bytes:
    data = plain_clip()
    table = find(data, f"{SAMPLE_TABLE}/stco")
    count = struct.unpack_from(">I", data, table.body + 4)[0]
    return patch(data, table.body + 8, struct.pack(f">{count}I", *[len(data) + 4096] * count))


def _giant_box() -> bytes:
    data = plain_clip()
    movie = find(data, "moov")
    return patch(data, movie.start, struct.pack(">I4sQ", 1, b"moov", 2**63))


def _box_of_size_three() -> bytes:
    data = plain_clip()
    return patch(data, find(data, "moov").start, struct.pack(">I", 3))


def _encrypted() -> bytes:
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "0f" * 16, "encryption_kid": "a1" * 16}
    return encode(pattern(320, 240), Encoding(container_options=key))


def _doubled(kind: bytes) -> bytes:
    """Return the clip with one of its top boxes a second time at the end."""
    data = plain_clip()
    again = next(b for b in children(data) if b.kind == kind)
    return data + data[again.start : again.end]


def _empty_units() -> bytes:
    """Return grey frames with NAL units of length zero before, between and behind the true ones."""
    video = GreyVideo(320, 240)
    nothing = bytes(4)
    samples = [nothing + length_prefixed(u) + nothing * 2 for u in video.frames(50)]
    return Movie(samples, video.configuration(), 320, 240).to_bytes()


def _header_in_every_frame() -> bytes:
    """Return a stream whose every frame brings a sequence header of another size."""
    samples = []
    for n in range(50):
        video = GreyVideo(160 + 16 * (n % 9), 160 + 16 * (n % 5))
        units = (video.sequence_header(), video.picture_header(), video.key_frame())
        samples.append(b"".join(length_prefixed(u) for u in units))
    video = GreyVideo(160, 160)
    return Movie(samples, video.configuration(), 160, 160, key_every=1).to_bytes()


def _garbage_units() -> bytes:
    """Return frames whose length prefixes point past the sample and whose payload is random."""
    source = random.Random(72)
    video = GreyVideo(320, 240)
    samples = [struct.pack(">I", 2**31 - 1) + source.randbytes(200) for _ in range(50)]
    return Movie(samples, video.configuration(), 320, 240).to_bytes()


RECIPES: tuple[Recipe, ...] = (
    of_bytes("F08", "polyglot.mp4", _with_page),
    of_bytes("F09", "no_index.mp4", _first_half),
    of_bytes("F10", "half.mp4", lambda: half_the_media(plain_clip())),
    of_bytes("F11", "index_only.mp4", _index_without_media),
    of_bytes("F12", "flipped_media.mp4", lambda: flip_in(plain_clip(), "mdat", 0.005, 12)),
    of_bytes("F13", "flipped_index.mp4", lambda: flip_in(plain_clip(), "moov", 0.05, 13)),
    of_bytes("F14", "sound.m4a", sound_only),
    of_bytes("F14b", "sound.mp4", sound_only),
    of_bytes("F16", "no_samples.mp4", _no_samples),
    of_bytes("F25", "endless.mp4", _endless_duration),
    of_bytes("F38", "deep.mp4", _deep_boxes),
    of_bytes("F39", "countless.mp4", _countless_samples),
    of_bytes("F39b", "past_the_end.mp4", _media_past_the_end),
    of_bytes("F39c", "countless_equal.mp4", _countless_equal_samples),
    of_bytes("F40a", "giant_box.mp4", _giant_box),
    of_bytes("F40b", "size_three.mp4", _box_of_size_three),
    of_bytes("F66", "encrypted.mp4", _encrypted),
    of_bytes("F72a", "two_indexes.mp4", lambda: _doubled(b"moov")),
    of_bytes("F72b", "two_media.mp4", lambda: _doubled(b"mdat")),
    of_bytes("F72c", "empty_units.mp4", _empty_units),
    of_bytes("F72d", "size_changes.mp4", _header_in_every_frame),
    of_bytes("F72e", "garbage_units.mp4", _garbage_units),
)
