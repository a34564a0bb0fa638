"""What became of a job, line by line: what its records know, in order of time."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fakesieve.jobs.states import JobState, WorkKind
from fakesieve.reasons import Reason
from fakesieve.values.jobs import AttemptEnd


class LogEvent(StrEnum):
    """What a line tells. Of two at one moment the one that stands first here came first."""

    JOB_SUBMITTED = "job.submitted"
    RETRY_ASKED = "job.retry_asked"  # by somebody, over the API or the console
    DOORBELL_WAITS = "doorbell.waits"  # in the outbox, for a relay to publish it
    DOORBELL_RUNG = "doorbell.rung"  # published; of several times the last
    JOB_STARTED = "job.started"
    ATTEMPT_DONE = "attempt.done"
    ATTEMPT_FAILED = "attempt.failed"
    ATTEMPT_RELEASED = "attempt.released"  # given back cleanly
    ATTEMPT_LOST = "attempt.lost"  # the lease ran out
    ATTEMPT_BEGAN = "attempt.began"  # behind the ends: whoever takes a lease over ends the one before
    SHARD_FAILED = "shard.failed"  # it is tried no more
    RETRY_DUE = "shard.retry_due"  # from then on it is tried again
    CANCEL_ASKED = "job.cancel_asked"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    JOB_EXPIRED = "job.expired"
    EVENT_WAITS = "event.waits"  # the end of the job, in the outbox, for those who want to be told


ATTEMPT_ENDS = {end: LogEvent(f"attempt.{end}") for end in AttemptEnd}
JOB_ENDS = {state: LogEvent(f"job.{state}") for state in JobState if state.is_terminal}
_ORDER = {event: place for place, event in enumerate(LogEvent)}


@dataclass(frozen=True)
class LogLine:
    """One line. ``shard`` is the piece of work, None for the job as a whole, and ``number`` the try at it.

    ``owner`` is the host that tried; None where hosts are not told, as over the API.
    """

    time: datetime
    event: LogEvent
    shard: int | None = None
    kind: WorkKind | None = None
    number: int | None = None
    owner: str | None = None
    reason: Reason | None = None
    message: str | None = None

    def __post_init__(self) -> None:
        if self.shard is None and (self.number is not None or self.owner is not None):
            raise ValueError("what is tried is a piece of work")


def order_lines(lines: list[LogLine]) -> list[LogLine]:
    """Return lines in the order in which things happened."""
    return sorted(lines, key=lambda line: (line.time, _ORDER[line.event], line.shard or 0))
