"""Which other files an ONNX graph refers to, read off its bytes without the ``onnx`` package.

A graph may keep arrays in other files by any path that it likes. Engines differ in how they confine those
paths, so a bundle's graphs are looked through before an engine sees them.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from engine.errors import BundleInvalid
from engine.results import RejectReason

_DEPTH_MAX = 64
_Fields = dict[int, str]
# Field numbers of onnx.proto3 on the way from a model to its tensors: message -> field -> message.
_SCHEMA: dict[str, _Fields] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def external_locations(path: Path) -> frozenset[str]:
    """Return the file names under which a graph keeps arrays outside of itself.

    Raises BundleInvalid if the file is not a graph.
    """
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            view = memoryview(data)
            try:
                return frozenset(_locations(view, "model", 0))
            finally:
                view.release()
    except (ValueError, OSError) as fault:
        raise BundleInvalid(
            RejectReason.MODEL_INVALID, f"{path.name} is not an ONNX graph: {fault}", "write the bundle again"
        ) from fault


def _locations(data: memoryview, message: str, depth: int) -> Iterator[str]:
    if depth > _DEPTH_MAX:
        raise ValueError(f"messages nested more than {_DEPTH_MAX} deep")
    if message == "entry":
        yield from _location_of_entry(data)
        return
    inner = _SCHEMA[message]
    for field, start, end in _fields(data):
        if field in inner:
            with data[start:end] as part:
                yield from _locations(part, inner[field], depth + 1)


def _location_of_entry(data: memoryview) -> Iterator[str]:
    texts = {_KEY: b"", _VALUE: b""}
    for field, start, end in _fields(data):
        if field in texts:
            texts[field] = bytes(data[start:end])
    if texts[_KEY] == b"location":
        yield texts[_VALUE].decode("utf-8")


def _fields(data: memoryview) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each length-delimited field of one message."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind == _VARINT:
            _, position = _varint(data, position)
        elif kind in (_FIXED64, _FIXED32):
            position += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            length, start = _varint(data, position)
            position = start + length
            if position <= len(data):
                yield tag >> 3, start, position
        else:
            raise ValueError(f"wire type {kind} at byte {position}")
        if position > len(data):
            raise ValueError("a field reaches beyond the end")


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number is cut off")
