"""What the three servers have in common: prepare, start, wait until ready, stop."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from fakesieve.embedded.ports import HOST, has_lost_port
from fakesieve.embedded.program import EndedAtStart, Program, Running

# Of a start whose port was free when it was chosen and taken when the server came to listen there: rare even
# where several fleets start on one machine at the same time.
_TRIES = 3


class Server(ABC):
    """A server with a folder of its own, as a context manager; the folder keeps its data when it stops.

    Starting raises Unavailable where the wheel is missing or the server does not get ready.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.port = 0
        self._ports_file = self.folder / "ports.json"
        self._running: Running | None = None

    name: ClassVar[str]
    port: int

    @property
    def address(self) -> str:
        """Host and port on which it listens; it has them once it was prepared."""
        return f"{HOST}:{self.port}"

    @abstractmethod
    def prepare(self) -> Program:
        """Write what the program needs and return it; starts nothing."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether it serves a client that knows the password."""

    def finish_start(self) -> None:
        """Do what can only be done while it runs. Most servers need nothing."""
        return

    @property
    def pid(self) -> int | None:
        """Process id, None while it does not run."""
        return None if self._running is None else self._running.pid

    def start(self) -> None:
        """Start it and wait until it serves."""
        try:
            self.run_with(self._start_program)
        except BaseException:
            self.stop()
            raise

    def run_with(self, start: Callable[[Program], None]) -> None:
        """Prepare it, have somebody start its program and wait until that is ready, and finish the start.

        ``start`` raises EndedAtStart, and keeps nothing of it, where the program ended by itself. If that was
        because another program has taken a port of it, it is prepared and started again, with new ports.
        """
        for tries_left in reversed(range(_TRIES)):
            try:
                start(self.prepare())
                break
            except EndedAtStart:
                if not tries_left or not has_lost_port(self._ports_file):
                    raise
        self.finish_start()

    def _start_program(self, program: Program) -> None:
        running = Running(program)
        try:
            running.wait_ready()
        except BaseException:
            running.stop()
            raise
        self._running = running

    def stop(self) -> None:
        """End it and what it started."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
