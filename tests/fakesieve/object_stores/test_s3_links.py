"""Links that let somebody without a key read or put one object, checked by a real server."""

import os
import re
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.errors import SetupRefused, Unavailable
from fakesieve.object_stores.folder import FolderObjects
from fakesieve.object_stores.s3 import PostForm, S3Objects
from fakesieve.object_stores.s3_client import S3Options, find_md5, pin_ref, read_facts
from fakesieve.object_stores.select import open_objects
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.settings import Settings
from tests.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def store(s3: SeaweedServer) -> S3Objects:
    return S3Objects(S3Options(s3.endpoint, s3.access_key, s3.secret_key))


@pytest.fixture
def bucket(store: S3Objects) -> Iterator[str]:
    name = f"links-{uuid.uuid4().hex[:12]}"
    store.make_bucket(name)
    return name


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        return answer.read()


def post(form: PostForm, body: bytes, **changes: str) -> int:
    mark = "x" * 40
    fields = {**form.fields, **changes}
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n'
    kind = fields["Content-Type"]
    parts.append(f"{head}Content-Type: {kind}\r\n\r\n".encode() + body + f"\r\n--{mark}--\r\n".encode())
    request = urllib.request.Request(
        form.url, b"".join(parts), {"Content-Type": f"multipart/form-data; boundary={mark}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status
    except urllib.error.HTTPError as fault:
        return fault.code


def test_a_link_gives_the_object_and_only_it(store: S3Objects, bucket: str, tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(b"bytes")
    ref = store.upload(source, bucket, "a.mp4").ref
    url = store.link_get(ref.loosen(), expire_s=60)
    assert fetch(url) == b"bytes"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        fetch(url.replace("a.mp4", "b.mp4"))
    with pytest.raises(urllib.error.HTTPError, match="403"):
        fetch(url.partition("?")[0])


def test_a_form_puts_one_object_under_its_key_and_within_its_size(store: S3Objects, bucket: str) -> None:
    form = store.link_post(bucket, "up/a.mp4", limit_bytes=100, content_type="video/mp4")
    assert post(form, b"x" * 101) >= 400
    assert post(form, b"x" * 10, key="up/b.mp4") >= 400
    assert list(store.list_objects(bucket)) == []
    assert post(form, b"x" * 100) in (200, 201, 204)
    (facts,) = store.list_objects(bucket)
    assert (facts.ref.key, facts.size_bytes) == ("up/a.mp4", 100)


def test_settings_choose_the_store(tmp_path: Path) -> None:
    told = {"database_url": "postgresql://x", "broker_url": "redis://x", "bucket": "b"}
    keys = {"s3_endpoint": "http://127.0.0.1:9", "s3_access_key": "a", "s3_secret_key": "s"}
    assert isinstance(open_objects(Settings.model_validate(told | keys)), S3Objects)
    assert isinstance(open_objects(Settings.model_validate(told | {"objects_dir": tmp_path})), FolderObjects)


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3Objects:
    """A store on a machine that has no key for it: none in the settings, the environment or a role."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    return S3Objects(S3Options("http://127.0.0.1:9"))


@pytest.mark.parametrize(
    "sign",
    [
        lambda store: store.link_get(VideoRef("b", "a.mp4")),
        lambda store: store.link_post("b", "a.mp4", limit_bytes=100),
    ],
    ids=["link", "form"],
)
def test_without_a_key_there_are_no_links(no_key: S3Objects, sign: Callable[[S3Objects], object]) -> None:
    with pytest.raises(Unavailable, match="no key for the object store") as refused:
        sign(no_key)
    assert refused.value.reason is Reason.OBJECT_STORE_UNAVAILABLE
    assert "FAKESIEVE_S3_ACCESS_KEY" in refused.value.hint


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [("nonsense", "us-east-1"), ("http://", "us-east-1"), ("http://[::1", "us-east-1"), (None, "a b")],
)
def test_an_address_that_cannot_be_is_told_with_its_setting(endpoint: str | None, region: str) -> None:
    with pytest.raises(SetupRefused, match=re.escape(endpoint or region)) as refused:
        S3Objects(S3Options(endpoint, "key", "hush", region))
    assert refused.value.reason is Reason.INVALID_SETTINGS
    assert "FAKESIEVE_S3_ENDPOINT" in refused.value.hint
    assert "FAKESIEVE_S3_REGION" in refused.value.hint
    assert "hush" not in str(refused.value)


def test_options_hide_the_secret() -> None:
    assert "hush" not in repr(S3Options("http://x", "key", "hush"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"access_key": "a"},
        {"read_timeout_s": 0.0},
        {"connections": 0},
        {"part_bytes": 1},
        {"page_keys": 1001},
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        S3Options(**wrong)


def test_an_etag_is_a_hash_only_where_it_is_one() -> None:
    md5 = "d41d8cd98f00b204e9800998ecf8427e"
    assert find_md5({"ETag": f'"{md5}"'}) == md5
    assert find_md5({"ETag": f'"{md5}"', "ServerSideEncryption": "AES256"}) == md5
    assert find_md5({"ETag": f'"{md5}-2"'}) is None
    assert find_md5({"ETag": f'"{md5}"', "ServerSideEncryption": "aws:kms"}) is None
    assert find_md5({"ETag": f'"{md5}"', "SSECustomerAlgorithm": "AES256"}) is None
    assert find_md5({}) is None


def test_what_an_answer_says_of_an_object() -> None:
    ref = VideoRef("b", "k")
    assert pin_ref(ref, {"ETag": 'W/"e"', "VersionId": "null"}, 5) == VideoRef("b", "k", None, "e", 5)
    frozen = {"ETag": '"e"', "StorageClass": "DEEP_ARCHIVE"}
    assert read_facts(ref, frozen, 5).is_archived
    thawed = frozen | {"Restore": 'ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"'}
    assert not read_facts(ref, thawed, 5).is_archived
    assert read_facts(ref, frozen | {"Restore": 'ongoing-request="true"'}, 5).is_archived
    assert not read_facts(ref, {"ETag": '"e"', "StorageClass": "GLACIER_IR"}, 5).is_archived
    own = {"ETag": '"e"', "Metadata": {"fakesieve-sha256": "a" * 64}}
    assert read_facts(ref, own, 5).sha256 == "a" * 64
    assert read_facts(ref, {"ETag": '"e"', "Metadata": {"fakesieve-sha256": "junk"}}, 5).sha256 is None
