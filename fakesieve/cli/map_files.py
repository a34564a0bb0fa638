"""Patch maps as bytes that other programs read: NumPy arrays and greyscale PNG, written without a library."""

import struct
import zlib
from collections.abc import Sequence

_PNG = b"\x89PNG\r\n\x1a\n"
_GREY_8 = struct.Struct(">IIBBBBB")
_CELL_PX = 16


def write_npy(maps: Sequence[bytes], grid: int) -> bytes:
    """Return an array uint8 [n, grid, grid] in NumPy's format, version 1.0."""
    if any(len(each) != grid * grid for each in maps):
        raise ValueError(f"a map has {grid} x {grid} bytes")
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(maps)}, {grid}, {grid}), }}"
    # The array begins at a multiple of 64 bytes.
    padded = header + " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode("ascii") + b"".join(maps)


def write_png(data: bytes, grid: int, cell_px: int = _CELL_PX) -> bytes:
    """Return one map as a greyscale PNG, white for P = 1, each cell a square of ``cell_px`` pixels."""
    if len(data) != grid * grid:
        raise ValueError(f"a map has {grid} x {grid} bytes, has {len(data)}")
    lines = bytearray()
    for row in range(grid):
        cells = data[row * grid : (row + 1) * grid]
        line = b"\0" + b"".join(bytes([cell]) * cell_px for cell in cells)
        lines += line * cell_px
    side = grid * cell_px
    head = _GREY_8.pack(side, side, 8, 0, 0, 0, 0)
    return (
        _PNG + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(bytes(lines), 9)) + _chunk(b"IEND", b"")
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
