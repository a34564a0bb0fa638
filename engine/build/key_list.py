"""The list of keys of a checkpoint that do not fit, in a file beside the bundle that was not made.

Only such lists are replaced and removed: whatever else has the name is somebody's own.
"""

from pathlib import Path

from engine.output.files import remove_stale, write_whole

KINDS = ("missing", "unexpected", "misshaped")
"""How keys do not fit; each line of a list begins with one of these and a colon."""


def keep_list(path: Path, lines: str) -> bool:
    """Write a list, in place of an earlier one. False where something else lies there, which is left alone.

    Raises Unavailable (OUTPUT_FAILED).
    """
    if _is_taken(path) and not _is_list(path):
        return False
    write_whole(path, lines.encode())
    return True


def drop_list(path: Path) -> None:
    """Remove the list of an earlier checkpoint, if there is one. Raises Unavailable (OUTPUT_FAILED)."""
    if _is_taken(path) and _is_list(path):
        remove_stale(path)


def _is_taken(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _is_list(path: Path) -> bool:
    """Whether a file is a list of keys; what cannot be read is none."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError):
        return False
    return all(line.startswith(tuple(f"{kind}: " for kind in KINDS)) for line in lines)
