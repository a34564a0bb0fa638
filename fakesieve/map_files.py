"""Patch maps as bytes that other programs read: NumPy arrays, PNG and runs, written without a library."""

import struct
import zlib
from collections.abc import Sequence

_PNG = b"\x89PNG\r\n\x1a\n"
_HEAD = struct.Struct(">IIBBBBB")
_GREY, _COLOUR_ALPHA = 0, 6
_MAGENTA = bytes((230, 0, 160))
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
    return _write_cells([bytes([cell]) for cell in _check(data, grid)], grid, cell_px, _GREY)


def write_overlay(data: bytes, grid: int, cell_px: int = _CELL_PX) -> bytes:
    """Return one map as a PNG to be laid over its crop: one colour, the more opaque the higher P.

    Cells have hard edges, as the network says no more than one number for each of them.
    """
    return _write_cells(
        [_MAGENTA + bytes([cell]) for cell in _check(data, grid)], grid, cell_px, _COLOUR_ALPHA
    )


def count_runs(data: bytes, threshold: float) -> list[int]:
    """Return the cells below and at or above a threshold (0 to 1) as lengths of runs, by rows.

    The first run is below the threshold and may be of length 0; runs take turns.
    """
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"a threshold is a probability, {threshold} is not")
    runs, is_over = [0], False
    for cell in data:
        if (cell >= threshold * 255.0) is not is_over:
            runs.append(0)
            is_over = not is_over
        runs[-1] += 1
    return runs


def _check(data: bytes, grid: int) -> bytes:
    if len(data) != grid * grid:
        raise ValueError(f"a map has {grid} x {grid} bytes, has {len(data)}")
    return data


def _write_cells(cells: Sequence[bytes], grid: int, cell_px: int, colour: int) -> bytes:
    """Return a PNG of cells, each given as the bytes of one pixel."""
    lines = bytearray()
    for row in range(grid):
        line = b"\0" + b"".join(cell * cell_px for cell in cells[row * grid : (row + 1) * grid])
        lines += line * cell_px
    side = grid * cell_px
    head = _HEAD.pack(side, side, 8, colour, 0, 0, 0)
    return (
        _PNG + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(bytes(lines), 9)) + _chunk(b"IEND", b"")
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
