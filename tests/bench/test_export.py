"""The comparison of exported graphs."""

import pytest

from bench.export import FACES_PER_TURN, figures_of
from bench.report import Figure

WAYS = {"torch, channels first": 8.0, "torch": 6.0, "plain export": 3.0, "restructured": 2.0, "triage": 1.5}


@pytest.mark.parametrize("network", FACES_PER_TURN)
def test_each_network_is_compared_with_its_own_plain_export(network: str) -> None:
    # The other network is a hundred times slower, so that a ratio over it would show.
    measured = {
        name: Figure(name, "ms", (ms if each == network else 100 * ms,))
        for each in FACES_PER_TURN
        for way, ms in WAYS.items()
        for name in (f"{each}, {way}",)
    }
    seen = {figure.name: figure.values for figure in figures_of(measured, 2)}
    assert seen[f"{network}: restructured over plain export, 2 threads"] == (1.5,)
    assert seen[f"{network}: triage over plain export, 2 threads"] == (2.0,)
