"""A local file in a bucket: written once, and again only where what lies there is not it."""

import uuid
from pathlib import Path

import boto3.session
import pytest
from botocore.config import Config

from fakesieve.cli.direct.upload import store_file
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.object_stores.retries import RetryRule
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options


@pytest.fixture
def store(s3: SeaweedServer) -> S3Objects:
    options = S3Options(s3.endpoint, s3.access_key, s3.secret_key)
    return S3Objects(options, retry=RetryRule(missing_pauses_s=()))


@pytest.fixture
def bucket(s3: SeaweedServer, store: S3Objects) -> str:
    """A bucket that keeps a version for each time that an object is written."""
    name = f"files-{uuid.uuid4().hex[:12]}"
    store.make_bucket(name)
    boto3.session.Session(s3.access_key, s3.secret_key, region_name="us-east-1").client(
        "s3", endpoint_url=s3.endpoint, config=Config(s3={"addressing_style": "path"})
    ).put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"not looked at here")
    return path


def test_a_file_that_lies_there_is_not_written_again(store: S3Objects, bucket: str, clip: Path) -> None:
    first, second = (store_file(store, clip, bucket, "uploads/ten_1/") for _ in range(2))
    assert second == first
    assert [each.version_id for each in store.list_versions(first)] == [first.version_id]


def test_a_file_whose_object_was_replaced_is_written_again(
    store: S3Objects, bucket: str, clip: Path, tmp_path: Path
) -> None:
    first = store_file(store, clip, bucket, "uploads/ten_1/")
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes()[::-1])
    store.upload(other, bucket, first.key)
    again = store_file(store, clip, bucket, "uploads/ten_1/")
    assert again.version_id != first.version_id
    assert store.read_range(again, 0, 100) == clip.read_bytes()
