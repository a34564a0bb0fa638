"""File names made harmless for the place where they are shown, and for the files that are named after them.

A name is chosen by whoever made the file: it may steer a terminal, turn the direction of a line of text, or
be a formula for a spreadsheet.
"""

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")
_UNSAFE_IN_FILES = re.compile(r"[^A-Za-z0-9._-]+")
_STEM_LONGEST = 80


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


def choose_stems(paths: Iterable[str | PurePath]) -> list[str]:
    """Return for each path the stem of its output files: safe characters, different from all the others.

    The extension stays in the stem, because ``a.mp4`` and ``a.mov`` are two inputs.
    """
    taken: set[str] = set()
    stems: list[str] = []
    for path in paths:
        name = _UNSAFE_IN_FILES.sub("_", to_text(PurePath(path).name))[:_STEM_LONGEST].strip("._-") or "input"
        stem, count = name, 1
        while stem.lower() in taken:  # some file systems do not tell upper from lower case
            count += 1
            stem = f"{name}-{count}"
        taken.add(stem.lower())
        stems.append(stem)
    return stems
