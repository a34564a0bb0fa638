"""What every object store does: the same cases against S3 (SeaweedFS) and against a folder."""

import hashlib
import resource
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.errors import FleetError, RequestRefused, SourceRefused, Unavailable
from fakesieve.object_stores.folder import FolderObjects
from fakesieve.object_stores.retries import RetryRule
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.objects import ObjectStore, VideoRef
from fakesieve.reasons import Reason

BODY = bytes(range(256)) * 40


@dataclass(frozen=True)
class Case:
    """A store with an empty bucket, and a way to put bytes there."""

    store: ObjectStore
    bucket: str
    folder: Path

    def put(self, key: str, body: bytes = BODY) -> VideoRef:
        source = self.folder / "source.bin"
        source.write_bytes(body)
        return self.store.upload(source, self.bucket, key).ref

    def ref(self, key: str) -> VideoRef:
        return VideoRef(self.bucket, key)


@pytest.fixture(scope="session")
def s3_objects(s3: SeaweedServer) -> S3Objects:
    """One client for all tests: making one costs half a second."""
    options = S3Options(s3.endpoint, s3.access_key, s3.secret_key, page_keys=3)
    return S3Objects(options, retry=RetryRule(missing_pauses_s=()))


@pytest.fixture(params=["s3", "folder"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    store: ObjectStore = FolderObjects(tmp_path / "objects")
    if request.param == "s3":
        store = request.getfixturevalue("s3_objects")
    bucket = f"contract-{uuid.uuid4().hex[:12]}"
    store.make_bucket(bucket)
    folder = tmp_path / "local"
    folder.mkdir()
    return Case(store, bucket, folder)


def expect(reason: Reason, call: Callable[[], object]) -> FleetError:
    with pytest.raises(FleetError) as caught:
        call()
    assert caught.value.reason is reason
    assert caught.value.hint
    return caught.value


def test_upload_says_what_the_store_holds(case: Case) -> None:
    ref = case.put("clips/a.mp4")
    facts = case.store.head(case.ref("clips/a.mp4"))
    assert facts.ref == ref
    assert ref.is_pinned
    assert facts.size_bytes == len(BODY)
    assert facts.sha256 in (None, hashlib.sha256(BODY).hexdigest())
    assert not facts.is_archived


@pytest.mark.parametrize("body", [BODY, b"", b"x"], ids=["some", "empty", "one byte"])
def test_download_gives_the_bytes_and_their_hash(case: Case, body: bytes) -> None:
    ref = case.put("a.mp4", body)
    target = case.folder / "here.mp4"
    done = case.store.download(case.ref("a.mp4"), target)
    assert target.read_bytes() == body
    assert (done.ref, done.path, done.size_bytes) == (ref, target, len(body))
    assert done.sha256 == hashlib.sha256(body).hexdigest()


def test_a_failed_download_leaves_no_file(case: Case) -> None:
    target = case.folder / "here.mp4"
    expect(Reason.SOURCE_NOT_FOUND, lambda: case.store.download(case.ref("none.mp4"), target))
    assert list(case.folder.iterdir()) == []


def test_a_download_replaces_the_file_that_is_there(case: Case) -> None:
    case.put("a.mp4")
    target = case.folder / "here.mp4"
    target.write_bytes(b"old")
    case.store.download(case.ref("a.mp4"), target)
    assert target.read_bytes() == BODY


def test_a_pinned_reference_refuses_other_bytes(case: Case) -> None:
    pinned = case.put("a.mp4", b"first")
    case.put("a.mp4", b"other")
    target = case.folder / "here.mp4"
    expect(Reason.SOURCE_CHANGED, lambda: case.store.download(pinned, target))
    expect(Reason.SOURCE_CHANGED, lambda: case.store.head(pinned))
    expect(Reason.SOURCE_CHANGED, lambda: case.store.read_range(pinned, 0, 2))
    assert not target.exists()


def test_a_size_alone_pins_too(case: Case) -> None:
    case.put("a.mp4", b"first")
    asked = VideoRef(case.bucket, "a.mp4", size_bytes=4)
    expect(Reason.SOURCE_CHANGED, lambda: case.store.download(asked, case.folder / "here"))
    expect(Reason.SOURCE_CHANGED, lambda: case.store.head(asked))


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 10), (5, 6), (100, 4000), (0, 1 << 20), (len(BODY) - 3, len(BODY) + 3), (7, 7), (1 << 20, 1 << 21)],
)
def test_a_range_is_half_open_and_ends_with_the_object(case: Case, start: int, stop: int) -> None:
    ref = case.put("a.mp4")
    assert case.store.read_range(ref, start, stop) == BODY[start:stop]


@pytest.mark.parametrize("action", ["head", "download", "range"])
def test_what_is_not_there_is_said_so(case: Case, action: str) -> None:
    for ref in (case.ref("none.mp4"), VideoRef("no-such-bucket-anywhere", "a.mp4")):
        calls: dict[str, Callable[[], object]] = {
            "head": lambda ref=ref: case.store.head(ref),
            "download": lambda ref=ref: case.store.download(ref, case.folder / "x"),
            "range": lambda ref=ref: case.store.read_range(ref, 0, 1),
        }
        fault = expect(Reason.SOURCE_NOT_FOUND, calls[action])
        assert isinstance(fault, SourceRefused)
        assert ref.key in fault.seen


def test_a_list_of_no_bucket_is_an_error(case: Case) -> None:
    expect(Reason.SOURCE_NOT_FOUND, lambda: list(case.store.list_objects("no-such-bucket-anywhere")))


def test_an_object_over_the_limit_is_not_read(case: Case) -> None:
    case.put("a.mp4")
    target = case.folder / "here"
    ref = case.ref("a.mp4")
    expect(Reason.SOURCE_TOO_LARGE, lambda: case.store.download(ref, target, limit_bytes=len(BODY) - 1))
    assert not target.exists()
    assert case.store.download(ref, target, limit_bytes=len(BODY)).size_bytes == len(BODY)


def test_lists_are_paged_and_can_be_taken_up_behind_any_key(case: Case) -> None:
    keys = ["b", "a/2", "a/10", "a/1", "z/ü", "z/z", "a-", "Ä"]
    for key in keys:
        case.put(key, key.encode())
    listed = list(case.store.list_objects(case.bucket))
    order = [facts.ref.key for facts in listed]
    assert sorted(order) == sorted(keys)
    assert [facts.size_bytes for facts in listed] == [len(key.encode()) for key in order]
    assert [f.ref.key for f in case.store.list_objects(case.bucket, "a/")] == ["a/1", "a/10", "a/2"]
    for position, key in enumerate(order):
        rest = [f.ref.key for f in case.store.list_objects(case.bucket, start_after=key)]
        assert rest == order[position + 1 :]


def test_a_listed_reference_can_be_read(case: Case) -> None:
    case.put("a.mp4")
    (facts,) = case.store.list_objects(case.bucket)
    done = case.store.download(facts.ref, case.folder / "here")
    assert done.size_bytes == len(BODY)
    assert done.ref.etag == facts.ref.etag


@pytest.mark.parametrize(
    "key",
    [
        "with space.mp4",
        "a+b.mp4",
        "100%.mp4",
        "%41.mp4",
        "q?x=1&y.mp4",
        "h#1.mp4",
        "ü/日本.mp4",
        'it\'s;"x".mp4',
        "-i.mp4",
        "a:b@c=d.mp4",
        ".hidden/..x.mp4",
        "x" * 200 + ".mp4",
    ],
)
def test_any_key_names_its_own_object(case: Case, key: str) -> None:
    case.put(key, key.encode())
    case.put("other", b"other")
    case.store.download(case.ref(key), case.folder / "here")
    assert (case.folder / "here").read_bytes() == key.encode()
    assert key in [facts.ref.key for facts in case.store.list_objects(case.bucket)]
    case.store.delete(case.ref(key))
    assert [facts.ref.key for facts in case.store.list_objects(case.bucket)] == ["other"]


@pytest.mark.parametrize("key", ["../out.mp4", "a/../../out.mp4", "/out.mp4", "a//b.mp4", "./a.mp4", ".."])
def test_a_key_that_looks_like_a_way_out_stays_in_the_bucket(case: Case, key: str) -> None:
    case.put("inside")
    try:
        case.put(key, b"mine")
    except (RequestRefused, SourceRefused, Unavailable):
        pass
    else:
        case.store.download(case.ref(key), case.folder / "here")
        assert (case.folder / "here").read_bytes() == b"mine"
    found = [path.name for path in case.folder.parent.rglob("out.mp4")]
    assert found == [], "the key led out of the bucket"


def test_delete_removes_and_is_content_with_nothing(case: Case) -> None:
    ref = case.put("a.mp4")
    case.store.delete(ref)
    case.store.delete(case.ref("a.mp4"))
    expect(Reason.SOURCE_NOT_FOUND, lambda: case.store.head(case.ref("a.mp4")))


def test_a_store_without_versions_lists_the_object_alone(case: Case) -> None:
    ref = case.put("a.mp4")
    for number in range(4):  # keys that begin alike fill a page of the list
        case.put(f"a.mp4.{number}")
    (found,) = case.store.list_versions(case.ref("a.mp4"))
    assert (found.key, found.etag, found.size_bytes) == ("a.mp4", ref.etag, len(BODY))
    assert list(case.store.list_versions(case.ref("a.mp"))) == []


def test_a_bucket_that_is_there_stays_as_it_is(case: Case) -> None:
    case.put("a.mp4")
    case.store.make_bucket(case.bucket)
    assert case.store.head(case.ref("a.mp4")).size_bytes == len(BODY)


@contextmanager
def _largest_file(size_bytes: int) -> Iterator[None]:
    """Let the system refuse larger files, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_the_machines_fault_and_leaves_no_part(case: Case) -> None:
    case.put("a.mp4")
    before = set(case.folder.iterdir())
    with _largest_file(1000):
        fault = expect(Reason.NO_SPACE, lambda: case.store.download(case.ref("a.mp4"), case.folder / "here"))
    assert isinstance(fault, Unavailable)
    assert set(case.folder.iterdir()) == before


def test_a_folder_that_is_not_there_is_told(case: Case) -> None:
    case.put("a.mp4")
    expect(Reason.NO_SPACE, lambda: case.store.download(case.ref("a.mp4"), case.folder / "no" / "here"))


def test_a_source_that_cannot_be_read_is_the_callers_fault(case: Case) -> None:
    missing = case.folder / "none.mp4"
    expect(Reason.INVALID_REQUEST, lambda: case.store.upload(missing, case.bucket, "a.mp4"))


def test_many_threads_may_read_and_write(case: Case) -> None:
    def work(number: int) -> bytes:
        source = case.folder / f"{number}.in"
        source.write_bytes(bytes([number]) * 10_000)
        ref = case.store.upload(source, case.bucket, f"{number}.mp4").ref
        case.store.download(ref, case.folder / f"{number}.out")
        return (case.folder / f"{number}.out").read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(16))) == [bytes([n]) * 10_000 for n in range(16)]
