"""How long `fakesieve up` lets a process end before it uses force."""

import pytest

from fakesieve.embedded.fleet import choose_stop_s
from fakesieve.settings import GIVE_BACK_S, Settings

DEFAULT_S = float(Settings.model_fields["drain_s"].default)


@pytest.mark.parametrize(
    ("told", "drain_s"),
    [("", DEFAULT_S), ("25", 25.0), ("600", 600.0), ("0.2", 0.2), ("soon", DEFAULT_S), ("nan", DEFAULT_S)],
)
def test_a_worker_has_the_time_to_drain_and_to_give_back(told: str, drain_s: float) -> None:
    assert drain_s + GIVE_BACK_S + 10.0 <= choose_stop_s(told) <= drain_s + GIVE_BACK_S + 60.0
