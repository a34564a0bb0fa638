"""Which bytes an input was, even when they are no video."""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

_PIECE = 4 << 20


@dataclass(frozen=True)
class SourceIdentity:
    """Digest and size of a file; None where they cannot be known."""

    sha256: str | None
    size_bytes: int | None

    def __post_init__(self) -> None:
        if self.sha256 is not None and (len(self.sha256) != 64 or self.size_bytes is None):
            raise ValueError("a digest has 64 digits and belongs to a file of known size")


def identify_source(path: Path, most_bytes: int) -> SourceIdentity:
    """Return size and SHA-256 of a regular file, above ``most_bytes`` the size alone, None without one."""
    try:
        # Non-blocking: opening a named pipe must not wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return SourceIdentity(None, None)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return SourceIdentity(None, None)
        if status.st_size > most_bytes:
            return SourceIdentity(None, status.st_size)
        return SourceIdentity(_digest(descriptor), status.st_size)
    except OSError:
        return SourceIdentity(None, None)
    finally:
        os.close(descriptor)


def _digest(descriptor: int) -> str:
    digest, place = hashlib.sha256(), 0
    while piece := os.pread(descriptor, _PIECE, place):
        digest.update(piece)
        place += len(piece)
    return digest.hexdigest()
