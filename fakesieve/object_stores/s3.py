"""S3, or any store that speaks its protocol, as an object store."""

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from botocore.exceptions import ClientError

from fakesieve.errors import SourceRefused, Unavailable
from fakesieve.object_stores.faults import (
    VENDOR_ERRORS,
    UnclearRefusal,
    explain_fault,
    is_unexplained_denial,
)
from fakesieve.object_stores.part_file import PartFile
from fakesieve.object_stores.retries import CircuitRule, Pauses, Retrier, RetryRule, SystemPauses
from fakesieve.object_stores.s3_client import SHA256_KEY, S3Options, make_client, read_facts
from fakesieve.object_stores.s3_download import Transfer, read_range
from fakesieve.object_stores.s3_upload import TYPE_UNKNOWN, Upload, digest_file
from fakesieve.objects import Downloaded, ObjectFacts, VideoRef
from fakesieve.reasons import Reason

if TYPE_CHECKING:
    from mypy_boto3_s3.literals import BucketLocationConstraintType
    from mypy_boto3_s3.type_defs import (
        CreateBucketRequestTypeDef,
        DeleteObjectRequestTypeDef,
        HeadObjectOutputTypeDef,
        HeadObjectRequestTypeDef,
        ListObjectsV2RequestTypeDef,
        ListObjectVersionsRequestTypeDef,
    )


Answer = TypeVar("Answer")

_OURS_ALREADY = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
_UNKNOWN_CALL = ("NotImplemented", "MethodNotAllowed", "501", "405")


@dataclass(frozen=True)
class PostForm:
    """Where and with which fields a browser may post one file, as ``multipart/form-data``, the file last."""

    url: str
    fields: Mapping[str, str]


class S3Objects:
    """Objects in S3. Safe between threads. Raises as :class:`fakesieve.objects.ObjectStore` says.

    Making one raises SetupRefused where its endpoint or region cannot be.
    """

    def __init__(
        self,
        options: S3Options,
        *,
        retry: RetryRule | None = None,
        circuit: CircuitRule | None = None,
        pauses: Pauses | None = None,
    ) -> None:
        self._options = options
        self._pauses = pauses or SystemPauses()
        self._retrier = Retrier(retry, circuit, self._pauses)
        self._client = make_client(options)

    def head(self, ref: VideoRef, *, check: Callable[[], None] | None = None) -> ObjectFacts:
        request: HeadObjectRequestTypeDef = {"Bucket": ref.bucket, "Key": ref.key}
        if ref.version_id:
            request["VersionId"] = ref.version_id
        if ref.etag:
            request["IfMatch"] = f'"{ref.etag}"'
        answer = self._read(lambda: self._ask_facts(request, ref), ref, check=check)
        facts = read_facts(ref, cast("Mapping[str, object]", answer), answer["ContentLength"])
        if ref.etag not in (None, facts.ref.etag) or ref.size_bytes not in (None, facts.size_bytes):
            raise SourceRefused(Reason.SOURCE_CHANGED, f"{ref.uri}: another object lies there now")
        return facts

    def _ask_facts(self, request: "HeadObjectRequestTypeDef", ref: VideoRef) -> "HeadObjectOutputTypeDef":
        """Send a HEAD. Where it is denied without a reason, a GET of one byte is sent to be told the reason.

        To a HEAD the store answers without a body, so a key that ran out or a clock that is wrong looks like
        an object that nobody may read. Raises what the GET raises.
        """
        try:
            return self._client.head_object(**request)
        except ClientError as fault:
            if not is_unexplained_denial(fault):
                raise
        read_range(self._client, ref, 0, 1)
        # It may be read by now, or by everything but a HEAD: then the denial of the HEAD stands.
        return self._client.head_object(**request)

    def download(
        self,
        ref: VideoRef,
        target: Path,
        *,
        limit_bytes: int | None = None,
        check: Callable[[], None] | None = None,
    ) -> Downloaded:
        with PartFile(target) as part:
            transfer = Transfer(self._client, self._options, self._pauses, ref, part, limit_bytes, check)
            self._read(transfer.pull, ref, progress=lambda: transfer.offset, check=check)
            part.keep()
        return Downloaded(transfer.facts.ref, target, part.size_bytes, part.sha256)

    def read_range(self, ref: VideoRef, start: int, stop: int) -> bytes:
        if not 0 <= start <= stop:
            raise ValueError(f"not a range: [{start}, {stop})")
        if start == stop:
            return b""
        return self._read(lambda: read_range(self._client, ref, start, stop), ref)

    def _read(
        self,
        request: Callable[[], Answer],
        ref: VideoRef,
        progress: Callable[[], int] | None = None,
        check: Callable[[], None] | None = None,
    ) -> Answer:
        """Send a request about one object; raise what it means.

        A key that a store does not like and credentials that ran out may have the same answer, such as a bare
        400 to a HEAD. Where the bucket is shown to the same credentials it was the key.
        """
        try:
            return self._retrier.run(request, ref.uri, progress=progress, check=check)
        except UnclearRefusal as unclear:
            try:
                self._retrier.run(lambda: self._client.head_bucket(Bucket=ref.bucket), f"s3://{ref.bucket}")
            except SourceRefused:
                pass  # the store knows who asks
            except Unavailable:
                raise unclear from None
            raise unclear.of_object from unclear

    def upload(self, source: Path, bucket: str, key: str, *, content_type: str | None = None) -> ObjectFacts:
        ref, digest = VideoRef(bucket, key), digest_file(source)
        kind = content_type or TYPE_UNKNOWN
        Upload(self._client, self._options, self._retrier, source, ref, digest, kind).send()
        facts = self.head(ref)
        if facts.size_bytes != digest.size_bytes or facts.sha256 not in (None, digest.sha256):
            seen = f"{ref.uri}: what lies there after the upload is not what was sent"
            hint = "somebody else has written this key at the same time: upload it under another one"
            raise Unavailable(Reason.OBJECT_STORE_UNAVAILABLE, seen, hint)
        return facts

    def list_objects(
        self, bucket: str, prefix: str = "", *, start_after: str | None = None
    ) -> Iterator[ObjectFacts]:
        request: ListObjectsV2RequestTypeDef = {
            "Bucket": bucket,
            "Prefix": prefix,
            "MaxKeys": self._options.page_keys,
        }
        if start_after is not None:
            request["StartAfter"] = start_after
        while True:
            page = self._retrier.run(
                partial(self._client.list_objects_v2, **request), f"s3://{bucket}/{prefix}"
            )
            for entry in cast("list[Mapping[str, object]]", page.get("Contents", [])):
                # Some stores list an empty object for a folder; nobody has put it there to be screened.
                key = str(entry["Key"])
                if not key.endswith("/"):
                    yield read_facts(VideoRef(bucket, key), entry, cast("int", entry["Size"]))
            if not page.get("NextContinuationToken"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def list_versions(self, ref: VideoRef) -> Iterator[VideoRef]:
        request: ListObjectVersionsRequestTypeDef = {
            "Bucket": ref.bucket,
            "Prefix": ref.key,
            "MaxKeys": self._options.page_keys,
        }
        while True:
            try:
                page = self._retrier.run(partial(self._client.list_object_versions, **request), ref.uri)
            except Unavailable as fault:
                if _code_of(fault) not in _UNKNOWN_CALL:
                    raise
                return  # a store that does not know the call keeps no versions
            for entry in cast("list[Mapping[str, object]]", page.get("Versions", [])):
                if entry["Key"] != ref.key:
                    continue  # it begins with the same letters
                etag, size = str(entry["ETag"]).strip('"'), cast("int", entry["Size"])
                # "null" is the name of what was there before the bucket kept versions.
                yield VideoRef(ref.bucket, ref.key, str(entry["VersionId"]), etag, size)
            if not page.get("IsTruncated") or page.get("NextKeyMarker", "") > ref.key:
                return
            request["KeyMarker"] = page["NextKeyMarker"]
            request["VersionIdMarker"] = page.get("NextVersionIdMarker", "")

    def delete(self, ref: VideoRef) -> None:
        request: DeleteObjectRequestTypeDef = {"Bucket": ref.bucket, "Key": ref.key}
        if ref.version_id:
            request["VersionId"] = ref.version_id
        self._retrier.run(lambda: self._client.delete_object(**request), ref.uri)

    def make_bucket(self, bucket: str) -> None:
        request: CreateBucketRequestTypeDef = {"Bucket": bucket}
        if not self._options.endpoint and self._options.region != "us-east-1":
            region = cast("BucketLocationConstraintType", self._options.region)
            request["CreateBucketConfiguration"] = {"LocationConstraint": region}
        try:
            self._retrier.run(lambda: self._client.create_bucket(**request), f"s3://{bucket}")
        except Unavailable as fault:
            if _code_of(fault) not in _OURS_ALREADY:
                raise

    def link_get(self, ref: VideoRef, *, expire_s: int = 900) -> str:
        """Return a URL that gives the object to whoever holds it, as a download, until it expires.

        The URL is a secret for as long as it works: it is handed out and never kept or logged. Raises
        Unavailable where there is no key to sign with.
        """
        wanted = {"Bucket": ref.bucket, "Key": ref.key, "ResponseContentDisposition": "attachment"}
        if ref.version_id:
            wanted["VersionId"] = ref.version_id
        return self._sign_get(wanted, ref, expire_s)

    def _sign_get(self, wanted: Mapping[str, str], ref: VideoRef, expire_s: int) -> str:
        """Sign a link, for which nothing is sent; raise what it means that there is no key to sign with."""
        try:
            return self._client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=expire_s)
        except VENDOR_ERRORS as fault:
            raise explain_fault(fault, ref.uri).error from fault

    def link_post(
        self,
        bucket: str,
        key: str,
        *,
        limit_bytes: int,
        at_least_bytes: int = 1,
        sha256: str | None = None,
        content_type: str = TYPE_UNKNOWN,
        expire_s: int = 900,
    ) -> PostForm:
        """Return a form that stores one file under exactly this key and type.

        The file has ``at_least_bytes`` to ``limit_bytes`` bytes and, where ``sha256`` is given, that hash:
        the store compares it, and who downloads the object compares it again. A form and not a signed PUT,
        because S3 cannot bound the size of a PUT. Raises Unavailable where there is no key to sign with.
        """
        ref = VideoRef(bucket, key)
        fields = {"Content-Type": content_type}
        if sha256 is not None:
            checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
            fields |= {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-sha256": checksum}
            fields |= {f"x-amz-meta-{SHA256_KEY}": sha256}
        exact: list[dict[str, str] | list[str | int]] = [{name: value} for name, value in fields.items()]
        # Of a form boto3 does not look whether there is a key; of a link it does.
        self._sign_get({"Bucket": bucket, "Key": key}, ref, expire_s)
        signed = self._client.generate_presigned_post(
            ref.bucket,
            ref.key,
            Fields=fields,
            Conditions=[*exact, ["content-length-range", at_least_bytes, limit_bytes]],
            ExpiresIn=expire_s,
        )
        return PostForm(str(signed["url"]), cast("dict[str, str]", signed["fields"]))


def _code_of(fault: Unavailable) -> str:
    """What the store itself called it, empty where it was none that the store said."""
    cause = fault.__cause__
    return str(cause.response.get("Error", {}).get("Code", "")) if isinstance(cause, ClientError) else ""
