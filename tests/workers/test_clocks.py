"""Clocks of other machines: blamed for what they are off, and never for the time that an answer took."""

from collections.abc import Callable

import pytest

from engine.cli.doctor import Check, Status
from workers.clocks import TRIES, ClockReading, check_clock, judge_clock


def answer_after(*took_s: float, ahead_s: float = 0.0) -> Callable[[], ClockReading]:
    """A clock that is ahead by so much, whose answers take so long, one after the other, in seconds."""
    times = iter(took_s)

    def read() -> ClockReading:
        after = 1000.0 + next(times)
        return ClockReading(after + ahead_s, 1000.0, after)

    return read


@pytest.mark.parametrize(
    ("ahead_s", "status", "seen"),
    [
        (0.2, Status.OK, "0.2 s ahead of"),
        (-30.0, Status.WARN, "30.0 s behind"),
        (901.0, Status.FAIL, "901.0 s ahead of"),
    ],
)
def test_a_clock_is_judged_by_how_far_it_is_off(ahead_s: float, status: Status, seen: str) -> None:
    check = judge_clock("clock", ClockReading(100.0 + ahead_s, 100.0, 100.0))
    assert check.status is status
    assert check.seen.startswith(seen)


@pytest.mark.parametrize(
    ("theirs", "cut_s", "ahead_s"),
    [(100.0, 0, 0.0), (112.0, 0, 0.0), (113.5, 0, 1.5), (70.0, 0, -30.0), (99.0, 1, 0.0), (70.0, 1, -29.0)],
)
def test_a_clock_is_not_blamed_for_the_time_that_an_answer_took(
    theirs: float, cut_s: float, ahead_s: float
) -> None:
    assert ClockReading(theirs, 100.0, 112.0, cut_s).least_ahead_s == ahead_s


def test_a_slow_answer_that_may_hide_a_wrong_clock_says_so() -> None:
    check = judge_clock("clock", ClockReading(1100.0, 1000.0, 1130.0))
    assert check.status is Status.WARN
    assert check.seen == "not known, the answer took 130.0 s"


def test_a_slow_answer_that_shows_a_wrong_clock_all_the_same_is_told() -> None:
    check = judge_clock("clock", ClockReading(1730.0, 1000.0, 1030.0))
    assert (check.status, check.seen) == (Status.FAIL, "700.0 s ahead of that of this machine")


def test_of_slow_answers_the_soonest_is_believed() -> None:
    check = check_clock("clock", answer_after(30.0, 2.0, 9.0, ahead_s=-20.0))
    assert check == judge_clock("clock", ClockReading(982.0, 1000.0, 1002.0))
    assert check.seen.startswith("18.0 s behind")


def test_a_prompt_answer_is_not_asked_for_again() -> None:
    assert check_clock("clock", answer_after(30.0, 0.1)) == Check(
        "clock", Status.OK, "0.0 s ahead of that of this machine"
    )


def test_a_clock_that_is_never_told_promptly_is_asked_three_times() -> None:
    check = check_clock("clock", answer_after(*(20.0 + step for step in range(TRIES))))
    assert check is not None
    assert (check.status, check.seen) == (Status.WARN, "not known, the answer took 20.0 s")


def test_nothing_is_said_of_a_clock_that_is_not_told() -> None:
    assert check_clock("clock", lambda: None) is None
