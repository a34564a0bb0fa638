"""What an object store answers, whichever it is: references, facts, and the protocol that two of them obey.

A reference may be loose (bucket and key) or pinned (with the version or ETag that somebody has seen).
Reading through a pinned reference gives those bytes or the error ``SOURCE_CHANGED``, never other bytes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self

KEY_BYTES_MAX = 1024
BUCKET_LETTERS_MAX = 255


@dataclass(frozen=True)
class VideoRef:
    """One object: where it is and, once it was looked at, which bytes were there.

    ``etag`` stands without the quotes of HTTP. ``version_id`` is absent where the bucket keeps no versions.
    """

    bucket: str
    key: str
    version_id: str | None = None
    etag: str | None = None
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        _check_bucket(self.bucket)
        _check_key(self.key)
        if self.version_id == "" or self.etag == "":
            raise ValueError("an unknown version or ETag is None, not an empty text")
        marks = (self.version_id or "") + (self.etag or "")
        if not (marks.isascii() and marks.isprintable()):
            raise ValueError("a version and an ETag are what a header holds: printable ASCII")
        if self.etag is not None and '"' in self.etag:
            raise ValueError(f"an ETag stands without its quotes, is {self.etag!r}")
        if self.size_bytes is not None and self.size_bytes < 0:
            raise ValueError(f"size_bytes must not be negative, is {self.size_bytes}")

    @classmethod
    def parse_uri(cls, uri: str) -> Self:
        """Read ``s3://bucket/key``. The key stands as it is, without escapes, as S3's own tools print it.

        Raises ``ValueError`` where it is no such address.
        """
        scheme, separator, rest = uri.partition("://")
        if scheme != "s3" or not separator:
            raise ValueError(
                f"not an address of an object: {uri!r}; it looks like s3://bucket/folder/clip.mp4"
            )
        bucket, _, key = rest.partition("/")
        return cls(bucket, key)

    @property
    def uri(self) -> str:
        """The address ``s3://bucket/key`` that :meth:`parse_uri` reads; version and ETag are not in it."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def is_pinned(self) -> bool:
        """Whether the reference names bytes and not only a place."""
        return self.etag is not None or self.version_id is not None

    def loosen(self) -> Self:
        """Return the place alone: whatever lies there now."""
        return replace(self, version_id=None, etag=None, size_bytes=None)


@dataclass(frozen=True)
class ObjectFacts:
    """What the store says of an object without reading it. ``ref`` is pinned and carries the size.

    ``sha256`` is there where our own upload has written it down.
    """

    ref: VideoRef
    modified_time: datetime
    content_type: str | None = None
    sha256: str | None = None
    is_archived: bool = False

    def __post_init__(self) -> None:
        if self.ref.etag is None or self.ref.size_bytes is None:
            raise ValueError("facts name the ETag and the size of the object")
        if self.modified_time.tzinfo is None:
            raise ValueError("modified_time needs a time zone")

    @property
    def size_bytes(self) -> int:
        """Length of the object."""
        return self.ref.size_bytes or 0


@dataclass(frozen=True)
class Downloaded:
    """A whole object in a local file: its pinned reference, its length, the SHA-256 of what was written."""

    ref: VideoRef
    path: Path
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if len(self.sha256) != 64:
            raise ValueError(f"sha256 has 64 hexadecimal digits, is {self.sha256!r}")


class ObjectStore(Protocol):
    """Whole and ranged reads, writes and lists of objects.

    All methods may be called from several threads. Errors are those of ``fakesieve/errors.py``: the
    object's fault (``SOURCE_NOT_FOUND``, ``SOURCE_CHANGED``, ``SOURCE_ACCESS_DENIED``,
    ``SOURCE_ARCHIVED``, ``SOURCE_TOO_LARGE``, ``CORRUPT``) is final, the store's or the disk's
    (``OBJECT_STORE_UNAVAILABLE``, ``NO_SPACE``) may be tried again later.
    """

    def head(self, ref: VideoRef, *, check: Callable[[], None] | None = None) -> ObjectFacts:
        """Return what is known of the object without reading it. ``check`` as of :meth:`download`."""
        ...

    def download(
        self,
        ref: VideoRef,
        target: Path,
        *,
        limit_bytes: int | None = None,
        check: Callable[[], None] | None = None,
    ) -> Downloaded:
        """Write the whole object to ``target``, which appears complete and checked or not at all.

        ``check`` is called between pieces and while a store that is down is waited for; what it raises ends
        the download.
        """
        ...

    def read_range(self, ref: VideoRef, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)``; fewer where the object ends before."""
        ...

    def upload(self, source: Path, bucket: str, key: str, *, content_type: str | None = None) -> ObjectFacts:
        """Store the file under the key, replacing what was there, and say what the store now holds."""
        ...

    def list_objects(
        self, bucket: str, prefix: str = "", *, start_after: str | None = None
    ) -> Iterator[ObjectFacts]:
        """Yield the objects under the prefix, those behind ``start_after`` only.

        The order is the store's own and always the same: mostly that of the keys' UTF-8 bytes, but
        SeaweedFS sorts folder by folder.
        """
        ...

    def list_versions(self, ref: VideoRef) -> Iterator[VideoRef]:
        """Yield all that is kept under the key, also what a newer version or a deletion hides.

        Each has its ``version_id``, by which `delete` removes it for good; where the store keeps no versions,
        it is the object alone. Version and ETag of ``ref`` do not count.
        """
        ...

    def delete(self, ref: VideoRef) -> None:
        """Remove the object; one that is not there is removed already."""
        ...

    def make_bucket(self, bucket: str) -> None:
        """Create the bucket; one of ours that is there already is left as it is."""
        ...


def _check_bucket(bucket: str) -> None:
    """Refuse a name that no store accepts or that could lead out of a folder."""
    if not 1 <= len(bucket) <= BUCKET_LETTERS_MAX or not bucket[0].isalnum():
        raise ValueError(f"a bucket's name begins with a letter or a digit, is {bucket!r}")
    if not all(c.isascii() and (c.isalnum() or c in "-._") for c in bucket):
        raise ValueError(f"a bucket's name has letters, digits, '-', '.' and '_', is {bucket!r}")


def _check_key(key: str) -> None:
    """Refuse a key that no store can hold."""
    try:
        length = len(key.encode("utf-8"))
    except UnicodeEncodeError as fault:
        raise ValueError(f"a key is text that UTF-8 can write, is {key!r}") from fault
    if not 1 <= length <= KEY_BYTES_MAX:
        raise ValueError(f"a key has 1 to {KEY_BYTES_MAX} bytes of UTF-8, has {length}")
    if "\0" in key:
        raise ValueError("a key must not contain the NUL character")
