"""Removing an object removes its bytes, in a bucket with versions too."""

import secrets
from pathlib import Path

import boto3.session
import pytest
from botocore.config import Config

from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.erasure.objects import Removal, clear_objects, remove_all, remove_object
from fakesieve.erasure.plan import ErasurePlan
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.objects import VideoRef


@pytest.fixture
def versions(s3: SeaweedServer, objects: S3Objects) -> str:
    """A bucket that keeps versions."""
    bucket = f"versions-{secrets.token_hex(6)}"
    objects.make_bucket(bucket)
    keep_versions(s3, bucket)
    return bucket


def keep_versions(s3: SeaweedServer, bucket: str) -> None:
    client = boto3.session.Session(s3.access_key, s3.secret_key, region_name="us-east-1").client(
        "s3", endpoint_url=s3.endpoint, config=Config(s3={"addressing_style": "path"})
    )
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def put(objects: S3Objects, folder: Path, bucket: str, content: bytes) -> VideoRef:
    path = folder / "file"
    path.write_bytes(content)
    return objects.upload(path, bucket, "a.mp4").ref


def test_all_versions_with_the_bytes_go(objects: S3Objects, versions: str, tmp_path: Path) -> None:
    older, newer = (put(objects, tmp_path, versions, b"a face") for _ in range(2))
    assert older.version_id != newer.version_id
    assert remove_object(objects, VideoRef(versions, "a.mp4", None, newer.etag)) == 1
    for ref in (older, newer):
        with pytest.raises(Exception, match="SOURCE_NOT_FOUND"):
            objects.read_range(ref, 0, 6)
    assert remove_object(objects, newer) == 0


def test_a_version_with_other_bytes_stays(objects: S3Objects, versions: str, tmp_path: Path) -> None:
    other = put(objects, tmp_path, versions, b"somebody else's")
    mine = put(objects, tmp_path, versions, b"a face")
    assert remove_object(objects, VideoRef(versions, "a.mp4", None, mine.etag)) == 1
    assert objects.read_range(other, 0, 20) == b"somebody else's"


def test_one_version_that_is_named_goes_alone(objects: S3Objects, versions: str, tmp_path: Path) -> None:
    older, newer = (put(objects, tmp_path, versions, b"a face") for _ in range(2))
    assert remove_object(objects, newer) == 1
    assert objects.read_range(older, 0, 6) == b"a face"


def clear(objects: S3Objects, ref: VideoRef) -> Removal:
    return clear_objects(objects, "other", ErasurePlan((ref,), (), (), (), 0))


def test_versions_that_other_bytes_or_a_deletion_hide_go_too(
    objects: S3Objects, versions: str, tmp_path: Path
) -> None:
    first, second = (put(objects, tmp_path, versions, b"a face") for _ in range(2))
    other = put(objects, tmp_path, versions, b"somebody else's")
    objects.delete(other.loosen())  # which hides all three
    assert clear(objects, second) == Removal((second,), {}, 0, 0)
    assert [left.etag for left in objects.list_versions(second)] == [other.etag]
    with pytest.raises(Exception, match="SOURCE_NOT_FOUND"):
        objects.read_range(first, 0, 6)
    assert clear(objects, second) == Removal((), {}, 0, 0)


def test_what_lay_there_before_the_bucket_kept_versions_goes(
    s3: SeaweedServer, objects: S3Objects, tmp_path: Path
) -> None:
    bucket = f"versions-{secrets.token_hex(6)}"
    objects.make_bucket(bucket)
    before = put(objects, tmp_path, bucket, b"a face")
    keep_versions(s3, bucket)
    put(objects, tmp_path, bucket, b"somebody else's")
    assert clear(objects, before).removed == (before,)
    assert [left.version_id == "null" for left in objects.list_versions(before)] == [False]


def test_exports_and_uploads_from_before_the_bucket_kept_versions_go(
    s3: SeaweedServer, objects: S3Objects, tmp_path: Path
) -> None:
    bucket = f"versions-{secrets.token_hex(6)}"
    objects.make_bucket(bucket)
    before = put(objects, tmp_path, bucket, b"an export")
    keep_versions(s3, bucket)
    assert remove_all(objects, [before.loosen()]) == []
    assert list(objects.list_versions(before)) == []


def test_key_that_begins_alike_keeps_its_versions(objects: S3Objects, versions: str, tmp_path: Path) -> None:
    longer = VideoRef(versions, "a.mp4.copy")
    path = tmp_path / "file"
    path.write_bytes(b"a face")
    copy = objects.upload(path, longer.bucket, longer.key).ref
    mine = put(objects, tmp_path, versions, b"a face")
    assert clear(objects, mine).removed == (mine,)
    assert objects.read_range(copy, 0, 6) == b"a face"
