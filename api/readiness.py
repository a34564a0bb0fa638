"""Whether the database answers and fits, asked at most once a second however many ask: probes need no key."""

import time
from collections.abc import Callable
from functools import partial
from threading import Lock

from fakesieve.database import Database
from fakesieve.errors import FleetError, Unavailable
from fakesieve.reasons import Reason
from fakesieve.records.revision import check_revision

FRESH_S = 1.0
PATIENCE_S = 3.0
"""A look that takes longer than this has found a database that hangs."""


class Readiness:
    """What was seen last. One caller at a time looks; the others get what is known."""

    def __init__(self, look: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._look, self._clock, self._lock = look, clock, Lock()
        self._seen_s: float | None = None
        self._begun_s: float | None = None
        self._fault: FleetError | None = None

    def check(self) -> None:
        """Return where the look found no fault; raise what it raised, and Unavailable if it is too slow."""
        is_first = self._seen_s is None
        if self._is_old() and self._lock.acquire(timeout=PATIENCE_S if is_first else 0.0):
            try:
                if self._is_old():
                    self._look_again()
            finally:
                self._lock.release()
        begun_s = self._begun_s
        waited_s = 0.0 if begun_s is None else self._clock() - begun_s
        if self._seen_s is None or waited_s > PATIENCE_S:
            seen = f"the database has not answered for {waited_s:.0f} s"
            raise Unavailable(Reason.DATABASE_UNAVAILABLE, seen)
        if self._fault is not None:
            raise type(self._fault)(self._fault.reason, self._fault.seen, self._fault.hint)

    def _is_old(self) -> bool:
        return self._seen_s is None or self._clock() - self._seen_s >= FRESH_S

    def _look_again(self) -> None:
        self._begun_s = self._clock()
        try:
            self._look()
        except FleetError as fault:
            self._fault = fault
        else:
            self._fault = None
        self._seen_s, self._begun_s = self._clock(), None


def watch_database(database: Database) -> Readiness:
    """Return the readiness of a database."""

    def look() -> None:
        with database.transaction(tenant_id=None):
            pass

    return Readiness(look)


def watch_revision(database: Database) -> Readiness:
    """Return whether a database has the migrations that this release needs."""
    return Readiness(partial(check_revision, database))
