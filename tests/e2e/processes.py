"""Runs ``fakesieve`` as people do: as a process of its own."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from tests.waiting import PATIENCE_S

COMMAND = [sys.executable, "-m", "fakesieve"]


def run(
    *arguments: object, timeout: float = 2 * PATIENCE_S, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end with pipes for stdout and stderr."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=os.environ | environment,
    )


_SET_SIGNAL = signal.signal  # tests that run commands in their own process replace it


def start(*arguments: object, stdout: IO[str] | int = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start a command in a session of its own, so that signals reach it alone."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 - it takes no lock that a thread could hold
    )


def heed_interrupts() -> None:
    """Undo what a shell does to a test run in the background: its children inherit SIGINT as ignored."""
    _SET_SIGNAL(signal.SIGINT, signal.SIG_DFL)


def run_on_terminal(
    *arguments: object, timeout: float = PATIENCE_S, **environment: str
) -> tuple[int, str, str]:
    """Run a command whose stderr is a terminal; returns code, stdout and what the terminal was sent."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"} | environment,
    ) as process:
        os.close(theirs)
        shown = _drain(ours, time.monotonic() + PATIENCE_S)
        assert process.stdout is not None
        out = process.stdout.read().decode()
        code = process.wait(PATIENCE_S)
    os.close(ours)
    return code, out, shown


def _drain(descriptor: int, until: float) -> str:
    shown = b""
    while time.monotonic() < until:
        if not select.select([descriptor], [], [], 0.5)[0]:
            continue
        try:
            piece = os.read(descriptor, 1 << 16)
        except OSError:  # the other end is closed: the process has ended
            break
        if not piece:
            break
        shown += piece
    return shown.decode(errors="replace")


def descendants(pid: int) -> dict[int, str]:
    """Process numbers and commands of all children and their children."""
    table: dict[int, tuple[int, str]] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            table[int(place.name)] = (parent, words)
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        children = [child for child, (above, _) in table.items() if above == parent]
        found |= {child: table[child][1] for child in children}
        waiting += children
    return found
