"""A program that runs beside this process: how it is started, when it is ready, how it ends.

Each runs in a session of its own, so that Ctrl-C in the terminal reaches whoever started it and nobody else,
and the kernel tells it to end when that one dies without having done so.
"""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason

POLL_S = 0.02
_GONE_S = 5.0  # a killed process is gone within milliseconds, unless the kernel waits for a disk
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class EndedAtStart(Unavailable):
    """A program ended by itself before it was ready."""


@dataclass(frozen=True)
class Owner:
    """The system user that a program runs as, where it may not run as root."""

    name: str
    user: int
    group: int

    def __post_init__(self) -> None:
        if self.user == 0:
            raise ValueError("a program that gives up root cannot run as root")


@dataclass(frozen=True)
class Program:
    """A command line and everything that a start of it needs; a second start of it is the same program."""

    role: str
    command: tuple[str, ...]
    folder: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    owner: Owner | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_s: float = 20.0
    start_s: float = 120.0
    is_ready: Callable[[], bool] | None = None
    leftovers: tuple[Path, ...] = ()  # files that it may leave behind outside of its folder

    def __post_init__(self) -> None:
        if not self.command or not self.role:
            raise ValueError("a program has a role and a command")
        if self.stop_s <= 0 or self.start_s <= 0:
            raise ValueError("a program needs time to start and to stop")

    def with_environment(self, environment: Mapping[str, str]) -> Self:
        """Return the same program with these variables and no others."""
        return replace(self, environment=environment)


class Running:
    """A started program and the group of processes that belong to it."""

    def __init__(self, program: Program) -> None:
        """Start it; raises Unavailable where the command cannot be run."""
        self.program = program
        self.started = time.monotonic()
        owner = program.owner
        try:
            with program.log.open("ab") as log:
                self._process = subprocess.Popen(
                    program.command,
                    cwd=program.folder,
                    env=dict(program.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    user=None if owner is None else owner.user,
                    group=None if owner is None else owner.group,
                    extra_groups=None if owner is None else (),
                    # One call of the C library between fork and exec, and no lock that a thread may hold.
                    preexec_fn=_end_with_parent(program.stop_signal),  # noqa: PLW1509 - see above
                )
        except OSError as fault:
            raise _cannot_run(program, fault) from fault

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its group and session."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal, or None while it runs."""
        return self._process.poll()

    def wait_ready(self) -> None:
        """Return when it is ready; raises EndedAtStart if it ends, Unavailable after ``start_s``."""
        check = self.program.is_ready
        deadline = self.started + self.program.start_s
        while check is not None and not check():
            if self.poll() is not None:
                raise _not_started(self.program, f"ended with {self._process.returncode}", EndedAtStart)
            if time.monotonic() > deadline:
                raise _not_started(self.program, f"was not ready after {self.program.start_s:g} s")
            time.sleep(POLL_S)

    def ask_to_stop(self) -> None:
        """Send the signal on which it ends by itself; the other processes of its group follow its lead."""
        if self.poll() is None:
            self._process.send_signal(self.program.stop_signal)

    def stop(self) -> None:
        """End it and what is left of its group: by its signal first, by force after ``stop_s``."""
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(self.program.stop_s)
        self.kill()

    def kill(self) -> None:
        """End it at once, with all that belongs to it."""
        self._process.kill()
        self._process.wait()
        self.clean_up()

    def clean_up(self) -> None:
        """Kill what is left of its group, and remove the files that it leaves outside of its folder."""
        kill_group(self.pid)
        for path in self.program.leftovers:
            path.unlink(missing_ok=True)


def run_to_end(program: Program) -> None:
    """Run a program that ends by itself within ``start_s``; raises Unavailable if it fails.

    An interruption ends it with everything that it has started.
    """
    running = Running(program)
    try:
        while running.poll() is None:
            if time.monotonic() > running.started + program.start_s:
                raise _not_started(program, f"was not done after {program.start_s:g} s")
            time.sleep(POLL_S)
    finally:
        running.kill()
    if running.poll():
        raise _not_started(program, f"ended with {running.poll()}")


def kill_group(group: int) -> None:
    """Kill every process of a group and wait until none lives; the first of them must be ended already."""
    deadline = time.monotonic() + _GONE_S
    while _has_living(group) and time.monotonic() < deadline:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        time.sleep(POLL_S)


def _has_living(group: int) -> bool:
    """Return whether a process of the group is more than a status that init has yet to fetch."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text(encoding="ascii", errors="replace")
            state, _, found = text.rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue  # it has just ended
        if int(found) == group and state != "Z":
            return True
    return False


def read_tail(log: Path, lines: int = 3) -> str:
    """Return the last lines of a log as one, or an empty text where there is none."""
    try:
        text = log.read_text(encoding="utf-8", errors="backslashreplace")
    except OSError:
        return ""
    return " | ".join(line.strip() for line in text.splitlines()[-lines:])


def _end_with_parent(number: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def ask_kernel() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return ask_kernel


def _cannot_run(program: Program, fault: Exception) -> Unavailable:
    return Unavailable(
        Reason.INTERNAL,
        f"{program.role} could not be started: {fault}",
        f"check that {program.command[0]} can be run and {program.log} can be written",
    )


def _not_started(program: Program, seen: str, kind: type[Unavailable] = Unavailable) -> Unavailable:
    tail = read_tail(program.log)
    return kind(
        Reason.INTERNAL,
        f"{program.role} {seen}" + (f": {tail}" if tail else ""),
        f"read {program.log}; free the disk or the port that it names",
    )
