"""What the arguments of a scan mean: files, folders and patterns become one list of inputs."""

import errno
import glob
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.container import EXTENSIONS, HEAD_BYTES, sniff_container
from engine.errors import MediaRejected
from engine.output.names import escape_controls, to_text
from engine.results import RejectReason
from engine.source import refuse_source

_MEDIA_SUFFIXES = frozenset(suffix for suffixes in EXTENSIONS.values() for suffix in suffixes)
_NOTHING_HINT = "name files, folders that hold videos or pictures, or a quoted pattern such as 'clips/*.mp4'"


@dataclass(frozen=True)
class Input:
    """One row of the result: a path to scan, or the reason why an argument led to none."""

    path: Path
    fault: MediaRejected | None = None


def find_inputs(arguments: Sequence[str]) -> list[Input]:
    """Return the inputs that the arguments name, in the order of the arguments; folders and patterns by name.

    Every argument gives at least one input: what leads to nothing becomes one with a fault.
    """
    return [found for argument in arguments for found in _find(argument)]


def _find(argument: str) -> list[Input]:
    path = Path(argument)
    if not argument:  # an unset variable in a script; pathlib would take it for the working folder
        return [_nothing(path, "the argument is empty")]
    if _is_folder(path):
        return _walk(path)
    if glob.has_magic(argument) and not os.path.lexists(path):
        # Not Path.glob: it takes no absolute pattern.
        places = sorted(glob.glob(argument, recursive=True), key=os.fsencode)  # noqa: PTH207 - as said above
        # '**' matches a folder and also what lies in it.
        inputs = list(dict.fromkeys(found for place in places for found in _match(Path(place))))
        return inputs or [_nothing(path, "nothing matches the pattern")]
    return [Input(path)]


def _match(path: Path) -> list[Input]:
    return _walk(path) if _is_folder(path) else [Input(path)]


def _is_folder(path: Path) -> bool:
    # Not Path.is_dir: it raises for names that are too long or lie in a closed folder.
    return os.path.isdir(path)  # noqa: PTH112 - as said above


def _walk(folder: Path) -> list[Input]:
    """Return the media of a folder and of those below it; hidden files and folders are left out."""
    unreadable: list[OSError] = []
    inputs: list[Input] = []
    for place, folders, files in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(place) / name for name in files if not name.startswith(".")]
        inputs += [found for path in paths if (found := _look(path)) is not None]
    inputs.sort(key=lambda found: os.fsencode(found.path))
    inputs += [_unreadable(Path(os.fsdecode(error.filename)), error) for error in unreadable]
    return inputs or [_nothing(folder, "there is no video and no picture in the folder")]


def _look(path: Path) -> Input | None:
    """Return the input that a file of a folder is: by its extension, or else by its first bytes.

    What cannot be opened might be one, so it becomes an input with a fault; what is no file does not.
    """
    if path.suffix.lower().lstrip(".") in _MEDIA_SUFFIXES:
        return Input(path)
    try:
        return Input(path) if _has_media(path) else None
    except OSError as error:
        is_no_file = error.errno in (errno.ENOENT, errno.ENXIO)  # a link to nothing, a socket
        return None if is_no_file else _unreadable(path, error)


def _has_media(path: Path) -> bool:
    # Non-blocking: a named pipe in the folder must not stop the scan.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return False
        sniff_container(os.pread(descriptor, HEAD_BYTES, 0), status.st_size, path.suffix)
    except MediaRejected:
        return False
    finally:
        os.close(descriptor)
    return True


def _unreadable(path: Path, error: OSError) -> Input:
    return Input(path, refuse_source(error, escape_controls(to_text(path))))


def _nothing(path: Path, seen: str) -> Input:
    return Input(path, MediaRejected(RejectReason.SOURCE_NOT_FOUND, f"{seen}: {path}", _NOTHING_HINT))
