"""Ids name their noun, sort by time and are never the same twice."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakesieve.ids import IdPrefix, _decode, _encode, _make_uuid7, new_id, new_id_at, parse_id, read_time_ms

NANOSECONDS = st.integers(0, (1 << 48) * 1_000_000 - 1)


@pytest.mark.parametrize("prefix", IdPrefix)
def test_an_id_says_what_it_names(prefix: IdPrefix) -> None:
    made = new_id(prefix)
    assert made.startswith(f"{prefix}_")
    assert len(made) == 30
    assert parse_id(made, prefix).version == 7


def test_ids_are_all_different() -> None:
    assert len({new_id(IdPrefix.JOB) for _ in range(10_000)}) == 10_000


def test_an_id_holds_the_time_it_was_made() -> None:
    before_ms = time.time_ns() // 1_000_000
    made_ms = parse_id(new_id(IdPrefix.JOB), IdPrefix.JOB).int >> 80
    assert before_ms <= made_ms <= time.time_ns() // 1_000_000


@given(NANOSECONDS, st.integers(1, 10**12))
def test_later_ids_sort_after_earlier_ones(time_ns: int, later_ns: int) -> None:
    step = max(later_ns, 250)  # 12 bits tell a millisecond apart into steps of 244 ns
    last = (1 << 48) * 1_000_000 - 1
    first, second = _make_uuid7(min(time_ns, last - step)), _make_uuid7(min(time_ns + step, last))
    assert _encode(first.int) < _encode(second.int)


@given(NANOSECONDS)
def test_the_uuid_is_of_version_7_and_of_the_standard_variant(time_ns: int) -> None:
    made = _make_uuid7(time_ns)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == time_ns // 1_000_000


@given(st.integers(0, (1 << 128) - 1), st.integers(0, (1 << 128) - 1))
def test_text_and_number_are_the_same_and_sort_the_same(one: int, other: int) -> None:
    assert _decode(_encode(one)) == one
    assert (_encode(one) < _encode(other)) == (one < other)


@given(st.text(max_size=40))
def test_text_that_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an id of the form job_"):
        parse_id(text, IdPrefix.JOB)


@pytest.mark.parametrize(
    "text",
    [
        new_id(IdPrefix.VIDEO),
        new_id(IdPrefix.JOB).upper(),
        new_id(IdPrefix.JOB)[:-1],
        new_id(IdPrefix.JOB) + "0",
        "job_" + "z" * 26,  # more than 128 bits
        "job_" + "0" * 25 + "u",
    ],
    # Ids are new each time, and two processes that share the tests must give them the same names.
    ids=["another_kind", "upper_case", "too_short", "too_long", "too_large", "no_digit"],
)
def test_what_looks_nearly_like_an_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an id"):
        parse_id(text, IdPrefix.JOB)


def test_an_id_at_a_time_tells_its_millisecond_and_no_more_of_another_one() -> None:
    made = new_id(IdPrefix.REVIEW)
    time_ms = read_time_ms(made, IdPrefix.REVIEW)
    beside = {new_id_at(IdPrefix.REVIEW, time_ms) for _ in range(20)}
    assert {read_time_ms(each, IdPrefix.REVIEW) for each in beside} == {time_ms}
    assert {parse_id(each, IdPrefix.REVIEW).version for each in beside} == {7}
    # The 12 bits of the fraction are drawn: two ids of one millisecond hardly ever share them.
    assert len({parse_id(each, IdPrefix.REVIEW).int >> 62 for each in {made, *beside}}) > 15
    with pytest.raises(ValueError, match="not an id"):
        read_time_ms(made, IdPrefix.QUEUE)
