"""Bounds, and how sizes and times are told in refusals."""

import pytest

from engine.limits import Limits, format_seconds, format_size


@pytest.mark.parametrize(("size", "said"), [(11, "11 bytes"), (1_632_292, "1.6 MB"), (5 * 10**12, "5.0 TB")])
def test_sizes_get_a_fitting_unit(size: int, said: str) -> None:
    assert format_size(size) == said


@pytest.mark.parametrize(
    ("time_us", "said"), [(1_000_000, "1 s"), (14_400_040_000, "14400.04 s"), (1, "1e-06 s")]
)
def test_seconds_keep_every_digit(time_us: int, said: str) -> None:
    assert format_seconds(time_us) == said


def test_no_bound_is_zero() -> None:
    with pytest.raises(ValueError, match="frames must be positive"):
        Limits(frames=0)
