"""The connection to S3: its settings, and what is read out of its answers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, cast

import boto3.session
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader, create_loader

from fakesieve.object_stores.faults import explain_settings
from fakesieve.objects import ObjectFacts, VideoRef

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SHA256_KEY = "fakesieve-sha256"
MIB = 1 << 20

_MD5 = re.compile(r"[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ARCHIVES = {"GLACIER", "DEEP_ARCHIVE"}
_RESTORED = 'ongoing-request="false"'


@dataclass(frozen=True)
class S3Options:
    """Where the store is and how long it may take.

    Without an endpoint it is Amazon's; without keys boto3 looks for them where it always does, so that a
    role of the machine counts. ``read_timeout_s`` is for one piece of an answer. A whole object of n bytes
    may take ``base_s + n / min_bytes_per_s`` seconds.
    """

    endpoint: str | None = None
    access_key: str | None = None
    secret_key: str | None = None
    region: str = "us-east-1"
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 10.0
    base_s: float = 30.0
    min_bytes_per_s: int = 256 << 10
    connections: int = 32
    part_bytes: int = 16 * MIB
    page_keys: int = 1000

    def __post_init__(self) -> None:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("an access key and its secret are given together or not at all")
        if min(self.connect_timeout_s, self.read_timeout_s, self.base_s, self.min_bytes_per_s) <= 0:
            raise ValueError("times and rates must be positive")
        if self.connections < 1 or not 1 <= self.page_keys <= 1000:
            raise ValueError("at least one connection and 1 to 1000 keys a page are needed")
        if self.part_bytes < 5 * MIB:
            raise ValueError(f"S3 takes parts of at least 5 MiB, is {self.part_bytes}")

    def __repr__(self) -> str:
        return (
            f"S3Options(endpoint={self.endpoint!r}, region={self.region!r}, access_key={self.access_key!r})"
        )

    def find_transfer_s(self, size_bytes: int) -> float:
        """Return how many seconds an object of that size may take."""
        return self.base_s + size_bytes / self.min_bytes_per_s


def make_client(options: S3Options) -> "S3Client":
    """Return a client that tries each request once: what is tried again is decided in ``retries.py``.

    Raises SetupRefused where endpoint, region or the files of boto3 are such that no request can be sent.
    """
    config = Config(
        signature_version="s3v4",
        connect_timeout=options.connect_timeout_s,
        read_timeout=options.read_timeout_s,
        max_pool_connections=options.connections,
        tcp_keepalive=True,
        retries={"total_max_attempts": 1, "mode": "standard"},
        # Other stores than Amazon's refuse the trailing checksums that boto3 adds by default. Uploads carry
        # an MD5 instead, which all of them check.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_supported",
        # A store of one's own rarely has a name for each bucket.
        s3={"addressing_style": "path" if options.endpoint else "auto"},
    )
    try:
        return _open_session().client(
            "s3",
            endpoint_url=options.endpoint,
            aws_access_key_id=options.access_key,
            aws_secret_access_key=options.secret_key,
            region_name=options.region,
            config=config,
        )
    except (ValueError, BotoCoreError) as fault:  # of a bad endpoint it says ValueError
        raise explain_settings(fault, options.endpoint, options.region) from fault


def _open_session() -> boto3.session.Session:
    session = botocore.session.get_session()
    session.register_component("data_loader", _load_descriptions(session.get_config_variable("data_path")))
    return boto3.session.Session(botocore_session=session)


@cache
def _load_descriptions(search_path: str | None) -> Loader:
    """Return what reads the descriptions of S3 and its endpoints, some megabytes of JSON, and keeps them.

    With a loader of its own, as a session has by default, each client takes 0.1 to 0.3 s to make.
    """
    return create_loader(search_path)


def read_facts(ref: VideoRef, answer: Mapping[str, object], size_bytes: int) -> ObjectFacts:
    """Describe an object by the answer to a HEAD or GET of it; the size is that of the whole object."""
    metadata = cast("Mapping[str, str]", answer.get("Metadata") or {})
    declared = metadata.get(SHA256_KEY, "")
    restore = str(answer.get("Restore", ""))
    modified = answer.get("LastModified")
    return ObjectFacts(
        pin_ref(ref, answer, size_bytes),
        modified if isinstance(modified, datetime) else datetime.fromtimestamp(0, UTC),
        content_type=cast("str | None", answer.get("ContentType")),
        sha256=declared if _SHA256.fullmatch(declared) else None,
        is_archived=answer.get("StorageClass") in _ARCHIVES and _RESTORED not in restore,
    )


def pin_ref(ref: VideoRef, answer: Mapping[str, object], size_bytes: int) -> VideoRef:
    """Return the reference with version, ETag and size of the answer."""
    version = answer.get("VersionId")
    version_id = version if isinstance(version, str) and version not in ("", "null") else None
    etag = strip_etag(str(answer.get("ETag", ""))) or None
    return replace(ref, version_id=version_id, etag=etag, size_bytes=size_bytes)


def find_md5(answer: Mapping[str, object]) -> str | None:
    """Return the MD5 of the whole object where the answer's ETag is one.

    It is none where the object was uploaded in parts, or encrypted under a key of the owner.
    """
    is_encrypted = (
        str(answer.get("ServerSideEncryption", "")).startswith("aws:kms") or "SSECustomerAlgorithm" in answer
    )
    etag = strip_etag(str(answer.get("ETag", "")))
    return etag if _MD5.fullmatch(etag) and not is_encrypted else None


def strip_etag(etag: str) -> str:
    """Return an ETag without the quotes of HTTP and without the mark of a weak one."""
    return etag.removeprefix("W/").strip('"')
