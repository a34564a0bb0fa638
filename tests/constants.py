"""Numbers and texts of our modules that Hypothesis draws too: thresholds, limits, words of formats."""

import ast
from functools import cache
from pathlib import Path

from hypothesis.internal.constants_ast import Constants, ConstantVisitor
from hypothesis.internal.floats import float_to_int
from sortedcontainers import SortedSet

_ROOT = Path(__file__).resolve().parents[1]
# What properties are about. A list, so that the examples of a test do not change with the modules that the
# tests before it have loaded; read, not imported, so that no test loads more than it needs.
_FILES = (
    "engine/aggregate.py",
    "engine/calibrate.py",
    "engine/container.py",
    "engine/decoders/geometry.py",
    "engine/evidence.py",
    "engine/faces/link.py",
    "engine/faces/quality.py",
    "engine/faces/track.py",
    "engine/limits.py",
    "engine/policy.py",
    "engine/regions.py",
    "engine/results.py",
    "engine/sampling.py",
    "engine/score.py",
    "engine/segments.py",
    "fakesieve/filters/check.py",
    "fakesieve/filters/parse.py",
    "fakesieve/ids.py",
    "fakesieve/object_stores/retries.py",
    "fakesieve/values/reviews.py",
)


@cache
def find_constants() -> Constants:
    """Return the constants of the listed files, in an order that is the same in each process."""
    visitor = ConstantVisitor(limit=False)
    for name in _FILES:
        visitor.visit(ast.parse((_ROOT / name).read_text(encoding="utf-8")))
    found = visitor.constants
    return Constants(
        integers=SortedSet(found.integers),
        floats=SortedSet(found.floats, key=float_to_int),
        bytes=SortedSet(found.bytes),
        strings=SortedSet(found.strings),
    )
