"""The kinds of failure: the video's fault, the machine's, a broken model bundle, a list that does not hold.

Anything else that is raised is a fault of this program and fails loudly.
"""

from engine.results import RejectReason


class EngineError(Exception):
    """A failure with a reason from the closed list, what was seen, and what the reader can do."""

    def __init__(self, reason: RejectReason, seen: str, hint: str) -> None:
        super().__init__(f"{reason}: {seen} (hint: {hint})")
        self.reason = reason
        self.seen = seen
        self.hint = hint

    def __reduce__(self) -> tuple[type["EngineError"], tuple[RejectReason, str, str]]:
        # The default of Exception would call __init__ with the formatted message after unpickling.
        return (type(self), (self.reason, self.seen, self.hint))


class MediaRejected(EngineError):
    """The input itself cannot be scored. Final: trying again gives the same answer."""


class Unavailable(EngineError):
    """The machine cannot do it now: no memory, no sandbox, no engine. May be tried again elsewhere."""


class BackendMissing(Unavailable):
    """The inference engine that was asked for is not installed or cannot run here."""


class BackendFailed(Unavailable):
    """The inference engine stopped while it worked."""


class BundleInvalid(EngineError):
    """A model bundle or checkpoint is incomplete, altered, or not of the expected network."""


class DataInvalid(EngineError):
    """A folder of faces or a list of labelled files that a command was given cannot be used."""
