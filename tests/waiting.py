"""How tests wait for other threads and processes: for a state, and long enough for a busy machine."""

import time
from collections.abc import Callable

PATIENCE_S = 300.0
"""Seconds after which what must come is given up. No test that passes takes longer for it."""


def wait_until(
    is_so: Callable[[], object], explain: Callable[[], object] = lambda: "", every_s: float = 0.02
) -> None:
    """Return when the condition holds; fail with the explanation when it has not for long."""
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, f"it did not come to be: {explain()}"
        time.sleep(every_s)
