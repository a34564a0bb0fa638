"""Filters for property tests: texts that can be run, and trees of any shape."""

from hypothesis import strategies as st

from fakesieve.filters.fields import FIELDS, Field, FieldKind
from fakesieve.filters.tree import And, Comparison, Not, Operator, Or, Tree, Value, Within

_NUMBERS = st.one_of(st.floats(0, 1).map(repr), st.integers(-5, 10**12).map(str))
_TEXTS = st.text(alphabet="abz*'\\ -é", max_size=8)
_ORDERED = ["=", "!=", "<", "<=", ">", ">="]


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _values(field: Field) -> st.SearchStrategy[str]:
    if field.kind is FieldKind.TEXT:
        return st.tuples(
            st.sampled_from(["=", "!=", ":"]), _TEXTS.map(lambda text: _quote(text.rstrip("*")))
        ).map("".join)
    if field.kind is FieldKind.CHOICE:
        return st.tuples(st.sampled_from(["=", "!=", ":"]), st.sampled_from(field.choices)).map("".join)
    if field.kind is FieldKind.LIST:
        return st.sampled_from([*field.choices, "*"]).map(lambda value: f":{value}")
    if field.kind is FieldKind.INTEGER:
        return st.tuples(st.sampled_from(_ORDERED), st.integers(-(2**63) + 1, 2**63 - 1).map(str)).map(
            "".join
        )
    if field.kind is FieldKind.NUMBER:
        return st.tuples(st.sampled_from(_ORDERED), _NUMBERS).map("".join)
    return st.sampled_from(['>"2026-01-01"', '<="2026-01-31T12:00:00.5Z"', "=null", ":*"])


def comparison_texts() -> st.SearchStrategy[str]:
    """One comparison of any field of the allow-list that the database can run."""
    fields = [field for field in FIELDS.values() if field.kind is not FieldKind.TAGS]
    plain = st.sampled_from(fields).flatmap(lambda field: _values(field).map(lambda rest: field.name + rest))
    tags = st.sampled_from(['tags.campaign="spring"', 'tags.campaign!="x"', "tags:team", "tags.team=null"])
    return st.one_of(plain, tags)


def filter_texts() -> st.SearchStrategy[str]:
    """A filter that can be run."""
    return st.recursive(
        comparison_texts(),
        lambda inner: st.one_of(
            inner.map(lambda text: f"NOT ({text})"),
            st.lists(inner, min_size=2, max_size=3).map(
                lambda parts: " AND ".join(f"({part})" for part in parts)
            ),
            st.lists(inner, min_size=2, max_size=3).map(
                lambda parts: " OR ".join(f"({part})" for part in parts)
            ),
        ),
        max_leaves=6,
    )


def trees() -> st.SearchStrategy[Tree]:
    """A tree of any names and values, as the parser may build it."""
    names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,6}", fullmatch=True).filter(
        lambda name: name not in ("AND", "OR", "NOT")
    )
    paths = st.lists(names, min_size=1, max_size=3).map(tuple)
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    quoted = st.builds(Value, st.text(letters, max_size=10), st.just(True), st.booleans())
    bare = st.from_regex(r"[A-Za-z0-9_.+@-]{1,8}", fullmatch=True).filter(
        lambda text: text not in ("AND", "OR", "NOT")
    )
    values = st.one_of(quoted, st.builds(Value, bare | st.just("*"), st.just(False)))
    leaves = st.builds(Comparison, paths, st.sampled_from(Operator), values)
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(Not, inner),
            st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
            st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
            st.builds(Within, paths, inner),
        ),
        max_leaves=8,
    )
