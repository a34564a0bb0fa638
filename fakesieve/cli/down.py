"""``fakesieve down``: ends what ``fakesieve up`` has started."""

import time

import typer

from fakesieve.cli.folder import DirOption, choose_folder
from fakesieve.embedded.run_folder import MAIN_ROLE, RunFolder, ask_to_end, is_alive
from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason

_LOOK_S = 0.05
_PATIENCE_S = 180.0


def down(*, folder: DirOption = None) -> None:
    """End the fleet of a folder; its data stays. A folder where none runs is left as it is."""
    run_folder = RunFolder(choose_folder(folder))
    if end_fleet(run_folder):
        typer.echo(f"the fleet in {run_folder.path} has ended; 'fakesieve up' goes on where it was")
    else:
        typer.echo(f"no fleet runs in {run_folder.path}")


def end_fleet(folder: RunFolder) -> bool:
    """End the fleet of a folder and what a killed one left; False where there was none.

    Raises Unavailable where it does not end.
    """
    if not folder.is_taken():
        folder.end_strays()
        folder.forget()
        return False
    deadline = time.monotonic() + _PATIENCE_S
    pid: int | None = None
    # The lock goes a moment before its process does.
    while folder.is_taken() or (pid is not None and is_alive(pid)):
        if pid is None and MAIN_ROLE in folder.read_pids():
            pid = folder.read_pids()[MAIN_ROLE]
            ask_to_end(pid)
        if time.monotonic() > deadline:
            raise Unavailable(
                Reason.INTERNAL,
                f"the fleet in {folder.path} has not ended after {_PATIENCE_S:g} s",
                f"kill its process {pid}; 'fakesieve down' then ends what is left",
            )
        time.sleep(_LOOK_S)
    return True
