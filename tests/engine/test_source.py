"""Which bytes an input was, even when it is no video, and whether it still is."""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import MediaRejected
from engine.results import RejectReason
from engine.source import SourceIdentity, SourceStamp, check_unchanged, identify_source, refuse_source


def test_a_file_has_size_and_digest(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"not a video" * 1000)
    assert identify_source(path, 1 << 20) == SourceIdentity(
        hashlib.sha256(b"not a video" * 1000).hexdigest(), 11_000
    )


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert identify_source(path, 4 << 30) == SourceIdentity(None, 1 << 40)


@pytest.mark.parametrize(
    ("number", "reason", "said"),
    [
        (errno.ENOENT, RejectReason.SOURCE_NOT_FOUND, "there is no such file: a.mp4"),
        (errno.ENAMETOOLONG, RejectReason.SOURCE_NOT_FOUND, "longer than the system takes: a.mp4"),
        (errno.ELOOP, RejectReason.SOURCE_NOT_FOUND, "leads back to itself: a.mp4"),
        (errno.ENXIO, RejectReason.NOT_VIDEO, "a.mp4 is no regular file"),
        (errno.EACCES, RejectReason.SOURCE_ACCESS_DENIED, "Permission denied: a.mp4"),
        (errno.EIO, RejectReason.SOURCE_ACCESS_DENIED, "Input/output error: a.mp4"),
    ],
)
def test_why_a_path_cannot_be_opened_is_told(number: int, reason: RejectReason, said: str) -> None:
    fault = refuse_source(OSError(number, os.strerror(number)), "a.mp4")
    assert fault.reason is reason
    assert said in fault.seen


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing", Path("/dev/zero"), Path("a\0b")):
        assert identify_source(path, 1 << 20) == SourceIdentity(None, None)


def changed(path: Path, change: Callable[[Path], object]) -> RejectReason | None:
    """How a file that is changed after its digest was taken is answered: None if it passes."""
    path.write_bytes(b"first")
    before = path.stat()
    sha256 = hashlib.sha256(b"first").hexdigest()
    change(path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        check_unchanged(descriptor, SourceStamp.of(before), sha256)
    except MediaRejected as fault:
        return fault.reason
    finally:
        os.close(descriptor)
    return None


def write_and_hide(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def move_into_place(path: Path, content: bytes) -> None:
    path.with_name("new").write_bytes(content)
    path.with_name("new").replace(path)


CHANGES: dict[str, tuple[Callable[[Path], object], bool]] = {
    "nothing": (lambda _: None, True),
    "other permissions": (lambda path: path.chmod(0o600), True),
    "a later time": (lambda path: os.utime(path, (1, 1)), True),
    "the same bytes from elsewhere": (lambda path: move_into_place(path, b"first"), True),
    "another length": (lambda path: path.write_bytes(b"longer than that"), False),
    "other bytes": (lambda path: path.write_bytes(b"other"), False),
    "other bytes at the same time": (write_and_hide, False),
    "another file of that length": (lambda path: move_into_place(path, b"other"), False),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_passes_for_unchanged_only_with_the_same_bytes(tmp_path: Path, what: str) -> None:
    change, passes = CHANGES[what]
    assert changed(tmp_path / "a", change) is (None if passes else RejectReason.SOURCE_CHANGED)
