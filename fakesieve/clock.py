"""What time it is, as a value that tests can step."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two readings: a date to write down, and seconds to measure spans with.

    Leases and deadlines of jobs do not use it: they stand on the database's clock, which all hosts share.
    """

    def now(self) -> datetime:
        """Return the time of day, with its zone, in UTC."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds from an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()
