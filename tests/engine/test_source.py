"""Which bytes an input was, even when it is no video."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from engine.results import RejectReason
from engine.source import SourceIdentity, identify_source, refuse_source


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
