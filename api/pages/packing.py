"""Samples for the review page as packed arrays: exact, small, and read by the browser without parsing.

Everything is little-endian, and each array begins at a multiple of 8 bytes. Times are whole microseconds in
64-bit floats, which hold them exactly. All documents begin with four letters, a version, a count of blocks
and a count of times t, 32 bits each after the letters, and go on with those times, f64[t].

Lanes (``FSVL``) and regions (``FSVR``) begin with all times of their samples, each once and rising, as the
samples of many faces are of the same moments. A block begins with its ordinal, its count n, the place of its
first time among those and its form (32 bits each). Its times follow each other there, or, where the form has
bit 1, the place of each comes next, u32[n].

Lanes have a block for each face and one, with the ordinal ``WORST``, for the highest face of each sample:
score f64[n], or f32[n] where the form has bit 2, as no score of the lane loses by it, with NaN for none;
where the form has bit 4 reason u8[n], 0 or 1 + its place among ``EvidenceReason``.

Regions have a block for each face: shares u8[7n] of hot cells by part of the face in the order of
``FaceRegion``, each 255 times the share.

Faces (``FSVF``) have no times at the beginning, and a block for each face: ordinal, count n, count of maps
m, cells in a row g, pixels in a row of the crop, nothing (32 bits each), pts_us f64[n], box f32[4n], row of
its map i32[n] with -1 for none, to_frame f32[6m], cells u8[m g g] as they are stored.
"""

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from engine.results import EvidenceReason
from fakesieve.records.evidence import MapSpan, PlacedFace
from fakesieve.records.score_series import Lane, Lanes, RegionSeries

VERSION = 2
WORST = 0xFFFFFFFF
MEDIA_TYPE = "application/octet-stream"
_SCATTERED, _SHORT, _REASONED = 1, 2, 4
_CODES: dict[EvidenceReason | None, int] = {
    None: 0, **{reason: place for place, reason in enumerate(EvidenceReason, start=1)}
}  # fmt: skip
_MATRIX = 6
_ALIGNMENT = 8
_FEW = 64  # scores that are looked at before all of them are


@dataclass(frozen=True)
class Moments:
    """All times of many series, each once and rising, with the times of each series among them."""

    times: "array[int]"

    @classmethod
    def join(cls, series: "Collection[array[int]]") -> "Moments":
        """Return the times of all series, of which each rises."""
        longest = max(series, key=len, default=array("q"))
        if all(_find_run(longest, times) is not None for times in series):
            return cls(longest)
        return cls(array("q", sorted(set[int]().union(*series))))

    def place(self, times: "array[int]") -> tuple[int, "array[int]"]:
        """Return the place of the first time and none others, or, of scattered times, all places."""
        first = _find_run(self.times, times)
        if first is not None:
            return first, array("I")
        return 0, array("I", (bisect_left(self.times, time) for time in times))


def pack_lanes(lanes: Lanes) -> bytes:
    """Return the scores of all faces over time. A lane of rows that aged out is missing, not empty."""
    blocks = dict(lanes.faces) if lanes.highest is None else {WORST: lanes.highest, **lanes.faces}
    moments = Moments.join([lane.pts_us for lane in blocks.values()])
    packed = [_pack_lane(moments, ordinal, lane) for ordinal, lane in blocks.items()]
    return _join(b"FSVL", packed, moments.times)


def pack_faces(faces: Sequence[PlacedFace], maps: Sequence[MapSpan]) -> bytes:
    """Return the boxes of a span's faces with the patch maps of those samples, as they are stored."""
    by_track = {each.ordinal: each for each in maps}
    return _join(
        b"FSVF",
        [
            _pack_track(ordinal, list(rows), by_track.get(ordinal))
            for ordinal, rows in groupby(faces, lambda face: face.ordinal)
        ],
    )


def pack_regions(series: Sequence[RegionSeries]) -> bytes:
    """Return where in each face it was over time."""
    moments = Moments.join([each.pts_us for each in series])
    blocks = [_pack_times(moments, each.ordinal, each.pts_us, 0) + _pad(each.shares) for each in series]
    return _join(b"FSVR", blocks, moments.times)


def _find_run(all_times: "array[int]", times: "array[int]") -> int | None:
    """Return where times follow each other among all; None where they do not."""
    if not times:
        return 0
    first = bisect_left(all_times, times[0])
    return first if all_times[first : first + len(times)] == times else None


def _pack_times(moments: Moments, ordinal: int, times: "array[int]", form: int) -> bytes:
    first, places = moments.place(times)
    form |= _SCATTERED if places else 0
    return struct.pack("<IIII", ordinal, len(times), first, form) + _pack("I", places)


def _pack_lane(moments: Moments, ordinal: int, lane: Lane) -> bytes:
    short = _shorten(lane.scores)
    form = (0 if short is None else _SHORT) | (_REASONED if lane.reasons else 0)
    return b"".join(
        (
            _pack_times(moments, ordinal, lane.pts_us, form),
            _pack("d", lane.scores) if short is None else _pack("f", short),
            _pad(bytes(map(_CODES.__getitem__, lane.reasons))),
        )
    )


def _shorten(scores: "array[float]") -> "array[float] | None":
    """Return scores as numbers of 32 bits; None where one of them would be another then."""
    if not _is_short(scores[:_FEW]) or not _is_short(scores):
        return None
    return array("f", scores)


def _is_short(scores: "array[float]") -> bool:
    return array("d", array("f", scores)).tobytes() == scores.tobytes()


def _pack_track(ordinal: int, faces: Sequence[PlacedFace], maps: MapSpan | None) -> bytes:
    rows = {} if maps is None else {pts_us: row for row, pts_us in enumerate(maps.pts_us)}
    kept = [rows[face.pts_us] for face in faces if face.pts_us in rows]
    places = {row: place for place, row in enumerate(kept)}
    index = [places[rows[face.pts_us]] if face.pts_us in rows else -1 for face in faces]
    matrices, cells = _take_maps(maps, kept)
    grid, crop_size = (0, 0) if maps is None else (maps.grid, maps.crop_size)
    return b"".join(
        (
            struct.pack("<IIIIII", ordinal, len(faces), len(kept), grid, crop_size, 0),
            _pack("d", [face.pts_us for face in faces]),
            _pack("f", [part for face in faces for part in face.box]),
            _pack("i", index),
            _pack("f", matrices),
            _pad(cells),
        )
    )


def _take_maps(maps: MapSpan | None, kept: Sequence[int]) -> tuple[list[float], bytes]:
    if maps is None or not kept:
        return [], b""
    size = maps.grid * maps.grid
    matrices = [number for row in kept for number in maps.to_frame[row * _MATRIX : (row + 1) * _MATRIX]]
    return matrices, b"".join(maps.cells[row * size : (row + 1) * size] for row in kept)


def _join(letters: bytes, blocks: Sequence[bytes], times: Sequence[int] = ()) -> bytes:
    head = letters + struct.pack("<III", VERSION, len(blocks), len(times)) + _pack("d", times)
    return head + b"".join(blocks)


def _pack(kind: str, numbers: Iterable[float]) -> bytes:
    packed = array(kind, numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return _pad(packed.tobytes())


def _pad(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % _ALIGNMENT)
