"""When a delivery is tried again: ten tries over three days, not all at the same moments."""

import random
from collections.abc import Callable

DELAYS_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""After each try but the last: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h; 75 h in all."""
TRIES = len(DELAYS_S) + 1
JITTER = 0.1
RETRY_AFTER_S_MAX = 86_400.0
FAILING_S = 3 * 86_400.0
"""An endpoint that nothing has reached for so long is switched off."""


def choose_delay(
    tries_done: int,
    retry_after_s: float | None = None,
    spread: Callable[[float, float], float] = random.uniform,
) -> float:
    """Return the seconds until the next try, after so many of a round; ``tries_done`` is 1 to 9.

    A receiver that asks for more time gets it, up to a day.
    """
    planned = DELAYS_S[min(tries_done, len(DELAYS_S)) - 1]
    asked = min(max(retry_after_s or 0.0, 0.0), RETRY_AFTER_S_MAX)
    return max(planned * spread(1 - JITTER, 1 + JITTER), asked)
