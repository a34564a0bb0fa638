"""One object on its way from S3 into a file: it may break off and go on, and it is checked at the end."""

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, cast

import urllib3
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from botocore.response import StreamingBody

from fakesieve.errors import SourceRefused, Unavailable
from fakesieve.object_stores.faults import HTTP_RANGE_NOT_SATISFIABLE, BodyBroken
from fakesieve.object_stores.part_file import PartFile
from fakesieve.object_stores.retries import Pauses
from fakesieve.object_stores.s3_client import S3Options, find_md5, pin_ref, read_facts
from fakesieve.objects import ObjectFacts, VideoRef
from fakesieve.reasons import Reason

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectRequestTypeDef

# Small enough that a store which sends 1 kB a second is found out after half a minute: the library hands
# a piece over when it is full.
PIECE_BYTES = 32 << 10

_RANGE = re.compile(r"bytes (?P<first>\d+)-\d+/(?P<size>\d+)")


class Transfer:
    """A whole object into a part file. :meth:`pull` is called until it does not raise ``BodyBroken``."""

    def __init__(
        self,
        client: "S3Client",
        options: S3Options,
        pauses: Pauses,
        ref: VideoRef,
        part: PartFile,
        limit_bytes: int | None,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._client = client
        self._options = options
        self._pauses = pauses
        self._asked = ref
        self._part = part
        self._limit_bytes = limit_bytes
        self._may_go_on = check
        self._start_s = pauses.monotonic_s()
        self._facts: ObjectFacts | None = None
        self._md5: str | None = None

    @property
    def facts(self) -> ObjectFacts:
        """What the store said of the object with its first answer."""
        if self._facts is None:
            raise RuntimeError("nothing was read yet")
        return self._facts

    @property
    def offset(self) -> int:
        """How many bytes have arrived."""
        return self._part.size_bytes

    def pull(self) -> None:
        """Read on from where the last call broke off, to the end, and check what came."""
        answer = self._client.get_object(**self._make_request())
        body = answer["Body"]
        try:
            self._accept(cast("Mapping[str, object]", answer))
            self._copy(body)
        finally:
            body.close()
        self._check()

    def _make_request(self) -> "GetObjectRequestTypeDef":
        # After the first answer the object is pinned whatever the caller knew: two objects never mix.
        ref = self._facts.ref if self._facts else self._asked
        request: GetObjectRequestTypeDef = {"Bucket": ref.bucket, "Key": ref.key}
        if ref.version_id:
            request["VersionId"] = ref.version_id
        if ref.etag:
            request["IfMatch"] = f'"{ref.etag}"'
        if self.offset:
            request["Range"] = f"bytes={self.offset}-"
        return request

    def _accept(self, answer: Mapping[str, object]) -> None:
        """Compare the answer's head with what was asked for; the first one says what the object is."""
        if self.offset and not answer.get("ContentRange"):
            self._part.restart()  # the store does not know ranges and begins again
        size_bytes = self.offset + cast("int", answer["ContentLength"])
        facts = read_facts(self._asked, answer, size_bytes)
        _refuse_other(self._facts.ref if self._facts else self._asked, facts.ref)
        if self._limit_bytes is not None and size_bytes > self._limit_bytes:
            seen = f"{self._asked.uri}: {size_bytes} bytes, at most {self._limit_bytes} are allowed"
            raise SourceRefused(Reason.SOURCE_TOO_LARGE, seen)
        if self._facts is None:
            self._facts, self._md5 = facts, find_md5(answer)

    def _copy(self, body: StreamingBody) -> None:
        """Write the body away piece by piece, each and all of them within their time."""
        limit_s = self._options.find_transfer_s(self.facts.size_bytes)
        before_s = self._pauses.monotonic_s()
        while piece := _read(body, PIECE_BYTES):
            if self._may_go_on is not None:
                self._may_go_on()
            self._part.write(piece)
            now_s = self._pauses.monotonic_s()
            if now_s - self._start_s > limit_s:
                seen = f"{self._asked.uri}: {self._say_progress()} after {limit_s:.0f} s, which is too slow"
                raise Unavailable(Reason.OBJECT_STORE_UNAVAILABLE, seen)
            if now_s - before_s > self._options.read_timeout_s:
                raise BodyBroken(f"{self._say_progress()}, then {len(piece)} took {now_s - before_s:.0f} s")
            before_s = now_s

    def _check(self) -> None:
        """Compare length and hashes with what the store has announced."""
        facts = self.facts
        if self.offset != facts.size_bytes:
            seen = self._say_progress()
            if self.offset > facts.size_bytes:
                self._part.restart()
            raise BodyBroken(f"only {seen} arrived")
        seen = self._part.sha256 if facts.sha256 else self._part.md5
        declared = facts.sha256 or self._md5
        if declared and seen != declared:
            self._part.restart()
            self._facts = None  # what the first answer said may be as wrong as what it brought
            raise BodyBroken(f"the bytes that came have the hash {seen}, not {declared}", is_altered=True)

    def _say_progress(self) -> str:
        return f"{self.offset} of {self.facts.size_bytes} bytes"


def read_range(client: "S3Client", ref: VideoRef, start: int, stop: int) -> bytes:
    """Return the bytes ``[start, stop)`` of an object, fewer where it ends before, by one request."""
    request: GetObjectRequestTypeDef = {
        "Bucket": ref.bucket,
        "Key": ref.key,
        "Range": f"bytes={start}-{stop - 1}",
    }
    if ref.version_id:
        request["VersionId"] = ref.version_id
    if ref.etag:
        request["IfMatch"] = f'"{ref.etag}"'
    try:
        answer = client.get_object(**request)
    except ClientError as fault:
        if fault.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == HTTP_RANGE_NOT_SATISFIABLE:
            return b""  # the object ends before
        raise
    with closing(answer["Body"]) as body:
        span = _RANGE.fullmatch(answer.get("ContentRange", ""))
        if span is None or int(span["first"]) != start:
            raise BodyBroken("the store does not give ranges")
        size_bytes = int(span["size"])
        _refuse_other(ref, pin_ref(ref, cast("Mapping[str, object]", answer), size_bytes))
        piece = _read(body)
    if len(piece) != min(stop, size_bytes) - start:
        raise BodyBroken(f"only {len(piece)} of the bytes {start} to {stop} arrived")
    return piece


def _read(body: StreamingBody, size: int | None = None) -> bytes:
    """Read on in an answer that began well. Raises BodyBroken where it stops.

    The store is there, so this is no sign of an outage: counted as one, a few objects that stall would close
    the store for all the others.
    """
    try:
        return body.read(size)
    except (HTTPClientError, IncompleteReadError, urllib3.exceptions.HTTPError) as fault:
        raise BodyBroken(f"the answer stopped in its middle ({type(fault).__name__})") from fault


def _refuse_other(expected: VideoRef, found: VideoRef) -> None:
    """Raise where the store gives another object than was asked for, or the same one with another length."""
    if expected.etag not in (None, found.etag):
        seen = f"{expected.uri}: another object lies there now ({found.etag}, not {expected.etag})"
        raise SourceRefused(Reason.SOURCE_CHANGED, seen)
    if expected.size_bytes in (None, found.size_bytes):
        return
    seen = f"it has {found.size_bytes} bytes now, not {expected.size_bytes}"
    if expected.etag is None:
        raise SourceRefused(Reason.SOURCE_CHANGED, f"{expected.uri}: {seen}")
    raise BodyBroken(f"{seen}, under the same ETag")
