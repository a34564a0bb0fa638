"""Samples for the review page as packed arrays: exact, small, and read by the browser without parsing.

Everything is little-endian, and each array begins at a multiple of 8 bytes. Times are whole microseconds in
64-bit floats, which hold them exactly. All documents begin with four letters, a version and a count of
blocks, 32 bits each after the letters, and 32 bits of nothing.

Lanes (``FSVL``), a block for each face and one, with the ordinal ``WORST``, for the highest face of each
sample: ordinal and count n (32 bits each), pts_us f64[n], score f64[n] with NaN for none, reason u8[n], 0 or
1 + its place among ``EvidenceReason``.

Faces (``FSVF``), a block for each face: ordinal, count n, count of maps m, cells in a row g, pixels in a row
of the crop, nothing (32 bits each), pts_us f64[n], box f32[4n], row of its map i32[n] with -1 for none,
to_frame f32[6m], cells u8[m g g] as they are stored.

Regions (``FSVR``), a block for each face: ordinal and count n (32 bits each), pts_us f64[n], shares u8[7n] of
hot cells by part of the face in the order of ``FaceRegion``, each 255 times the share.
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import groupby

from engine.results import EvidenceReason
from fakesieve.records.evidence import Lane, Lanes, MapSpan, PlacedFace, RegionSeries

VERSION = 1
WORST = 0xFFFFFFFF
MEDIA_TYPE = "application/octet-stream"
_CODES: dict[EvidenceReason | None, int] = {
    None: 0, **{reason: place for place, reason in enumerate(EvidenceReason, start=1)}
}  # fmt: skip
_NAN = float("nan")
_MATRIX = 6
_ALIGNMENT = 8


def pack_lanes(lanes: Lanes) -> bytes:
    """Return the scores of all faces over time. A lane of rows that aged out is missing, not empty."""
    blocks = [] if lanes.highest is None else [_pack_lane(WORST, lanes.highest)]
    blocks += [_pack_lane(ordinal, lane) for ordinal, lane in lanes.faces.items()]
    return _join(b"FSVL", blocks)


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
    blocks = [
        struct.pack("<II", each.ordinal, len(each.pts_us)) + _pack("d", each.pts_us) + _pad(each.shares)
        for each in series
    ]
    return _join(b"FSVR", blocks)


def _pack_lane(ordinal: int, lane: Lane) -> bytes:
    codes = bytes(map(_CODES.__getitem__, lane.reasons)) or bytes(len(lane.pts_us))
    return b"".join(
        (
            struct.pack("<II", ordinal, len(lane.pts_us)),
            _pack("d", lane.pts_us),
            _pack("d", [_NAN if score is None else score for score in lane.scores]),
            _pad(codes),
        )
    )


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


def _join(letters: bytes, blocks: Sequence[bytes]) -> bytes:
    return letters + struct.pack("<III", VERSION, len(blocks), 0) + b"".join(blocks)


def _pack(kind: str, numbers: Iterable[float]) -> bytes:
    packed = array(kind, numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return _pad(packed.tobytes())


def _pad(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % _ALIGNMENT)
