"""Whether the clock of another machine is near enough to ours, told by a question whose answer takes time."""

from collections.abc import Callable
from dataclasses import dataclass

from engine.cli.doctor import Check, Status

# Signatures of S3 are refused from 15 minutes on; a difference of seconds already spoils logs and timelines.
_WARN_S, _FAIL_S = 5.0, 600.0
TRIES = 3
_PROMPT_S = 0.5  # an answer within it tells enough


@dataclass(frozen=True)
class ClockReading:
    """What another clock showed, ``theirs``, between two looks at ours; all in seconds since the epoch.

    It may have shown up to ``cut_s`` seconds more, where it is told in whole ones.
    """

    theirs: float
    before: float
    after: float
    cut_s: float = 0.0

    @property
    def took_s(self) -> float:
        """How long the answer took."""
        return self.after - self.before

    @property
    def doubt_s(self) -> float:
        """How far apart the differences of the clocks lie that this answer leaves open."""
        return self.took_s + self.cut_s

    @property
    def least_ahead_s(self) -> float:
        """By how many seconds at least it is ahead of ours; nothing where it showed a time between the looks.

        Less than nothing is behind.
        """
        return max(0.0, self.theirs - self.after) + min(0.0, self.theirs + self.cut_s - self.before)


def check_clock(name: str, read: Callable[[], ClockReading | None]) -> Check | None:
    """Ask up to three times and judge by the answer that came soonest; None where none tells the time."""
    best: ClockReading | None = None
    for _ in range(TRIES):
        if (found := read()) is None:
            break
        if best is None or found.took_s < best.took_s:
            best = found
        if best.took_s <= _PROMPT_S:
            break
    return None if best is None else judge_clock(name, best)


def judge_clock(name: str, reading: ClockReading) -> Check:
    """Say whether another clock is near enough to ours, or that the answer took too long to say."""
    ahead_s = reading.least_ahead_s
    if abs(ahead_s) < _WARN_S < reading.doubt_s:
        seen = f"not known, the answer took {reading.took_s:.1f} s"
        return Check(name, Status.WARN, seen, "look again when both machines are less busy")
    seen = f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s >= 0 else 'behind'} that of this machine"
    if abs(ahead_s) < _WARN_S:
        return Check(name, Status.OK, seen)
    status = Status.WARN if abs(ahead_s) < _FAIL_S else Status.FAIL
    return Check(name, status, seen, "have both machines set their clocks by NTP")
