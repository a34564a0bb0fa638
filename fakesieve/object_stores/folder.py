"""A folder as an object store, for one machine: buckets are its folders, keys are paths below them."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from fakesieve.errors import FleetError, RequestRefused, SourceRefused, Unavailable
from fakesieve.logging import get_logger
from fakesieve.object_stores.part_file import PART_SUFFIX, PartFile, read_pieces
from fakesieve.objects import Downloaded, ObjectFacts, VideoRef
from fakesieve.reasons import Reason

_PIECE_BYTES = 1 << 20
_NAME_BYTES_MAX = 255
_LOGGED_BYTES = 300

_log = get_logger(__name__)


class FolderObjects:
    """Objects as plain files, which other programs may put there.

    No key leads out of the folder: one with an empty, ``.`` or ``..`` part is refused, and links are not
    followed. An ETag names the file's inode, time of change and size; it is not a hash, and versions do not
    exist. Raises as :class:`fakesieve.objects.ObjectStore` says.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def head(self, ref: VideoRef, *, check: Callable[[], None] | None = None) -> ObjectFacts:
        del check  # nothing is waited for
        with self._open(ref) as file:
            return _read_facts(ref, file)

    def download(
        self,
        ref: VideoRef,
        target: Path,
        *,
        limit_bytes: int | None = None,
        check: Callable[[], None] | None = None,
    ) -> Downloaded:
        with self._open(ref) as file, PartFile(target) as part:
            facts = _read_facts(ref, file)
            if limit_bytes is not None and facts.size_bytes > limit_bytes:
                seen = f"{ref.uri}: {facts.size_bytes} bytes, at most {limit_bytes} are allowed"
                raise SourceRefused(Reason.SOURCE_TOO_LARGE, seen)
            # No further than it was long: somebody may be writing at its end all the time.
            while piece := _read_piece(ref, file, min(_PIECE_BYTES, facts.size_bytes - part.size_bytes)):
                if check is not None:
                    check()
                part.write(piece)
            _refuse_change(ref, file, facts)
            part.keep()
        return Downloaded(facts.ref, target, part.size_bytes, part.sha256)

    def read_range(self, ref: VideoRef, start: int, stop: int) -> bytes:
        with self._open(ref) as file:
            facts = _read_facts(ref, file)
            file.seek(start)
            piece = _read_piece(ref, file, max(0, stop - start))
            _refuse_change(ref, file, facts)
        return piece

    def upload(self, source: Path, bucket: str, key: str, *, content_type: str | None = None) -> ObjectFacts:
        del content_type  # a file has no place for it
        ref = VideoRef(bucket, key)
        target = self._find_path(ref)
        self._find_bucket(ref)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as fault:
            seen = f"{ref.uri}: an object has the name of one of the key's folders"
            hint = "a folder cannot hold both 'a' and 'a/b': choose another key"
            raise RequestRefused(Reason.INVALID_REQUEST, seen, hint) from fault
        except OSError as fault:
            raise _explain(fault, ref) from fault
        self._find_path(ref)  # a link among the folders that were there already leads out
        with PartFile(target) as part:
            for piece in read_pieces(source):
                part.write(piece)
            part.keep(is_durable=True)
        return self.head(ref)

    def list_objects(
        self, bucket: str, prefix: str = "", *, start_after: str | None = None
    ) -> Iterator[ObjectFacts]:
        # Nothing is opened: a file that may not be read is listed as in S3, and refused when it is asked for.
        behind = b"" if start_after is None else start_after.encode()
        for key in sorted(self._walk(bucket), key=os.fsencode):
            if key.startswith(prefix) and os.fsencode(key) > behind and _is_key(bucket, key):
                ref = VideoRef(bucket, key)
                status = self._look(ref)
                if status is not None:
                    yield _describe(ref, status)

    def list_versions(self, ref: VideoRef) -> Iterator[VideoRef]:
        try:
            found = self.head(ref.loosen())
        except SourceRefused as refused:
            if refused.reason is not Reason.SOURCE_NOT_FOUND:
                raise
        else:
            yield found.ref

    def delete(self, ref: VideoRef) -> None:
        path = self._find_path(ref)
        try:
            path.unlink(missing_ok=True)
        except (NotADirectoryError, IsADirectoryError):
            return  # no object has this key
        except OSError as fault:
            raise _explain(fault, ref) from fault

    def make_bucket(self, bucket: str) -> None:
        place = VideoRef(bucket, "-")  # checks the name
        try:
            (self._root / bucket).mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise _explain(fault, place) from fault

    def _find_bucket(self, ref: VideoRef) -> Path:
        folder = self._root / ref.bucket
        if folder.is_symlink() or not folder.is_dir():
            raise SourceRefused(Reason.SOURCE_NOT_FOUND, f"{ref.uri}: no bucket {ref.bucket!r}")
        return folder

    def _find_path(self, ref: VideoRef) -> Path:
        """Return where the object lies, or refuse a key that a folder cannot hold or that leads out of it."""
        parts = ref.key.split("/")
        if any(part in ("", ".", "..") or len(part.encode()) > _NAME_BYTES_MAX for part in parts):
            seen = f"{ref.uri}: a folder cannot hold this key"
            hint = "use names of at most 255 bytes between single '/', and neither '.' nor '..'"
            raise RequestRefused(Reason.INVALID_REQUEST, seen, hint)
        path = self._root / ref.bucket / ref.key
        if not path.parent.resolve().is_relative_to(self._root / ref.bucket):
            raise SourceRefused(Reason.SOURCE_ACCESS_DENIED, f"{ref.uri}: a link leads out of the bucket")
        return path

    def _open(self, ref: VideoRef) -> BinaryIO:
        """Open the object's file; refuses links, and what is no plain file and might block."""
        path = self._find_path(ref)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as fault:
            raise _explain(fault, ref) from fault
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise SourceRefused(Reason.SOURCE_NOT_FOUND, f"{ref.uri}: no file has this key")
        return os.fdopen(descriptor, "rb", buffering=0)

    def _walk(self, bucket: str) -> Iterator[str]:
        """Yield the names of what is no folder; those in folders that may not be read are told in the log."""
        top = self._find_bucket(VideoRef(bucket, "-"))

        def tell(fault: OSError) -> None:
            if not isinstance(fault, FileNotFoundError):  # it went while we listed
                _pass_over(bucket, os.path.relpath(fault.filename, top), fault)

        for folder, _, names in os.walk(top, onerror=tell):
            for name in names:
                if not name.endswith(PART_SUFFIX):
                    yield Path(folder, name).relative_to(top).as_posix()

    def _look(self, ref: VideoRef) -> os.stat_result | None:
        """Return what lies there; None where it is no plain file, or its folder does not let us look."""
        try:
            status = (self._root / ref.bucket / ref.key).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None  # it went while we listed
        except PermissionError as fault:
            _pass_over(ref.bucket, ref.key, fault)
            return None
        except OSError as fault:
            raise _explain(fault, ref) from fault
        return status if stat.S_ISREG(status.st_mode) else None


def _is_key(bucket: str, name: str) -> bool:
    """Whether the path of a file can be a key; of one that cannot a line in the log tells."""
    try:
        VideoRef(bucket, name)
    except ValueError as fault:
        _pass_over(bucket, name, fault)
        return False
    return True


def _pass_over(bucket: str, name: str, fault: Exception) -> None:
    """Tell of what a list leaves out; bytes of the name that are no UTF-8 become escapes."""
    place = os.fsencode(name)[:_LOGGED_BYTES].decode("utf-8", "backslashreplace")
    seen = fault.strerror if isinstance(fault, OSError) else str(fault)[:_LOGGED_BYTES]
    _log.warning("folder.passed_over", bucket=bucket, place=place, seen=seen)


def _read_facts(ref: VideoRef, file: BinaryIO) -> ObjectFacts:
    """Describe the open file, and refuse it where it is not the one that the reference pins."""
    return _describe(ref, os.fstat(file.fileno()))


def _describe(ref: VideoRef, status: os.stat_result) -> ObjectFacts:
    """Describe a file, and refuse it where it is not the one that the reference pins."""
    etag = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
    found = replace(ref, version_id=None, etag=etag, size_bytes=status.st_size)
    is_other = (
        ref.version_id is not None
        or ref.etag not in (None, etag)
        or ref.size_bytes not in (None, status.st_size)
    )
    if is_other:
        raise SourceRefused(Reason.SOURCE_CHANGED, f"{ref.uri}: another file lies there now")
    return ObjectFacts(found, datetime.fromtimestamp(status.st_mtime, UTC))


def _refuse_change(ref: VideoRef, file: BinaryIO, facts: ObjectFacts) -> None:
    """Refuse what was read of a file that was written to at the same time."""
    if _read_facts(ref.loosen(), file).ref.etag != facts.ref.etag:
        raise SourceRefused(Reason.SOURCE_CHANGED, f"{ref.uri}: the file was written to while it was read")


def _read_piece(ref: VideoRef, file: BinaryIO, size_bytes: int) -> bytes:
    """Read up to that many bytes; fewer only at the end."""
    pieces = list[bytes]()
    try:
        while size_bytes > 0 and (piece := file.read(size_bytes)):
            pieces.append(piece)
            size_bytes -= len(piece)
    except OSError as fault:
        raise _explain(fault, ref) from fault
    return b"".join(pieces)


def _explain(fault: OSError, ref: VideoRef) -> FleetError:
    """Say what an error of the file system means for the object."""
    seen = f"{ref.uri}: {fault.strerror}"
    if isinstance(fault, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return SourceRefused(Reason.SOURCE_NOT_FOUND, seen)
    if isinstance(fault, PermissionError) or fault.errno == errno.ELOOP:
        return SourceRefused(Reason.SOURCE_ACCESS_DENIED, seen)
    return Unavailable(Reason.OBJECT_STORE_UNAVAILABLE, seen, "check the disk that holds the folder")
