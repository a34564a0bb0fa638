"""File names made harmless for the place where they are shown, and for the files that are named after them.

A name is chosen by whoever made the file: it may steer a terminal, turn the direction of a line of text, or
be a formula for a spreadsheet.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")
_UNSAFE_IN_FILES = re.compile(r"[^\w.-]+")
_UNSAFE_WITHOUT_UNICODE = re.compile(r"[^\w.-]+", re.ASCII)
_STEM_LONGEST_BYTES = 120  # a name has 255 at most, endings included


def to_text(path: str | PurePath) -> str:
    """Return a path as valid Unicode: bytes that are no UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def escape_controls(text: str) -> str:
    """Escape what is not printable: controls, line ends, marks of direction, unassigned characters."""
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def escape_for_terminal(text: str) -> str:
    """Escape also what terminals place or measure in different ways: right-to-left letters and emoji."""
    return "".join(c if c.isprintable() and not _is_unsteady(c) else _escape(c) for c in text)


def _is_unsteady(character: str) -> bool:
    return (
        unicodedata.bidirectional(character) in ("R", "AL", "AN")
        or unicodedata.category(character) == "So"
        or unicodedata.combining(character) > 0
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def defuse_cell(text: str) -> str:
    """Make a CSV cell plain text: no control characters, and a quote before what a spreadsheet would run."""
    return ("'" if text.startswith(_FORMULA_STARTS) else "") + escape_controls(text)


def choose_stems(paths: Sequence[str | PurePath]) -> list[str]:
    """Return for each path the stem of its output files: safe characters, different from all the others.

    The extension is kept only where two inputs would else share a stem, as ``a.mp4`` and ``a.mov``.
    """
    short = [_make_safe(PurePath(path).stem) for path in paths]
    counts = Counter(stem.lower() for stem in short)
    wished = [
        stem if counts[stem.lower()] == 1 else _make_safe(PurePath(path).name)
        for stem, path in zip(short, paths, strict=True)
    ]
    taken = set[str]()
    return [_make_unique(stem, taken) for stem in wished]


def _make_safe(name: str) -> str:
    """Return a stem of letters, digits and ``._-``, in any script: a name must still tell its input."""
    text, unsafe = unicodedata.normalize("NFC", to_text(name)), _UNSAFE_IN_FILES
    try:
        os.fsencode(text)
    except UnicodeEncodeError:  # this system's file names have another encoding, as Latin-1
        unsafe = _UNSAFE_WITHOUT_UNICODE
    whole = unsafe.sub("_", text)
    return whole.encode()[:_STEM_LONGEST_BYTES].decode("utf-8", "ignore").strip("._-") or "input"


def _make_unique(stem: str, taken: set[str]) -> str:
    """Number a stem that is taken. Some file systems do not tell upper from lower case."""
    unique, count = stem, 1
    while unique.lower() in taken:
        count += 1
        unique = f"{stem}-{count}"
    taken.add(unique.lower())
    return unique
