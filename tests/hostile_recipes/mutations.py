"""Row F71: seeded damage to good files, as radamsa does it: flips, inserts, doublings, cuts, numbers."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from tests.hostile_recipes.drawing import Encoding, encode, pattern, remux
from tests.hostile_recipes.not_video import picture_bytes
from tests.hostile_recipes.timestamps import grey_clip, matroska_of_times

# Numbers that break arithmetic, in the sizes in which files hold them.
_NUMBERS = [
    value.to_bytes(width, order)
    for width in (1, 2, 4, 8)
    for value in (0, 1, (1 << 8 * width - 1) - 1, 1 << 8 * width - 1, (1 << 8 * width) - 1)
    for order in ("big", "little")
]
_HEAD_BYTES = 2048  # half of all damage is done here, where files say what they are


@dataclass(frozen=True)
class Mutant:
    """One spoiled file, with the seed that made it."""

    name: str  # of the good file, with the suffix that its name has
    number: int
    content: bytes


def _small(codec: str, container: str, **codec_options: str) -> bytes:
    """Return ten frames of 64x64, keys each five."""
    options = {"g": "5", **codec_options}
    return encode(pattern(64, 64, 10), Encoding(codec, container, codec_options=options))


@cache
def seeds() -> dict[str, bytes]:
    """Return twelve good files by name, one of each kind that is taken."""
    plain = _small("libx264", "mp4")
    fragments = {"movflags": "+frag_keyframe+empty_moov+default_base_moof"}
    return {
        "plain.mp4": plain,
        "grey.mp4": grey_clip(10, key_every=5, edits=((8, 2),)),
        "parts.mp4": encode(pattern(64, 64, 10), Encoding(container_options=fragments)),
        "plain.mov": remux(plain, "mov"),
        "plain.mkv": remux(plain, "matroska"),
        "times.mkv": matroska_of_times([40 * n for n in range(10)]),
        "plain.ts": remux(plain, "mpegts"),
        "plain.avi": _small("libx264", "avi", bf="0"),
        "vp9.webm": _small("libvpx-vp9", "webm"),
        "hevc.mp4": _small("libx265", "mp4"),
        "photo.jpg": picture_bytes("mjpeg", next(pattern(64, 64, 1))),
        "photo.png": picture_bytes("png", next(pattern(64, 64, 1))),
    }


def _flip(source: random.Random, data: bytearray, place: int) -> None:
    for _ in range(source.choice((1, 1, 4, 32))):
        at = min(len(data) - 1, place + source.randrange(64))
        data[at] ^= 1 << source.randrange(8)


def _insert(source: random.Random, data: bytearray, place: int) -> None:
    data[place:place] = source.randbytes(source.choice((1, 4, 16, 300)))


def _delete(source: random.Random, data: bytearray, place: int) -> None:
    del data[place : place + source.choice((1, 4, 16, 300))]


def _repeat(source: random.Random, data: bytearray, place: int) -> None:
    piece = data[place : place + source.choice((4, 32, 400))]
    data[place:place] = piece * source.choice((1, 2, 20))


def _swap(source: random.Random, data: bytearray, place: int) -> None:
    length = source.choice((4, 8, 64))
    other = source.randrange(len(data))
    first, second = bytes(data[place : place + length]), bytes(data[other : other + length])
    data[place : place + length], data[other : other + length] = second, first


def _cut(source: random.Random, data: bytearray, place: int) -> None:
    del data[max(1, place) :]


def _put_number(source: random.Random, data: bytearray, place: int) -> None:
    number = source.choice(_NUMBERS)
    data[place : place + len(number)] = number


_DAMAGES: tuple[Callable[[random.Random, bytearray, int], None], ...] = (
    _flip, _flip, _put_number, _put_number, _insert, _delete, _repeat, _swap, _cut,
)  # fmt: skip


def mutants(count: int, seed: int = 71) -> Iterator[Mutant]:
    """Yield as many spoiled files, in turn from each good one, with one to three damages each."""
    good = list(seeds().items())
    for number in range(count):
        source = random.Random(f"{seed}/{number}")
        name, content = good[number % len(good)]
        data = bytearray(content)
        for _ in range(source.choice((1, 1, 2, 3))):
            end = min(len(data), _HEAD_BYTES) if source.random() < 0.5 else len(data)
            source.choice(_DAMAGES)(source, data, source.randrange(end))
            data = data or bytearray(1)
        yield Mutant(name, number, bytes(data))
