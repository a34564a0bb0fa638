"""Many numbers from the database at once, as the bytes that it holds instead of a text for each of them.

A text of each number, read by the driver into an object of its own, costs several times what the numbers of a
long video cost to find.
"""

import sys
from array import array
from typing import TypeVar

Numbers = TypeVar("Numbers", "array[int]", "array[float]")

_HEADER = (
    20  # bytes before the items of an array of one dimension: its dimensions, flags, type, length, bound
)
_LENGTH = 4  # bytes before each item, which say how long it is
_WORD = 4
_EMPTY = 12  # bytes of an array without items


def read_integers(content: bytes | None) -> "array[int]":
    """Return what ``string_agg(int8send(...), '')`` gives; nothing where there was no row."""
    return _turn(array("q", content or b""))


def read_floats(content: bytes | None) -> "array[float]":
    """Return what ``string_agg(float8send(...), '')`` gives; nothing where there was no row."""
    return _turn(array("d", content or b""))


def read_integer_array(content: bytes) -> "array[int]":
    """Return what ``array_send`` gives of a ``bigint[]`` of one dimension without nulls.

    Raises:
        ValueError: it is another array.
    """
    return _turn(array("q", _take_items(content)))


def read_float_array(content: bytes) -> "array[float]":
    """Return what ``array_send`` gives of a ``double precision[]``; raises as ``read_integer_array``."""
    return _turn(array("d", _take_items(content)))


def _take_items(content: bytes) -> bytes:
    """Return items of 8 bytes without their lengths: of three words of 32 bits, the second and the third."""
    dimensions, has_nulls = (int.from_bytes(content[at : at + _WORD], "big") for at in (0, _WORD))
    if dimensions == 0 and len(content) == _EMPTY:
        return b""
    count = int.from_bytes(content[_EMPTY : _EMPTY + _WORD], "big")
    if dimensions != 1 or has_nulls or len(content) != _HEADER + count * (_LENGTH + 2 * _WORD):
        raise ValueError("not an array of numbers of 8 bytes, of one dimension and without nulls")
    words = array("I", content[_HEADER:])
    items = array("I", bytes(2 * _WORD * count))
    items[0::2], items[1::2] = words[1::3], words[2::3]
    return items.tobytes()


def _turn(numbers: Numbers) -> Numbers:
    """Return numbers in this machine's order of bytes, that of the network before."""
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers
