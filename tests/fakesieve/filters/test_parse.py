"""Filters read as written, and what cannot be read is told with its place."""

import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakesieve.filters.check import FieldTest, Filter, Negated, Some, read_filter
from fakesieve.filters.fields import ALIASES, FIELDS
from fakesieve.filters.lexer import LETTERS_MAX
from fakesieve.filters.order import read_order
from fakesieve.filters.parse import COMPARISONS_MAX, DEPTH_MAX, parse_filter
from fakesieve.filters.tree import And, Comparison, FilterInvalid, Operator, Or, Tree, Value, write_tree
from tests.filters import filter_texts, trees


@settings(max_examples=150)
@given(tree=trees())
def test_a_tree_reads_back_as_itself(tree: Tree) -> None:
    refused = None
    try:
        assert parse_filter(write_tree(tree)) == tree
    except FilterInvalid as fault:
        refused = fault
    assert refused is None or "deep" in refused.seen or "comparisons" in refused.seen


@settings(max_examples=300)
@given(text=st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    _read_or_refuse(text)


def test_broken_filters_are_read_or_refused() -> None:
    """A fuzzer: good filters with letters dropped, doubled, swapped and joined; a seed for each machine."""
    rng = random.Random(20_240_611)
    seeds = [
        'verdict="likely_manipulated" AND create_time>"2026-01-01" AND tracks.regions.mouth>0.5',
        "NOT (score.raw >= 1e-3 OR tracks:(score < .5 AND NOT ordinal = 2))",
        "tags.team = 'a\\'b*' OR tags:x OR reasons:* OR verdict != null",
    ]
    signs = "()\"'\\*:=<>!. \t\n\0é\ud800ANDORNOT0-"
    for _ in range(3000):
        text = rng.choice(seeds)
        for _ in range(rng.randint(1, 6)):
            at, end = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
            text = (
                rng.choice(
                    [
                        text[:at] + text[end:],
                        text[:end] + text[at:],
                        text[:at] + rng.choice(signs) + text[at:],
                    ]
                )[:500]
                or "("
            )
        _read_or_refuse(text)


def _read_or_refuse(text: str) -> None:
    refused = None
    try:
        assert isinstance(read_filter(text), Filter)
    except FilterInvalid as fault:
        refused = fault
    if refused is not None:
        assert refused.seen
        assert refused.hint
        assert refused.position is None or 0 <= refused.position <= len(text)


@settings(max_examples=100)
@given(text=filter_texts())
def test_what_the_allow_list_has_can_be_asked(text: str) -> None:
    assert read_filter(text).tree is not None


def test_words_bind_as_parentheses_say() -> None:
    a, b, c = (Comparison((name,), Operator.EQUAL, Value("1", is_quoted=False)) for name in "abc")
    assert parse_filter("a=1 AND b=1 AND c=1") == And((a, b, c))
    assert parse_filter("a = 1 AND (b = 1 OR c = 1)") == And((a, Or((b, c))))
    assert parse_filter("") is parse_filter("  \n") is None


def test_fields_of_a_list_ask_for_one_element() -> None:
    outer = read_filter("tracks.score > 0.5").tree
    inner = read_filter("tracks:(score > 0.5)").tree
    assert outer == inner == Some("tracks", FieldTest(FIELDS["tracks.score"], Operator.GREATER, 0.5))
    assert isinstance(read_filter("NOT patch_area > 0.1").tree, Negated)


@pytest.mark.parametrize(
    ("text", "seen", "position"),
    [
        ("score.raw > 0.9 AND vercit = x", "no field vercit", 20),
        ("verdict = fake", "'fake' is no verdict", 10),
        ("score > high", "'high' is no number", 8),
        ("score > NaN", "'NaN' is no number", 8),  # A12
        ("score > 1e999", "'1e999' is no number", 8),
        ("duration_us > 9223372036854775808", "no whole number", 14),
        ("duration_us > 1.5", "no whole number", 14),
        ('create_time > "yesterday"', "is no time", 14),
        ('create_time > "2026-01-01T00:00:00"', "is no time", 14),  # A58: without a zone
        ('create_time > "2026-12-31T23:59:60Z"', "is no time", 14),  # A58: a leap second
        ('create_time > "0001-01-01T00:00:00+14:00"', "is no time", 14),
        ("a = 1 AND b = 2 OR c = 3", "AND stands beside OR", 16),
        ("score > 0.5 score < 0.7", "'score' stands where nothing", 12),
        ("score > 0.5 and score < 0.7", "and is no word here", 12),
        ("(score > 0.5", "is not closed", 0),
        ("score > 0.5)", "closes nothing", 11),
        ("score >", "a value is missing for score", 7),
        ("score", "a comparison is missing after score", 5),
        ("> 0.5", "a field is missing", 0),
        ('verdict = "likely', "has no end", 10),
        ('external_id = "a\\n"', "is no escape", 16),
        ("external_id = a*", "has a star", 14),
        ('verdict = "like*"', "only texts may end in a star", 10),
        ("verdict > inconclusive", "verdict has no order", 0),
        ("reasons = hdr", "reasons is a list", 0),
        ("score > null", "null has no order", 8),
        ("score = *", "asks for nothing", 8),
        ("tracks:*", "tracks:* is not known", 0),
        ("verdict:(a = 1)", "verdict is no list here", 0),
        ("tracks:(jobs:(id = x))", "jobs is no list here", 8),
        ("tags = x", "tags have names", 0),
        ("score; DROP TABLE analysis", "';' has no meaning here", 5),  # A15
        ("score > 0.5 --", "'--' stands where nothing", 12),
        ("external_id = '\0'", "a letter that no text can hold", None),
        ("external_id = '\ud800'", "a letter that no text can hold", None),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_place(text: str, seen: str, position: int | None) -> None:
    with pytest.raises(FilterInvalid) as refused:
        read_filter(text)
    assert seen in refused.value.seen
    assert refused.value.position == position


def test_filters_have_a_size() -> None:
    for text in (
        "(" * (DEPTH_MAX + 2) + "score>0" + ")" * (DEPTH_MAX + 2),
        " OR ".join(["score>0"] * (COMPARISONS_MAX + 1)),
        "NOT " + "(" * 3000,
        f'external_id="{"x" * LETTERS_MAX}"',
    ):
        with pytest.raises(FilterInvalid):
            read_filter(text)
    assert read_filter("(" * DEPTH_MAX + "score>0" + ")" * DEPTH_MAX).tree is not None


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("name", "no order by 'name'"),
        ("score down", "no direction"),
        ("score desc; DROP TABLE", "no direction"),
        ("score, score desc", "repeats itself"),
        ("score,", "no order by ''"),
        ("x" * 300, "too long"),
    ],
)
def test_orders_are_of_an_allow_list(text: str, seen: str) -> None:
    with pytest.raises(FilterInvalid, match=seen):
        read_order(text)


def test_an_order_has_one_text() -> None:
    assert read_order(" score  DESC".lower()).text == "score desc"
    assert read_order("score asc, create_time desc").text == "score, create_time desc"
    assert read_order(None).text == "create_time desc"


def test_a_refusal_travels_between_processes() -> None:
    with pytest.raises(FilterInvalid) as refused:
        read_filter("score >")
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_aliases_lead_to_fields() -> None:
    assert set(ALIASES.values()) <= set(FIELDS)
