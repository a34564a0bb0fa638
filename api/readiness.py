"""Whether the database answers, asked at most once a second however many ask: probes need no key."""

import time
from collections.abc import Callable
from threading import Lock

from fakesieve.database import Database
from fakesieve.errors import Unavailable

FRESH_S = 1.0


class Readiness:
    """What was seen last. One caller at a time looks; the others get what is known."""

    def __init__(self, look: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._look, self._clock, self._lock = look, clock, Lock()
        self._seen_s: float | None = None
        self._fault: Unavailable | None = None

    def check(self) -> None:
        """Return where the database answers. Raises Unavailable where it does not."""
        is_first = self._seen_s is None
        if self._is_old() and self._lock.acquire(blocking=is_first):
            try:
                if self._is_old():
                    self._look_again()
            finally:
                self._lock.release()
        if self._fault is not None:
            raise Unavailable(self._fault.reason, self._fault.seen, self._fault.hint)

    def _is_old(self) -> bool:
        return self._seen_s is None or self._clock() - self._seen_s >= FRESH_S

    def _look_again(self) -> None:
        try:
            self._look()
        except Unavailable as fault:
            self._fault = fault
        else:
            self._fault = None
        self._seen_s = self._clock()


def watch_database(database: Database) -> Readiness:
    """Return the readiness of a database."""

    def look() -> None:
        with database.transaction(tenant_id=None):
            pass

    return Readiness(look)
