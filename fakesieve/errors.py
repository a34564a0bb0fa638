"""Failures of the fleet, each with a reason, what was seen and what to do. The engine's are beside it."""

from fakesieve.reasons import Reason


class FleetError(Exception):
    """A failure with a reason from the closed list. Without a hint it carries the reason's own."""

    def __init__(self, reason: Reason, seen: str, hint: str | None = None) -> None:
        self.reason = reason
        self.seen = seen
        self.hint = reason.hint if hint is None else hint
        super().__init__(f"{reason}: {seen} (hint: {self.hint})")

    def __reduce__(self) -> tuple[type["FleetError"], tuple[object, ...]]:
        # The default of Exception would call __init__ with the formatted message after unpickling.
        return (type(self), (self.reason, self.seen, self.hint))


class Unavailable(FleetError):
    """A service or this machine cannot do it now. May be tried again."""


class TransactionConflict(Unavailable):
    """Two transactions stood in each other's way and this one was undone. It may run again at once."""


class SourceRefused(FleetError):
    """The input or the place where it lies rules the work out. Final: trying again gives the same answer."""


class RequestRefused(FleetError):
    """The caller asked for what cannot be: an unknown id, a bad manifest, a key used twice. Final."""


class NothingMatched(RequestRefused):
    """What was asked for is right and finds nothing: a prefix, a filter, a queue."""


class SetupRefused(FleetError):
    """This installation must be corrected before a process may start."""
