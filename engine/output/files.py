"""Files that appear whole or not at all."""

import contextlib
import secrets
from pathlib import Path

from engine.errors import Unavailable
from engine.results import RejectReason


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a file that appears whole or not at all. Raises Unavailable (OUTPUT_FAILED)."""
    partial = name_partial(path)
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as fault:
        raise unwritable(path, fault.strerror or str(fault)) from fault
    finally:
        discard_partial(partial)


def name_partial(path: Path) -> Path:
    """Return a name beside ``path`` for what is not finished; no other run that writes there has the same."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


def discard_partial(partial: Path) -> None:
    """Remove what was begun, if it can be: a read-only disk refuses even what is not there."""
    with contextlib.suppress(OSError):
        partial.unlink()


def remove_stale(path: Path) -> None:
    """Remove what an earlier run left under a name. Raises Unavailable (OUTPUT_FAILED)."""
    try:
        path.unlink(missing_ok=True)
    except OSError as fault:
        raise unwritable(path, fault.strerror or str(fault)) from fault


def make_folder(path: Path) -> None:
    """Make a folder and those above it. Raises Unavailable (OUTPUT_FAILED)."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise unwritable(path, fault.strerror or str(fault)) from fault


def unwritable(path: Path, why: str) -> Unavailable:
    """Return the failure of an output, whatever kind of file it was."""
    return Unavailable(
        RejectReason.OUTPUT_FAILED,
        f"{path} could not be written: {why}",
        "check that the folder exists, may be written to, and has space left",
    )
