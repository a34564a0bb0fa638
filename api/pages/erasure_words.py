"""What the page of a video says of its erasures: the stores of a receipt, filled or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from fakesieve.records.erasure import Erasure
from fakesieve.values.erasure import ErasureCause, ErasureState

CAUSES: Mapping[ErasureCause, str] = {
    ErasureCause.REQUEST: "somebody asked for it",
    ErasureCause.PURGE: "it was deleted, and the time for taking that back was over",
    ErasureCause.RETENTION: "its retention class keeps it no longer",
}
STORES: Mapping[str, str] = {
    "database": "database",
    "objects": "objects of the video",
    "exports": "exports that tell of it",
    "scratch": "copies on worker hosts",
}
_COUNTED = {"objects": "object", "hosts": "host"}
_PLURALS = {
    "analysis": "analyses",
    "standing": "lines of lists",
    "usage": "lines of usage",
    "outbox": "doorbells",
}


@dataclass(frozen=True)
class StoreLine:
    """One store of a receipt. ``state`` is None while nothing is said of it."""

    name: str
    state: str | None
    what: str


@dataclass(frozen=True)
class KeptLine:
    """What an erasure leaves, how much of it, and why."""

    name: str
    count: int
    why: str


@dataclass(frozen=True)
class Receipt:
    """An erasure as its page shows it."""

    erasure: Erasure
    cause: str
    by: str
    stores: tuple[StoreLine, ...]
    kept: tuple[KeptLine, ...]

    @property
    def is_running(self) -> bool:
        """Whether a store is still to be cleared."""
        return self.erasure.state is ErasureState.RUNNING


def write_receipt(erasure: Erasure, names: Mapping[str, str]) -> Receipt:
    """Return an erasure in words, as far as its receipt is filled. ``names`` are those of people by id."""
    said = cast("Mapping[str, Mapping[str, object]]", erasure.stores)
    kept = cast("Mapping[str, Mapping[str, object]]", said.get("kept", {}))
    return Receipt(
        erasure,
        CAUSES[erasure.cause],
        names.get(erasure.requested_by, erasure.requested_by),
        tuple(_write_store(text, said.get(name)) for name, text in STORES.items()),
        tuple(
            KeptLine(name.replace("_", " "), _count(line, ("rows", "objects")), str(line.get("why", "")))
            for name, line in kept.items()
        ),
    )


def _write_store(text: str, said: Mapping[str, object] | None) -> StoreLine:
    if said is None:
        return StoreLine(text, None, "")
    rows = cast("Mapping[str, int]", said.get("rows", {}))
    parts = [_say_count(count, name) for name, count in rows.items() if count]
    parts += [_say_count(_count(said, (name,)), noun) for name, noun in _COUNTED.items() if name in said]
    return StoreLine(text, str(said.get("state", "")), ", ".join(parts))


def _say_count(count: int, noun: str) -> str:
    """Return how many rows of a table, or things of a kind, in words."""
    words = noun if count == 1 else _PLURALS.get(noun, f"{noun}s")
    return f"{count:,} {words.replace('_', ' ')}"


def _count(said: Mapping[str, object], names: tuple[str, ...]) -> int:
    return next((cast("int", said[name]) for name in names if name in said), 0)
