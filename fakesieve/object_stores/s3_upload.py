"""One file on its way into S3: hashed first, large ones in parts, checked by the store and again by us."""

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fakesieve.errors import SourceRefused, Unavailable
from fakesieve.object_stores.faults import VENDOR_ERRORS
from fakesieve.object_stores.part_file import read_pieces
from fakesieve.object_stores.retries import Retrier
from fakesieve.object_stores.s3_client import MIB, SHA256_KEY, S3Options, strip_etag
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PARTS_MAX = 10_000
TYPE_UNKNOWN = "application/octet-stream"


@dataclass(frozen=True)
class Digest:
    """Size and hashes of a local file."""

    size_bytes: int
    sha256: str
    md5_base64: str


def digest_file(path: Path) -> Digest:
    """Read a file once for its hashes. Raises ``RequestRefused`` where it cannot be read."""
    sha256, md5, size_bytes = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    for piece in read_pieces(path):
        sha256.update(piece)
        md5.update(piece)
        size_bytes += len(piece)
    return Digest(size_bytes, sha256.hexdigest(), b64encode(md5.digest()).decode())


@dataclass(frozen=True)
class Upload:
    """A file and the place where it goes."""

    client: "S3Client"
    options: S3Options
    retrier: Retrier
    source: Path
    ref: VideoRef
    digest: Digest
    content_type: str

    def send(self) -> None:
        """Store the file. Raises what :class:`fakesieve.objects.ObjectStore` says."""
        if self.digest.size_bytes <= self.options.part_bytes:
            self.retrier.run(self._put, self.ref.uri)
        else:
            self._send_parts()

    def _put(self) -> None:
        with self.source.open("rb") as file:
            self.client.put_object(
                Bucket=self.ref.bucket,
                Key=self.ref.key,
                Body=file,
                ContentMD5=self.digest.md5_base64,
                ContentType=self.content_type,
                Metadata={SHA256_KEY: self.digest.sha256},
            )

    def _send_parts(self) -> None:
        begun = self.retrier.run(
            lambda: self.client.create_multipart_upload(
                Bucket=self.ref.bucket,
                Key=self.ref.key,
                ContentType=self.content_type,
                Metadata={SHA256_KEY: self.digest.sha256},
            ),
            self.ref.uri,
        )
        upload_id = begun["UploadId"]
        try:
            parts = [self._send_part(upload_id, number, piece) for number, piece in self._cut()]
        except BaseException:
            self._abort(upload_id)
            raise
        self._complete(upload_id, parts)

    def _cut(self) -> Iterator[tuple[int, bytes]]:
        """Yield the parts, numbered from 1: as large as set, or larger where the file has too many."""
        least_bytes = -(-self.digest.size_bytes // PARTS_MAX)
        part_bytes = max(self.options.part_bytes, -(-least_bytes // MIB) * MIB)
        with self.source.open("rb") as file:
            number = 1
            while piece := file.read(part_bytes):
                yield number, piece
                number += 1

    def _send_part(self, upload_id: str, number: int, piece: bytes) -> "CompletedPartTypeDef":
        md5 = hashlib.md5(piece, usedforsecurity=False).digest()
        sent = self.retrier.run(
            lambda: self.client.upload_part(
                Bucket=self.ref.bucket,
                Key=self.ref.key,
                UploadId=upload_id,
                PartNumber=number,
                Body=piece,
                ContentMD5=b64encode(md5).decode(),
            ),
            f"{self.ref.uri} part {number}",
        )
        return {"PartNumber": number, "ETag": f'"{strip_etag(sent["ETag"])}"'}

    def _complete(self, upload_id: str, parts: list["CompletedPartTypeDef"]) -> None:
        try:
            self.retrier.run(
                lambda: self.client.complete_multipart_upload(
                    Bucket=self.ref.bucket,
                    Key=self.ref.key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": parts},
                ),
                self.ref.uri,
            )
        except SourceRefused as fault:
            # A first request may have completed it while its answer was lost; who looks next will see.
            if fault.reason is not Reason.SOURCE_NOT_FOUND:
                raise
        except Unavailable:
            self._abort(upload_id)
            raise

    def _abort(self, upload_id: str) -> None:
        """Let the store drop the parts; where this fails too, the bucket's own rule drops them later."""
        try:
            self.client.abort_multipart_upload(Bucket=self.ref.bucket, Key=self.ref.key, UploadId=upload_id)
        except VENDOR_ERRORS:
            return
