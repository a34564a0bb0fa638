"""Counts of a load test: quantiles are values that were seen or none, and counts add up."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from api.load.tally import Count, NoAnswer, Unsent, Waits, add_counts, find_quantile
from fakesieve.reasons import Reason

TIMES_MS = st.lists(st.floats(0, 1e6), max_size=50)
COUNTS = st.builds(
    lambda waits, refused, failed, unsent, open_: Count(
        sent=len(waits) + refused + sum(failed.values()) + open_,
        refused=refused,
        failed=Counter(failed),
        unsent=Counter(unsent),
        waits_ms=Count().waits_ms.__class__("d", waits),
        late_ms=Count().late_ms.__class__("d", [0.0] * len(waits)),
    ),
    TIMES_MS,
    st.integers(0, 9),
    st.dictionaries(st.sampled_from([*NoAnswer, Reason.INTERNAL]), st.integers(1, 9)),
    st.dictionaries(st.sampled_from(Unsent), st.integers(1, 9)),
    st.integers(0, 9),
)


@given(TIMES_MS, st.integers(1, 100))
def test_a_quantile_is_the_least_value_that_is_enough(times: list[float], percent: int) -> None:
    found = find_quantile(sorted(times), percent)
    if not times:
        assert found is None
        return
    assert found in times
    assert 100 * sum(each <= found for each in times) >= percent * len(times)
    assert 100 * sum(each < found for each in times) < percent * len(times)


def test_quantiles_of_a_hundred_times() -> None:
    assert Waits.measure(map(float, range(100, 0, -1))) == Waits(50.0, 90.0, 99.0, 100.0)
    assert Waits.measure([7.5]) == Waits(7.5, 7.5, 7.5, 7.5)
    assert Waits.measure([]) == Waits(None, None, None, None)


def test_requests_that_were_given_up_are_the_slowest() -> None:
    """98 answers in a millisecond each and two time-outs: one in fifty has waited for long."""
    times = [1.0] * 98
    assert Waits.measure(times, given_up=2) == Waits(1.0, 1.0, None, None)
    assert Waits.measure([1.0] * 99, given_up=1) == Waits(1.0, 1.0, 1.0, None)
    assert Waits.measure([], given_up=1) == Waits(None, None, None, None)


@given(st.lists(COUNTS, max_size=5))
def test_the_sum_of_counts_has_all_that_they_have(counts: list[Count]) -> None:
    whole = add_counts(counts)
    assert whole.sent == whole.answered + whole.refused + whole.failed.total() + whole.open
    for name in ("sent", "answered", "refused", "open"):
        assert getattr(whole, name) == sum(getattr(each, name) for each in counts)
    for name in ("failed", "unsent"):
        assert getattr(whole, name).total() == sum(getattr(each, name).total() for each in counts)
    assert sorted(whole.waits_ms) == sorted(wait for each in counts for wait in each.waits_ms)
    assert len(whole.late_ms) == sum(len(each.late_ms) for each in counts)
