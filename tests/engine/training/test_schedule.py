"""The learning rate rises, stays and falls to zero."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.training.schedule import Schedule

SCHEDULE = Schedule(peak=1e-3, warmup=10, total=100, cooldown=20)


def test_rate_at_the_corners() -> None:
    assert SCHEDULE.rate(0) == pytest.approx(1e-4)
    assert SCHEDULE.rate(10) == SCHEDULE.rate(80) == 1e-3
    assert SCHEDULE.rate(85) == pytest.approx(0.5e-3)
    assert SCHEDULE.rate(100) == 0.0


@given(st.integers(0, 200))
def test_rate_never_leaves_its_bounds(step: int) -> None:
    assert 0.0 <= SCHEDULE.rate(step) <= SCHEDULE.peak


def test_a_longer_cooldown_than_run_is_refused() -> None:
    with pytest.raises(ValueError, match="impossible"):
        Schedule(peak=1e-3, warmup=0, total=10, cooldown=11)
