"""Boxes of MP4 files: making them, finding them, changing bytes inside them (ISO/IEC 14496-12)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf"}
UNIT_MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


@dataclass(frozen=True)
class Box:
    """Where a box lies: ``start`` of its size field, ``body`` behind its type, ``end`` behind it."""

    kind: bytes
    start: int
    body: int
    end: int


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box around its parts."""
    content = b"".join(parts)
    return struct.pack(">I", len(content) + 8) + kind + content


def full_box(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    """Return a box with version and flags in front of its parts."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def children(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Yield the boxes of a well-formed span."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, start + 8)[0], 16
        yield Box(kind, start, start + head, start + size)
        start += size


def find(data: bytes, path: str) -> Box:
    """Return the first box at a path such as ``moov/trak/mdia``."""
    kind, _, rest = path.partition("/")
    return _find_in(data, kind, rest, 0, len(data))


def _find_in(data: bytes, kind: str, rest: str, start: int, end: int) -> Box:
    for found in children(data, start, end):
        if found.kind == kind.encode():
            if not rest:
                return found
            following, _, more = rest.partition("/")
            return _find_in(data, following, more, found.body, found.end)
    raise KeyError(f"no box {kind} in this file")


def patch(data: bytes, offset: int, new: bytes) -> bytes:
    """Return the data with ``new`` written over it at an offset."""
    return data[:offset] + new + data[offset + len(new) :]


def patch_box(data: bytes, path: str, offset: int, new: bytes) -> bytes:
    """Return the data with ``new`` written at an offset of a box's body (version and flags included)."""
    return patch(data, find(data, path).body + offset, new)


SAMPLE_TABLE = "moov/trak/mdia/minf/stbl"


def fast_start(data: bytes) -> bytes:
    """Return a one-track file with its ``moov`` in front of its ``mdat``, chunk offsets moved along."""
    movie, media = find(data, "moov"), find(data, "mdat")
    table = find(data, f"{SAMPLE_TABLE}/stco")
    count = struct.unpack_from(">I", data, table.body + 4)[0]
    offsets = struct.unpack_from(f">{count}I", data, table.body + 8)
    shift = movie.end - movie.start
    moved = patch(data, table.body + 8, struct.pack(f">{count}I", *(o + shift for o in offsets)))
    head, body = moved[: media.start], moved[media.start : movie.start]
    return head + moved[movie.start : movie.end] + body


def replace_box(data: bytes, path: str, new: bytes) -> bytes:
    """Return the data with one box exchanged, the sizes of its parents and the chunk offsets put right."""
    old = find(data, path)
    grown = len(new) - (old.end - old.start)
    parts = path.split("/")
    for depth in range(1, len(parts)):
        parent = find(data, "/".join(parts[:depth]))
        data = patch(data, parent.start, struct.pack(">I", parent.end - parent.start + grown))
    data = data[: old.start] + new + data[old.end :]
    table = find(data, f"{SAMPLE_TABLE}/stco")
    count = struct.unpack_from(">I", data, table.body + 4)[0]
    offsets = struct.unpack_from(f">{count}I", data, table.body + 8)
    return patch(data, table.body + 8, struct.pack(f">{count}I", *(o + grown for o in offsets)))


@dataclass(frozen=True)
class Movie:
    """One H.264 track in an MP4 file, as plain as the format allows. Times in ticks of ``timescale``."""

    samples: list[bytes]
    configuration: bytes  # payload of avcC
    width: int
    height: int
    timescale: int = 25
    durations: tuple[tuple[int, int], ...] = ()  # (count, ticks) runs; empty: one tick a sample
    key_every: int | None = None  # None: only the first sample is a key frame
    edits: tuple[tuple[int, int], ...] = ()  # (length in ticks, first media tick), -1 for an empty edit
    matrix: bytes = UNIT_MATRIX

    def to_bytes(self) -> bytes:
        """Return the file: ftyp, moov, mdat with one chunk."""
        file_type = box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41")
        length = len(self._moov(0))
        body = b"".join(self.samples)
        offset = len(file_type) + length + 8
        return file_type + self._moov(offset) + box(b"mdat", body)

    @property
    def _runs(self) -> tuple[tuple[int, int], ...]:
        return self.durations or ((len(self.samples), 1),)

    def _moov(self, chunk_offset: int) -> bytes:
        ticks = sum(count * delta for count, delta in self._runs)
        movie_header = full_box(
            b"mvhd", struct.pack(">IIIIIH10x", 0, 0, self.timescale, ticks, 0x10000, 0x100),
            UNIT_MATRIX, bytes(24), struct.pack(">I", 2),
        )  # fmt: skip
        track_header = full_box(
            b"tkhd", struct.pack(">IIIII8xHHHH", 0, 0, 1, 0, ticks, 0, 0, 0, 0), self.matrix,
            struct.pack(">II", self.width << 16, self.height << 16), flags=3,
        )  # fmt: skip
        media_header = full_box(b"mdhd", struct.pack(">IIIIHH", 0, 0, self.timescale, ticks, 0x55C4, 0))
        handler = full_box(b"hdlr", b"\0\0\0\0vide", bytes(12), b"video\0")
        media = box(b"mdia", media_header, handler, self._minf(chunk_offset))
        return box(b"moov", movie_header, box(b"trak", track_header, self._edit_list(), media))

    def _edit_list(self) -> bytes:
        if not self.edits:
            return b""
        rows = b"".join(struct.pack(">IiI", length, first, 0x10000) for length, first in self.edits)
        return box(b"edts", full_box(b"elst", struct.pack(">I", len(self.edits)), rows))

    def _minf(self, chunk_offset: int) -> bytes:
        reference = full_box(b"dref", struct.pack(">I", 1), full_box(b"url ", flags=1))
        return box(
            b"minf", full_box(b"vmhd", bytes(8), flags=1), box(b"dinf", reference),
            box(b"stbl", *self._sample_table(chunk_offset)),
        )  # fmt: skip

    def _sample_table(self, chunk_offset: int) -> Iterator[bytes]:
        entry = box(
            b"avc1", struct.pack(">6xH16xHHIIIH32xHh", 1, self.width, self.height, 0x480000, 0x480000, 0, 1,
                                 0x18, -1),
            box(b"avcC", self.configuration),
        )  # fmt: skip
        yield full_box(b"stsd", struct.pack(">I", 1), entry)
        runs = b"".join(struct.pack(">II", count, ticks) for count, ticks in self._runs)
        yield full_box(b"stts", struct.pack(">I", len(self._runs)), runs)
        keys = range(1, len(self.samples) + 1, self.key_every or len(self.samples))
        yield full_box(b"stss", struct.pack(f">I{len(keys)}I", len(keys), *keys))
        yield full_box(b"stsc", struct.pack(">IIII", 1, 1, len(self.samples), 1))
        sizes = struct.pack(f">{len(self.samples)}I", *map(len, self.samples))
        yield full_box(b"stsz", struct.pack(">II", 0, len(self.samples)), sizes)
        yield full_box(b"stco", struct.pack(">II", 1, chunk_offset))
