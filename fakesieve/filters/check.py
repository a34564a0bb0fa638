"""A tree held against the allow-list: every name known, every value of its kind. What passes can be run."""

import difflib
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fakesieve.filters.fields import ALIASES, FIELDS, NOUNS, Field, FieldKind
from fakesieve.filters.parse import parse_filter
from fakesieve.filters.tree import And, Comparison, FilterInvalid, Not, Operator, Tree, Value, Within

INTEGER_MAX = 2**63 - 1
Typed = str | int | float | datetime | None

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d{1,19}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_ORDERED = frozenset({Operator.LESS, Operator.LESS_EQUAL, Operator.GREATER, Operator.GREATER_EQUAL})
_PLAIN = frozenset({Operator.EQUAL, Operator.NOT_EQUAL, Operator.HAS})


@dataclass(frozen=True)
class FieldTest:
    """One comparison that can be run. ``tag`` is the name within ``tags``.

    With ``operator`` HAS and no ``value`` the field must be there; with EQUAL and none it must be absent.
    In the shape of a filter (``split_values``) the value is none of the caller's, whose value has a ``place``
    among those that were taken out.
    """

    field: Field
    operator: Operator
    value: Typed
    is_prefix: bool = False
    tag: str | None = None
    place: int | None = None


@dataclass(frozen=True)
class Some:
    """One element of the list ``noun`` fits."""

    noun: str
    inner: "Checked"


@dataclass(frozen=True)
class Negated:
    """What does not fit."""

    inner: "Checked"


@dataclass(frozen=True)
class AllOf:
    """What fits all parts."""

    parts: tuple["Checked", ...]


@dataclass(frozen=True)
class AnyOf:
    """What fits at least one part."""

    parts: tuple["Checked", ...]


Checked = FieldTest | Some | Negated | AllOf | AnyOf


@dataclass(frozen=True)
class Filter:
    """A filter that can be run; without a ``tree`` it lets everything pass."""

    tree: Checked | None = None
    text: str = field(default="", compare=False)


EVERYTHING = Filter()


def read_filter(text: str | None) -> Filter:
    """Return the filter that a text says. Raises FilterInvalid with place and hint."""
    if text is None:
        return EVERYTHING
    tree = parse_filter(text)
    return Filter(None if tree is None else check_tree(tree), text)


def check_tree(tree: Tree, noun: str | None = None) -> Checked:
    """Return a tree with fields and typed values; within an element of ``noun`` names are the element's."""
    if isinstance(tree, Comparison):
        return _check_comparison(tree, noun)
    if isinstance(tree, Within):
        return _check_within(tree, noun)
    if isinstance(tree, Not):
        return Negated(check_tree(tree.inner, noun))
    parts = tuple(check_tree(part, noun) for part in tree.parts)
    return AllOf(parts) if isinstance(tree, And) else AnyOf(parts)


def _check_within(tree: Within, noun: str | None) -> Checked:
    name = ".".join(tree.path)
    if noun is not None or name not in NOUNS:
        known = ", ".join(NOUNS)
        raise FilterInvalid(f"{name} is no list here", f"lists are {known}", tree.position)
    return Some(name, check_tree(tree.inner, name))


def _check_comparison(tree: Comparison, noun: str | None) -> Checked:
    written = ".".join(tree.path)
    name = written if noun is None else f"{noun}.{written}"
    if name in NOUNS and tree.operator is Operator.HAS and tree.value.is_any:
        raise FilterInvalid(
            f"{name}:* is not known", f"ask for something of its elements: {name}:(...)", tree.position
        )
    known, tag = _find_field(name, tree.position)
    test = _check_test(known, tag, tree)
    outer = known.noun
    return test if outer is None or noun is not None else Some(outer, test)


def _find_field(name: str, position: int) -> tuple[Field, str | None]:
    known = FIELDS.get(ALIASES.get(name, name))
    if known is not None:
        return known, None
    head, dot, tag = name.partition(".")
    if head == "tags" and dot and tag:
        return FIELDS["tags"], tag
    near = difflib.get_close_matches(name, FIELDS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"fields are {', '.join(list(FIELDS)[:12])} ..."
    raise FilterInvalid(f"there is no field {name[:80]}", hint, position)


def _check_test(known: Field, tag: str | None, tree: Comparison) -> FieldTest:
    value, operator = tree.value, tree.operator
    if known.kind is FieldKind.TAGS and tag is None:
        return _check_tag_name(known, tree)
    if value.is_any:
        if operator is not Operator.HAS:
            raise FilterInvalid(
                f"{operator} * asks for nothing", f"{known.name}:* asks whether it is there", value.position
            )
        return FieldTest(known, Operator.HAS, None, tag=tag)
    _check_operator(known, operator, tree.position)
    if value.is_null:
        return _check_null(known, tag, tree)
    operator = Operator.EQUAL if operator is Operator.HAS and known.kind is not FieldKind.LIST else operator
    if value.is_prefix and (
        known.kind not in (FieldKind.TEXT, FieldKind.TAGS)
        or operator not in (Operator.EQUAL, Operator.NOT_EQUAL)
    ):
        raise FilterInvalid(
            "only texts may end in a star, and only with =", "write \\* for the star itself", value.position
        )
    return FieldTest(known, operator, _read_value(known, value), value.is_prefix, tag)


def _check_tag_name(known: Field, tree: Comparison) -> FieldTest:
    value = tree.value
    if tree.operator is not Operator.HAS or value.is_any or value.is_null or value.is_prefix:
        raise FilterInvalid(
            "tags have names", 'write tags.NAME = "value", or tags:NAME for any value', tree.position
        )
    return FieldTest(known, Operator.HAS, None, tag=value.text)


def _check_operator(known: Field, operator: Operator, position: int) -> None:
    if known.kind is FieldKind.LIST and operator is not Operator.HAS:
        raise FilterInvalid(
            f"{known.name} is a list",
            f"ask whether it has a value: {known.name}:{known.choices[0]}",
            position,
        )
    if operator in _ORDERED and known.kind in (FieldKind.TEXT, FieldKind.CHOICE, FieldKind.TAGS):
        raise FilterInvalid(f"{known.name} has no order", "compare it by = or !=", position)


def _check_null(known: Field, tag: str | None, tree: Comparison) -> FieldTest:
    if tree.operator not in _PLAIN or known.kind is FieldKind.LIST:
        raise FilterInvalid("null has no order", "compare it by = or !=", tree.value.position)
    operator = Operator.HAS if tree.operator is Operator.NOT_EQUAL else Operator.EQUAL
    return FieldTest(known, operator, None, tag=tag)


def _read_value(known: Field, value: Value) -> Typed:
    if known.kind in (FieldKind.TEXT, FieldKind.TAGS):
        return value.text
    if known.kind in (FieldKind.CHOICE, FieldKind.LIST):
        if value.text in known.choices:
            return value.text
        choices = ", ".join(known.choices)
        raise FilterInvalid(
            f"{value.text[:40]!r} is no {known.name}", f"it is one of {choices}", value.position
        )
    if known.kind is FieldKind.TIME:
        return _read_time(known, value)
    return _read_integer(known, value) if known.kind is FieldKind.INTEGER else _read_number(known, value)


def _read_number(known: Field, value: Value) -> float:
    if _NUMBER.fullmatch(value.text):
        number = float(value.text)
        if math.isfinite(number):
            return number
    raise FilterInvalid(f"{value.text[:40]!r} is no number", f"{known.name} is a number", value.position)


def _read_integer(known: Field, value: Value) -> int:
    if _INTEGER.fullmatch(value.text) and abs(int(value.text)) <= INTEGER_MAX:
        return int(value.text)
    raise FilterInvalid(
        f"{value.text[:40]!r} is no whole number", f"{known.name} is one of up to 64 bits", value.position
    )


def _read_time(known: Field, value: Value) -> datetime:
    """Read a date, which is its first moment in UTC, or a time with its zone."""
    try:
        if _DATE.fullmatch(value.text):
            return datetime.fromisoformat(value.text).replace(tzinfo=UTC)
        time = datetime.fromisoformat(value.text)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise FilterInvalid(
        f"{value.text[:40]!r} is no time",
        f'write {known.name} as "2026-01-31" or "2026-01-31T12:00:00Z"',
        value.position,
    )
