"""Filters of one shape share a statement, and each keeps its own values."""

from datetime import UTC, datetime

from hypothesis import given

from fakesieve.filters.check import FieldTest, read_filter
from fakesieve.filters.shape import count_tests, split_values
from tests.filters import filter_texts


def test_values_are_taken_out_in_their_order() -> None:
    first, values = split_values(read_filter('score>0.5 AND (score>0.9 OR NOT create_time<"2026-01-31")'))
    second, others = split_values(read_filter('score>0.1 AND (score>0.2 OR NOT create_time<"2025-12-24")'))
    assert first == second
    assert values == (0.5, 0.9, datetime(2026, 1, 31, tzinfo=UTC))
    assert others == (0.1, 0.2, datetime(2025, 12, 24, tzinfo=UTC))


def test_what_is_written_otherwise_is_another_shape() -> None:
    texts = (
        'external_id="a"',
        'external_id="a*"',
        'external_id!="a"',
        "external_id=null",
        "external_id:*",
        'sha256="a"',
        'tags.x="a"',
        'tags.y="a"',
        "verdict=likely_manipulated",
        "verdict=inconclusive",
        "",
    )
    assert len({split_values(read_filter(text))[0] for text in texts}) == len(texts)


@given(filter_texts())
def test_a_shape_has_no_value_of_the_caller(wanted: str) -> None:
    shape, values = split_values(read_filter(wanted))
    again, none = split_values(shape)
    assert again == shape
    assert len(none) == len(values)
    assert set(none) <= {"", 0.0, datetime(1970, 1, 1, tzinfo=UTC)}


def test_a_test_without_a_value_has_no_place() -> None:
    shape, values = split_values(read_filter("verdict=null"))
    assert values == ()
    assert isinstance(shape.tree, FieldTest)
    assert shape.tree.place is None


def test_comparisons_are_counted_wherever_they_stand() -> None:
    wanted = 'score>0.5 AND (verdict=null OR NOT tags.x="a") AND tracks:(score>0.9 AND start_us>0)'
    assert count_tests(read_filter(wanted)) == 5
    assert count_tests(read_filter("")) == 0
