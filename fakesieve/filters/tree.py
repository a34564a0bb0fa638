"""What a filter says, as a tree, and the one text of a tree."""

from dataclasses import dataclass, field
from enum import StrEnum

from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason


class FilterInvalid(RequestRefused):
    """A filter or an order that cannot be read. ``position`` counts letters from 0; None is no one place."""

    def __init__(self, seen: str, hint: str, position: int | None = None) -> None:
        where = "" if position is None else f" at letter {position + 1}"
        super().__init__(Reason.INVALID_FILTER, f"{seen}{where}", hint)
        self.position = position

    def __reduce__(self) -> tuple[type[RequestRefused], tuple[Reason, str, str]]:
        # Between processes the place travels in the text alone.
        return (RequestRefused, (self.reason, self.seen, self.hint))


class Operator(StrEnum):
    """How a field is compared. ``HAS`` asks a list for an element, and with ``*`` whether there is any."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_EQUAL = "<="
    GREATER = ">"
    GREATER_EQUAL = ">="
    HAS = ":"


@dataclass(frozen=True)
class Value:
    """The right side of a comparison. ``is_prefix``: the text ended in a star, so any ending fits.

    A bare ``null`` asks for absence, a bare ``*`` for presence; in quotes both are plain text.
    """

    text: str
    is_quoted: bool = True
    is_prefix: bool = False
    position: int = field(default=0, compare=False)

    @property
    def is_null(self) -> bool:
        """Whether it stands for an absent value."""
        return not self.is_quoted and self.text == "null"

    @property
    def is_any(self) -> bool:
        """Whether it stands for any value at all."""
        return not self.is_quoted and self.text == "*"


@dataclass(frozen=True)
class Comparison:
    """One field against one value. ``path`` has its parts, as ``tracks.regions.mouth`` has three."""

    path: tuple[str, ...]
    operator: Operator
    value: Value
    position: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Within:
    """One element of a list that fits as a whole: ``tracks:(score>0.9 AND regions.mouth>0.5)``."""

    path: tuple[str, ...]
    inner: "Tree"
    position: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Not:
    """What does not fit."""

    inner: "Tree"


@dataclass(frozen=True)
class And:
    """What fits all parts."""

    parts: tuple["Tree", ...]


@dataclass(frozen=True)
class Or:
    """What fits at least one part."""

    parts: tuple["Tree", ...]


Tree = Comparison | Within | Not | And | Or


def write_tree(tree: Tree) -> str:
    """Return a text that reads back as the same tree, but for positions."""
    if isinstance(tree, Comparison):
        return f"{'.'.join(tree.path)}{tree.operator}{_write_value(tree.value)}"
    if isinstance(tree, Within):
        return f"{'.'.join(tree.path)}:({write_tree(tree.inner)})"
    if isinstance(tree, Not):
        return f"NOT {_write_part(tree.inner)}"
    word = " AND " if isinstance(tree, And) else " OR "
    return word.join(_write_part(part) for part in tree.parts)


def _write_part(tree: Tree) -> str:
    text = write_tree(tree)
    return text if isinstance(tree, Comparison | Within) else f"({text})"


def _write_value(value: Value) -> str:
    if not value.is_quoted:
        return value.text
    escaped = value.text.replace("\\", "\\\\").replace('"', '\\"')
    if escaped.endswith("*"):
        escaped = escaped[:-1] + "\\*"
    return f'"{escaped}{"*" if value.is_prefix else ""}"'
