"""Logs of programs that hold their file open: moved on when they have grown, without asking the program.

All of them write at the end of the file, wherever that is. So its text can be copied away and the file cut to
nothing while they run. What is written between the two is lost, a line at most.
"""

import shutil
from pathlib import Path

LIMIT_BYTES = 16 << 20
KEPT = 3  # older parts of a log, as NAME.1, the youngest, to NAME.3


def rotate_log(log: Path, limit_bytes: int = LIMIT_BYTES, kept: int = KEPT) -> bool:
    """Move a log on if it is larger than it may be; return whether it was."""
    try:
        if log.stat().st_size <= limit_bytes:
            return False
    except FileNotFoundError:  # its program has not been started yet
        return False
    for number in range(kept - 1, 0, -1):
        older = _part(log, number)
        if older.exists():
            older.replace(_part(log, number + 1))
    shutil.copyfile(log, _part(log, 1))
    with log.open("r+b") as file:
        file.truncate(0)
    return True


def _part(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")
