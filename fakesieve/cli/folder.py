"""The option ``--dir`` of ``up`` and ``down``, and where a fleet lives without it."""

import os
from pathlib import Path
from typing import Annotated

import typer

DirOption = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        metavar="D",
        help="Folder of the fleet; one fleet a folder. Default: /var/lib/fakesieve for root, "
        "else ~/.local/state/fakesieve.",
        show_default=False,
    ),
]


def choose_folder(given: Path | None) -> Path:
    """Return the folder that was asked for, or the one for this user's state."""
    if given is not None:
        return given.resolve()
    if os.geteuid() == 0:
        return Path("/var/lib/fakesieve")
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "fakesieve"
