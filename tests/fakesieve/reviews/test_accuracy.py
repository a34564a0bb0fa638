"""How well reviewers decide: shares of sure words with Wilson's interval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakesieve.reviews.accuracy import SURE_MIN, Accuracy, find_interval


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(20, 20, 0.8389, 1.0), (0, 20, 0.0, 0.1611), (45, 50, 0.7864, 0.9565), (81, 263, 0.2553, 0.3662)],
)
def test_the_interval_is_that_of_the_textbook(right: int, count: int, low: float, high: float) -> None:
    # The last one is Newcombe's example (Statistics in Medicine 17, 1998), method 3.
    assert find_interval(right, count) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_the_share_lies_in_its_interval_which_lies_between_0_and_1(pair: tuple[int, int]) -> None:
    low, high = find_interval(*pair)
    assert 0 <= low <= pair[0] / pair[1] <= high <= 1


def test_few_sure_words_give_no_share() -> None:
    few = Accuracy(SURE_MIN - 1, 0, 30, 30, 30)
    assert (few.decided, few.share, few.interval) == (SURE_MIN + 59, None, None)
    enough = Accuracy(SURE_MIN - 2, 2, 0, 0, 0)
    assert enough.share == pytest.approx(0.9)
    assert enough.interval == find_interval(SURE_MIN - 2, SURE_MIN)


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        Accuracy(-1, 0, 0, 0, 0)
