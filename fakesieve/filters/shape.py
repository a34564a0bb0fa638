"""What filters have in common that differ in the values they compare with: their statement is one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from fakesieve.filters.check import AllOf, AnyOf, Checked, FieldTest, Filter, Typed
from fakesieve.filters.fields import FieldKind

# A value of a closed list stays: a condition may be written in another way for one of them.
_EMPTY: Mapping[FieldKind, Typed] = {
    FieldKind.TEXT: "",
    FieldKind.TAGS: "",
    FieldKind.NUMBER: 0.0,
    FieldKind.INTEGER: 0,
    FieldKind.TIME: datetime(1970, 1, 1, tzinfo=UTC),
}


def split_values(wanted: Filter) -> tuple[Filter, tuple[Typed, ...]]:
    """Return the shape of a filter, and the values that it was given for.

    In the shape each of these is replaced by an empty one, and the test names its place among them: filters
    of one shape are equal.
    """
    if wanted.tree is None:
        return wanted, ()
    taken = _Values()
    return Filter(taken.take_out(wanted.tree)), tuple(taken.values)


def count_tests(wanted: Filter) -> int:
    """Return how many comparisons a filter has: its statement grows with them."""
    return 0 if wanted.tree is None else len(_list_tests(wanted.tree))


def find_fields(wanted: Filter) -> frozenset[str]:
    """Return the names of the fields that a filter compares."""
    tests = [] if wanted.tree is None else _list_tests(wanted.tree)
    return frozenset(test.field.name for test in tests)


def _list_tests(tree: Checked) -> list[FieldTest]:
    if isinstance(tree, FieldTest):
        return [tree]
    parts = tree.parts if isinstance(tree, AllOf | AnyOf) else (tree.inner,)
    return [test for part in parts for test in _list_tests(part)]


@dataclass
class _Values:
    """The values of one filter, gathered on a pass over its tree."""

    values: list[Typed] = field(default_factory=list[Typed])

    def take_out(self, tree: Checked) -> Checked:
        if isinstance(tree, FieldTest):
            return self._take_out_of_test(tree)
        if isinstance(tree, AllOf | AnyOf):
            return replace(tree, parts=tuple(self.take_out(part) for part in tree.parts))
        return replace(tree, inner=self.take_out(tree.inner))

    def _take_out_of_test(self, test: FieldTest) -> FieldTest:
        if test.value is None or test.field.kind not in _EMPTY:
            return test
        self.values.append(test.value)
        return replace(test, value=_EMPTY[test.field.kind], place=len(self.values) - 1)
