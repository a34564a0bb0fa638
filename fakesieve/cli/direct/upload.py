"""A local file in the object store, once, under a key that follows from its content."""

import hashlib
import os
from pathlib import Path

from fakesieve.errors import SourceRefused
from fakesieve.objects import ObjectStore, VideoRef

_NAME_LETTERS_MAX = 200
_PIECE_BYTES = 8 << 20


def store_file(objects: ObjectStore, path: Path, bucket: str, folder: str) -> VideoRef:
    """Store a file in ``folder``, which ends with a slash, and return the object, pinned.

    Where the same bytes lie there already they are not written again. Not every store's ETag is a hash of
    the bytes: written again they would have another one, and a job that was submitted with the first would
    end with SOURCE_CHANGED. Raises what the store raises.
    """
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    # Bytes of a name that are no UTF-8 become escapes.
    name = path.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    place = VideoRef(bucket, f"{folder}{sha256[:32]}/{name[-_NAME_LETTERS_MAX:]}")
    there = _find_same(objects, place, size_bytes, sha256)
    return there or objects.upload(path, place.bucket, place.key).ref


def _find_same(objects: ObjectStore, place: VideoRef, size_bytes: int, sha256: str) -> VideoRef | None:
    """Return what lies at a place if it has these bytes and can be read; else it is to be written."""
    try:
        facts = objects.head(place)
        if facts.size_bytes != size_bytes or facts.is_archived:
            return None
        found = facts.sha256 or _digest_object(objects, facts.ref, size_bytes)
    except SourceRefused:
        # It is not there, or a key that may not list objects is not told so: the upload will say.
        return None
    return facts.ref if found == sha256 else None


def _digest_object(objects: ObjectStore, ref: VideoRef, size_bytes: int) -> str:
    """Read an object for its hash, of which its store knows nothing. A folder keeps none."""
    digest = hashlib.sha256()
    for start in range(0, size_bytes, _PIECE_BYTES):
        digest.update(objects.read_range(ref, start, start + _PIECE_BYTES))
    return digest.hexdigest()
