"""Which bytes an input was, even when they are no video, whether they stayed so, and why it did not open."""

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from engine.errors import MediaRejected
from engine.results import RejectReason

_PIECE = 4 << 20
_NO_SUCH_PATH = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "there is no such file",
    errno.ENAMETOOLONG: "there is no such file, its name is longer than the system takes",
    errno.ELOOP: "the link leads back to itself",
}


@dataclass(frozen=True)
class SourceIdentity:
    """Digest and size of a file; None where they cannot be known."""

    sha256: str | None
    size_bytes: int | None

    def __post_init__(self) -> None:
        if self.sha256 is not None and (len(self.sha256) != 64 or self.size_bytes is None):
            raise ValueError("a digest has 64 digits and belongs to a file of known size")


@dataclass(frozen=True)
class SourceStamp:
    """What the system keeps of a file and changes with every write: equal stamps mean equal bytes."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int  # nobody can set this time, as they can the one before

    @staticmethod
    def of(status: os.stat_result) -> "SourceStamp":
        """Return the stamp of an open file."""
        return SourceStamp(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )


def check_untouched(descriptor: int, stamp: SourceStamp) -> None:
    """Raise MediaRejected if an open file was touched since it had that stamp."""
    if SourceStamp.of(os.fstat(descriptor)) != stamp:
        raise _source_changed("it was written to while it was looked at")


def check_unchanged(descriptor: int, stamp: SourceStamp, sha256: str) -> None:
    """Raise MediaRejected unless an open file still holds the bytes of that digest, as it did at ``stamp``.

    A file with another stamp, such as a copy that was moved into its place, is read through again.
    """
    now = os.fstat(descriptor)
    if SourceStamp.of(now) == stamp:
        return
    if now.st_size != stamp.size_bytes:
        raise _source_changed(f"{now.st_size} bytes now, {stamp.size_bytes} before")
    if digest_source(descriptor, stamp.size_bytes) != sha256:
        raise _source_changed("it holds other bytes than when it was first read")


def _source_changed(seen: str) -> MediaRejected:
    return MediaRejected(RejectReason.SOURCE_CHANGED, seen, "scan it again when nothing writes to it")


def refuse_source(error: OSError | ValueError, shown: str) -> MediaRejected:
    """Return the refusal of a path that could not be opened; ``shown`` is its name, safe to print.

    A ValueError is Python's for a name with a NUL byte.
    """
    number = error.errno if isinstance(error, OSError) else errno.ENOENT
    if number in _NO_SUCH_PATH:
        return MediaRejected(
            RejectReason.SOURCE_NOT_FOUND, f"{_NO_SUCH_PATH[number]}: {shown}", "check the path"
        )
    if number == errno.ENXIO:  # a socket, or a device without a driver
        return MediaRejected(
            RejectReason.NOT_VIDEO, f"{shown} is no regular file", "give a file, not a folder or device"
        )
    why = os.strerror(number or errno.EIO)
    hint = "check the permissions of the file and its folders, and the disk that it lies on"
    return MediaRejected(RejectReason.SOURCE_ACCESS_DENIED, f"{why}: {shown}", hint)


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
        return SourceIdentity(digest_source(descriptor, status.st_size), status.st_size)
    except OSError:
        return SourceIdentity(None, None)
    finally:
        os.close(descriptor)


def digest_source(descriptor: int, size_bytes: int) -> str:
    """Return the SHA-256 of an open file up to the size that it had: one that grows would never end."""
    digest, place = hashlib.sha256(), 0
    while piece := os.pread(descriptor, min(_PIECE, size_bytes - place), place):
        digest.update(piece)
        place += len(piece)
    return digest.hexdigest()
