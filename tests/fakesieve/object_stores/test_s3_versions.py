"""A bucket that keeps versions: an old one can be read by its id, and never by accident."""

import uuid
from pathlib import Path

import boto3.session
import pytest
from botocore.config import Config

from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.errors import SourceRefused
from fakesieve.object_stores.retries import RetryRule
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.objects import VideoRef


def test_a_version_names_its_bytes_for_good(s3: SeaweedServer, tmp_path: Path) -> None:
    store = S3Objects(
        S3Options(s3.endpoint, s3.access_key, s3.secret_key), retry=RetryRule(missing_pauses_s=())
    )
    bucket = f"versions-{uuid.uuid4().hex[:12]}"
    store.make_bucket(bucket)
    boto3.session.Session(s3.access_key, s3.secret_key, region_name="us-east-1").client(
        "s3", endpoint_url=s3.endpoint, config=Config(s3={"addressing_style": "path"})
    ).put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    source, refs = tmp_path / "source", list[VideoRef]()
    for body in (b"first", b"second"):
        source.write_bytes(body)
        refs.append(store.upload(source, bucket, "a.mp4").ref)
    first, second = refs
    assert first.version_id
    assert first.version_id != second.version_id
    assert store.head(VideoRef(bucket, "a.mp4")).ref == second
    assert store.read_range(first, 0, 9) == b"first"
    assert store.download(first, tmp_path / "here").ref == first
    assert (tmp_path / "here").read_bytes() == b"first"
    store.delete(VideoRef(bucket, "a.mp4"))
    with pytest.raises(SourceRefused, match="SOURCE_NOT_FOUND"):
        store.head(VideoRef(bucket, "a.mp4"))
    assert store.read_range(second, 0, 9) == b"second"
    store.delete(first)
    with pytest.raises(SourceRefused, match="SOURCE_NOT_FOUND"):
        store.read_range(first, 0, 9)
