"""How long a batch will still take, from the pace so far."""

import pytest

from fakesieve.cli.watch import forecast


@pytest.mark.parametrize(
    ("ended", "left", "elapsed_s", "said"),
    [
        (2, 100, 10.0, ""),  # two may be the two short ones
        (10, 0, 10.0, ""),
        (10, 20, 10.0, ", about 20 s to go"),
        (10, 100, 30.0, ", about 5 min to go"),
        (10, 10_000, 20.0, ", about 5.6 h to go"),
    ],
)
def test_the_rest_is_forecast_from_the_jobs_that_ended_meanwhile(
    ended: int, left: int, elapsed_s: float, said: str
) -> None:
    assert forecast(ended, left, elapsed_s) == said
