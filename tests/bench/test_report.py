"""Figures, ratios and goals of the benchmark."""

import pytest

from bench.comparison import CONTENDERS, SCREENED_SETS
from bench.report import Figure, Goal, format_table, ratio, read_goals


def test_median_and_spread_of_the_rounds() -> None:
    figure = Figure("speed", "1/s", (4.0, 1.0, 2.0))
    assert figure.median == 2.0
    assert figure.spread() == "2 (1 to 4)"


def test_a_figure_without_a_round_is_refused() -> None:
    with pytest.raises(ValueError, match="speed"):
        Figure("speed", "1/s", ())


def test_ratios_are_taken_within_a_round() -> None:
    # The machine was twice as slow in the second round, for both.
    assert ratio("r", Figure("a", "", (6.0, 3.0)), Figure("b", "", (2.0, 1.0))).values == (3.0, 3.0)


def test_ratio_of_unequal_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio("r", Figure("a", "", (6.0, 3.0)), Figure("b", "", (2.0,)))


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (Goal("f", at_least=3), 3.0, ">= 3: reached"),
        (Goal("f", at_least=3), 2.9, ">= 3: missed"),
        (Goal("f", at_most=30), 30.0, "<= 30: reached"),
        (Goal("f", at_most=30), 31.0, "<= 30: missed"),
    ],
)
def test_a_missed_goal_says_so(goal: Goal, value: float, verdict: str) -> None:
    figure = Figure("f", "", (value,))
    assert goal.verdict(figure) == verdict
    assert verdict in format_table([figure], {"f": goal})


def test_goals_speak_of_contenders_and_sets_that_exist() -> None:
    speeds = [name for name in read_goals() if ": speed of " in name]
    for name in speeds:
        clip_set, _, pair = name.partition(": speed of ")
        assert clip_set in SCREENED_SETS
        assert set(pair.split(" over ")) <= set(CONTENDERS)
    assert len(speeds) == 3


def test_goals_that_hold_for_32_samples_are_asked_of_the_default_sampling_too() -> None:
    goals = read_goals()
    for few, usual in (
        ("B: speed of fakesieve-32 over N1", "B: speed of fakesieve over N1"),
        (
            "D: core-seconds of reading through over ours, 32 samples",
            "D: core-seconds of reading through over ours, default sampling",
        ),
    ):
        assert goals[usual].at_least == goals[few].at_least
