"""Keeps programs running: what ends is started again, later each time, until it holds.

One thread: ``watch`` looks at all programs in turn, and whoever calls it decides when to stop.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from fakesieve.embedded.log_files import rotate_log
from fakesieve.embedded.program import POLL_S, EndedAtStart, Program, Running
from fakesieve.errors import Unavailable

FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 30.0
EXIT_REFUSED = 78  # EX_CONFIG of sysexits.h: it will not run before somebody corrects something
_ENDS_MAX = 16
ROTATE_S = 10.0
STEADY_S = 60.0  # one that ran so long has started well; its next end counts as the first


def choose_pause(ends: int) -> float:
    """Return how many seconds to wait before a start, after so many ends in a row (1 or more)."""
    return min(LAST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (min(ends, _ENDS_MAX) - 1))


@dataclass
class _Kept:
    """One program, its running process if there is one, and when it is started next."""

    program: Program
    running: Running | None
    started_at: float
    ends: int = 0
    start_at: float = 0.0


class Supervisor:
    """Programs in the order in which they were started; they are stopped in the opposite one.

    Args:
        tell: gets a line for a person about everything that ends or is started again.
        publish: gets the process ids by role after each change.
        hold: keeps signals from coming between the start of a program and the note of it.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        publish: Callable[[Mapping[str, int]], None],
        *,
        hold: Callable[[], AbstractContextManager[None]] = nullcontext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._publish = publish
        self._hold = hold
        self._clock = clock
        self._kept: list[_Kept] = []
        self._rotate_at = 0.0

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by role, without those that wait for their next start."""
        return {each.program.role: each.running.pid for each in self._kept if each.running is not None}

    def start(self, program: Program) -> None:
        """Start a program and return when it is ready; raises Unavailable if it does not get there.

        One that runs all the same is stopped with the others. One that ended is forgotten: EndedAtStart.
        """
        with self._hold():
            started_at = self._clock()
            running = Running(program)
            kept = _Kept(program, running, started_at)
            self._kept.append(kept)
        self._publish(self.pids)
        try:
            running.wait_ready()
        except EndedAtStart:
            running.clean_up()
            self._kept.remove(kept)
            self._publish(self.pids)
            raise

    def watch(self) -> None:
        """Look at each program once: note which ended, start again those that are due, move logs on."""
        if self._clock() >= self._rotate_at:
            self._rotate_at = self._clock() + ROTATE_S
            self._rotate_logs()
        for each in self._kept:
            if each.running is not None and each.running.poll() is not None:
                self._note_end(each, each.running)
            if each.running is None and self._clock() >= each.start_at:
                self._start_again(each)

    def _rotate_logs(self) -> None:
        for each in self._kept:
            try:
                rotate_log(each.program.log)
            except OSError as fault:  # a full disk must not end the fleet
                self._tell(f"{each.program.log} cannot be moved on: {fault.strerror or fault}")

    def _note_end(self, each: _Kept, ended: Running) -> None:
        ended.clean_up()
        now = self._clock()
        each.ends = 1 if now - each.started_at >= STEADY_S else each.ends + 1
        if ended.poll() == EXIT_REFUSED:
            each.ends = _ENDS_MAX
        self._put_off(each, f"ended with {ended.poll()}")

    def _start_again(self, each: _Kept) -> None:
        try:
            with self._hold():
                each.started_at = self._clock()
                each.running = Running(each.program)
        except Unavailable as fault:
            each.ends += 1
            self._put_off(each, fault.seen)
            return
        self._publish(self.pids)

    def _put_off(self, each: _Kept, seen: str) -> None:
        pause = choose_pause(each.ends)
        each.running, each.start_at = None, self._clock() + pause
        self._publish(self.pids)
        self._tell(f"{each.program.role} {seen}; started again in {pause:g} s; see {each.program.log}")

    def stop(self, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """End all programs, the last started first, each within its time or at once when hurried."""
        while self._kept:
            each = self._kept.pop()
            if each.running is not None:
                _stop(each.running, each.program.stop_s, is_hurried)
            self._publish(self.pids)


def _stop(running: Running, patience_s: float, is_hurried: Callable[[], bool]) -> None:
    """Ask one program to end, wait for it, and use force when its time or the caller's patience is over."""
    running.ask_to_stop()
    deadline = time.monotonic() + patience_s
    while running.poll() is None and time.monotonic() < deadline and not is_hurried():
        time.sleep(POLL_S)
    running.kill()
