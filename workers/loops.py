"""The life of a process that does the same thing over and over: do, pause, stop when told."""

import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import FrameType

from fakesieve.errors import Unavailable
from fakesieve.logging import get_logger

_log = get_logger(__name__)


@dataclass(frozen=True)
class LoopRules:
    """How long to pause between two turns, in seconds."""

    idle_s: float  # after a turn that found nothing to do
    longest_s: float = 10.0  # after failures, which double the pause; a service that comes back is seen soon


def run_loop(name: str, turn: Callable[[], bool], rules: LoopRules, stop: threading.Event) -> None:
    """Take turns until told to stop. A turn says whether it found work, and then the next follows at once.

    A service that does not answer is waited for; every other error ends the loop, for a supervisor to see.
    """
    failures = 0
    while not stop.is_set():
        try:
            pause_s = 0.0 if turn() else rules.idle_s
        except Unavailable as fault:
            failures += 1
            pause_s = min(rules.longest_s, rules.idle_s * 2 ** min(failures, 16))
            _log.warning(f"{name}.unavailable", reason=fault.reason, seen=fault.seen, pause_s=pause_s)
        else:
            if failures:
                _log.info(f"{name}.available", failures=failures)
            failures = 0
        stop.wait(pause_s)


def run_together(loops: Sequence[Callable[[], None]], stop: threading.Event) -> None:
    """Run loops side by side, none of which waits for another, until all have ended.

    One that ends with an error sets ``stop`` for all, and its error is raised once they have ended.
    """

    def run(loop: Callable[[], None]) -> None:
        try:
            loop()
        finally:
            stop.set()

    with ThreadPoolExecutor(len(loops)) as pool:
        running = [pool.submit(run, loop) for loop in loops]
    for each in running:
        each.result()


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set. Call it from the main thread."""
    stop = threading.Event()

    def tell(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, tell)
    return stop
