"""``fakesieve up``: a whole fleet on this machine, from servers that come as Python wheels."""

import shlex
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from fakesieve.cli.folder import DirOption, choose_folder
from fakesieve.embedded.fleet import TENANT, Fleet, list_commands, name_command
from fakesieve.embedded.program import read_tail
from fakesieve.embedded.run_folder import RunFolder
from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason
from fakesieve.supervise import Supervisor

_LOOK_S = 0.2
# More than the starts of all parts may take together. One that does not get there ends the fleet by itself.
_DETACH_S = 600.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopAsked(BaseException):
    """Somebody wants the fleet to end. Like KeyboardInterrupt, no ``except Exception`` may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """How a command ends that was stopped before it was done."""
        return 130 if self.number == signal.SIGINT else 143


class StopSignals:
    """The first signal raises StopAsked where the program is; later ones are counted, as a wish to hurry."""

    def __init__(self) -> None:
        self._count = 0
        self._is_stopping = False
        self._is_held = False
        self._waiting: int | None = None

    def begin_stop(self) -> None:
        """From now on signals only hurry what stops already."""
        self._is_stopping = True

    def is_hurried(self) -> bool:
        """Return whether a second signal came."""
        return self._count > 1

    @contextmanager
    def listen(self) -> Generator[None]:
        """Handle the signals until the block ends."""
        before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def hold(self) -> Generator[None]:
        """Put off StopAsked to the end of the block, in which a program is started and noted."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            # Also where the start failed, which its caller may only note, to try again later.
            if self._waiting is not None and not self._is_stopping:
                self._stop(self._waiting)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._count += 1
        if self._is_held:
            self._waiting = number
        elif not self._is_stopping:
            self._stop(number)

    def _stop(self, number: int) -> None:
        self._is_stopping = True
        raise StopAsked(number)


def up(
    *,
    folder: DirOption = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once it runs; end it with 'fakesieve down'.")
    ] = False,
) -> None:
    """Start Postgres, Valkey, SeaweedFS and all processes of a fleet, and keep them running.

    The processes are relay, reconciler, sender of webhooks, API and one worker host.

    Ctrl-C ends all of them and lets work in progress go back to the queue; a second Ctrl-C does not wait.
    What was submitted and scored stays in the folder.
    """
    run_folder = RunFolder(choose_folder(folder))
    if detach:
        _start_detached(run_folder)
    else:
        raise typer.Exit(run_fleet(Fleet(run_folder, list_commands())))


def run_fleet(fleet: Fleet) -> int:
    """Run a fleet until it is asked to end; return the exit code of the command.

    Raises Unavailable or SetupRefused where it does not start, after everything has ended again.
    """
    folder, signals = fleet.folder, StopSignals()
    supervisor = Supervisor(_tell, folder.publish_pids, hold=signals.hold)
    with signals.listen():
        try:
            folder.take()
            folder.publish_environment(fleet.start(supervisor, _tell))
            _describe(folder)
            while True:
                time.sleep(_LOOK_S)
                supervisor.watch()
        except StopAsked as asked:
            _tell("ending; work in progress goes back to the queue")
            return 130 if asked.number == signal.SIGINT else 0
        finally:
            signals.begin_stop()
            supervisor.stop(signals.is_hurried)
            folder.leave()


def _start_detached(folder: RunFolder) -> None:
    """Start the same command in the background and return when it has written its environment."""
    folder.check_free()
    folder.logs.mkdir(parents=True, exist_ok=True)
    log, signals = folder.logs / "up.log", StopSignals()
    process: subprocess.Popen[bytes] | None = None
    with signals.listen():
        try:
            with signals.hold():
                process = _spawn(folder, log)
            _wait_until_up(folder, process, log)
        except BaseException as fault:
            signals.begin_stop()
            if process is not None:
                process.terminate()
                process.wait()
            if isinstance(fault, StopAsked):
                raise typer.Exit(fault.exit_code) from None
            raise
    # It lives on without us; who waits for it is init.
    process.returncode = 0
    _describe(folder, f"end it: fakesieve down --dir {shlex.quote(str(folder.path))}")


def _spawn(folder: RunFolder, log: Path) -> "subprocess.Popen[bytes]":
    """Start ``fakesieve up`` in a session of its own, which no signal of the terminal reaches."""
    with log.open("wb") as output:
        return subprocess.Popen(
            (*name_command(), "up", "--dir", str(folder.path)),
            cwd=folder.path,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_until_up(folder: RunFolder, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _DETACH_S
    while not (folder.env_file.exists() and folder.read_pids().get("up") == process.pid):
        if process.poll() is not None:
            raise Unavailable(Reason.INTERNAL, f"it did not start: {read_tail(log, 2)}", f"read {log}")
        if time.monotonic() > deadline:
            raise Unavailable(Reason.INTERNAL, f"it did not start within {_DETACH_S:g} s", f"read {log}")
        time.sleep(_LOOK_S)


def _describe(folder: RunFolder, end: str = "end it: Ctrl-C") -> None:
    """Say on stdout how to use what runs."""
    typer.echo(f"the fleet runs in {folder.path}; {end}")
    typer.echo(f"  source {shlex.quote(str(folder.env_file))}")
    typer.echo("  fakesieve submit CLIP.mp4     prints a job id")
    typer.echo("  fakesieve watch JOB_ID        ends when the job has ended")
    typer.echo("  fakesieve results show JOB_ID")
    address = folder.read_environment().get("FAKESIEVE_API_URL")
    if address is not None:
        typer.echo(f"the API answers at {address}; see docs/howto/use-the-api.md")
        typer.echo("people review in the browser at the same address; make yourself an account:")
        typer.echo(f"  fakesieve users create YOU@EXAMPLE.COM --tenant {TENANT} --name YOU --role admin")


def _tell(line: str) -> None:
    typer.echo(line, err=True)
