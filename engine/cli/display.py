"""Progress of a run on the terminal: one line in all and one for each input at work, on stderr.

Nothing is shown where stderr is no terminal, so logs and pipes stay clean.
"""

import io
import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from engine.errors import MediaRejected
from engine.output.names import escape_for_terminal, to_text
from engine.watch import Stage

_UNFOLDED = 8192  # wider than a path (4096 at most) and its note
_NAME_LONGEST = 36
_STAGE_WORDS = {Stage.PROBE: "looking", Stage.DECODE: "scanning", Stage.SCORE: "scoring"}


class RunStopped(Exception):
    """The run was interrupted; raised in the threads at work so that they end and clean up."""


class RunDisplay:
    """The progress of all inputs of a run; safe to use from several threads."""

    def __init__(self, inputs: int, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self.stopped = threading.Event()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[said]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
            transient=True,
            # Rich would send what is printed on stdout to its own console, and fold it to the window.
            redirect_stdout=False,
        )
        self._whole = self._progress.add_task("inputs", total=inputs, said=f"0 of {inputs}")
        self._inputs = inputs

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @contextmanager
    def set_aside(self) -> Generator[None]:
        """Take the progress off the screen while the block prints, so that rows stand above it."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    @contextmanager
    def follow(self, path: Path) -> Generator["InputWatcher"]:
        """Show a line for one input while the block runs."""
        name = shorten(escape_for_terminal(to_text(path.name)))
        task = self._progress.add_task(name, total=None, said="waiting")
        try:
            yield InputWatcher(self._progress, task, self.stopped)
        finally:
            self._progress.remove_task(task)

    def finish_input(self, done: int) -> None:
        """Say how many inputs are done."""
        self._progress.update(self._whole, completed=done, said=f"{done} of {self._inputs}")


class InputWatcher:
    """Shows one input; it is a ``ScanWatcher`` and ends the scan when the run was interrupted."""

    def __init__(self, progress: Progress, task: TaskID, stopped: threading.Event) -> None:
        self._progress, self._task, self._stopped = progress, task, stopped
        self._stage = _STAGE_WORDS[Stage.DECODE]  # samples come of no other
        self.breaks: list[MediaRejected] = []

    @property
    def is_stopped(self) -> bool:
        """Whether the run was interrupted."""
        return self._stopped.is_set()

    def on_stage(self, stage: Stage) -> None:
        """Show what is being done."""
        self._check()
        self._stage = _STAGE_WORDS.get(stage, stage.value)
        self._progress.update(self._task, said=self._stage)

    def on_samples(self, done: int, total: int, faces: int) -> None:
        """Show stage, frames and faces; the time that is left stands beside them."""
        self._check()
        said = f"{self._stage}, {done} of {total} frames, {faces} faces"
        self._progress.update(self._task, completed=done, total=total, said=said)

    def on_broken(self, fault: MediaRejected) -> None:
        """Keep it: the run tells at its end why frames are missing, and what helps."""
        self.breaks.append(fault)

    def on_overlay(self, done: int, total: int) -> None:
        """Show how far the overlay is."""
        self._check()
        self._progress.update(self._task, completed=done, total=total, said=f"overlay, frame {done}")

    def on_report(self) -> None:
        """Show that the report is being written."""
        self._check()
        self._progress.update(self._task, said="report")

    def _check(self) -> None:
        if self._stopped.is_set():
            raise RunStopped


def shorten(name: str) -> str:
    """Return a name with its middle left out if it is long; beginning and extension tell most."""
    if len(name) <= _NAME_LONGEST:
        return name
    half = (_NAME_LONGEST - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def take_any_text(stream: TextIO) -> None:
    """Let a stream write what its encoding does not have as an escape, as stderr does, and not fail at it."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def data_console() -> Console:
    """Return the console for tables on stdout: as wide as the terminal; in a file no row is ever folded."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return Console(soft_wrap=False)
    return Console(width=_UNFOLDED, soft_wrap=False)
