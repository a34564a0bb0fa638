"""Which bytes an input was, even when it is no video."""

import hashlib
import os
from pathlib import Path

from engine.source import SourceIdentity, identify_source


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


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing", Path("/dev/zero"), Path("a\0b")):
        assert identify_source(path, 1 << 20) == SourceIdentity(None, None)
