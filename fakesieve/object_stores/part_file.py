"""Local files at both ends of a transfer: one that is sent, and one that is being received.

What is received takes its name when it is complete, and leaves nothing when it is not.
"""

import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from fakesieve.errors import RequestRefused
from fakesieve.object_stores.faults import explain_disk
from fakesieve.reasons import Reason

PART_SUFFIX = ".part"
_PIECE_BYTES = 1 << 20


def read_pieces(source: Path) -> Iterator[bytes]:
    """Yield the bytes of a file that the caller named. Raises ``RequestRefused`` where it cannot be read."""
    try:
        with source.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece
    except OSError as fault:
        hint = "check the path and that the file can be read"
        raise RequestRefused(Reason.INVALID_REQUEST, f"{source}: {fault.strerror}", hint) from fault


class PartFile:
    """Bytes on their way to ``target``, hashed as they come. Use it as a context.

    Until :meth:`keep` they lie under a name of their own beside ``target``, and leaving the context
    removes them. Errors of the disk are raised as ``Unavailable`` with the reason ``NO_SPACE``.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f".{uuid.uuid4().hex}{PART_SUFFIX}")
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size_bytes = 0

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("xb", buffering=0)
        except OSError as fault:
            raise explain_disk(fault, str(self._target)) from fault
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of what has come so far."""
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        """Hexadecimal MD5 of what has come so far: what many stores use as ETag."""
        return self._md5.hexdigest()

    def write(self, piece: bytes) -> None:
        """Add bytes at the end."""
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as fault:
            raise explain_disk(fault, str(self._target)) from fault
        self._sha256.update(piece)
        self._md5.update(piece)
        self.size_bytes += len(piece)

    def restart(self) -> None:
        """Forget what has come."""
        self._file.seek(0)
        self._file.truncate()
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size_bytes = 0

    def keep(self, *, is_durable: bool = False) -> None:
        """Give the bytes their name, replacing what has it; ``is_durable`` waits until the disk has them."""
        try:
            if is_durable:
                os.fsync(self._file.fileno())
            self._file.close()
            self._path.replace(self._target)
        except OSError as fault:
            raise explain_disk(fault, str(self._target)) from fault
