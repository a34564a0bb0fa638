"""S3 over a way that fails: each fault made by a proxy in front of a real server."""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.errors import FleetError, SourceRefused, Unavailable
from fakesieve.object_stores.retries import CircuitRule, RetryRule
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.flaky_s3 import Fault, FlakyS3, Kind
from tests.waiting import PATIENCE_S, wait_until

BODY = bytes(range(256)) * 1200  # 300 KiB: ten pieces
PART = 5 << 20
FAST = RetryRule(first_pause_s=0.02, pause_max_s=0.05, missing_pauses_s=(0.05, 0.05, 0.05))
# For who waits half a second alone: on a busy machine an answer that nobody holds up may take longer, too.
OFTEN = replace(FAST, tries=1000, within_s=PATIENCE_S)


@dataclass(frozen=True)
class Way:
    """The server reached directly and through the proxy, with a bucket and a folder of one's own."""

    proxy: FlakyS3
    direct: S3Objects
    flaky: S3Objects
    hasty: S3Objects  # as flaky, but it waits for half a second where that waits for minutes
    bucket: str
    folder: Path

    def put(self, key: str = "a.mp4", body: bytes = BODY) -> VideoRef:
        source = self.folder.with_name("source.bin")
        source.write_bytes(body)
        return self.direct.upload(source, self.bucket, key).ref

    def ref(self, key: str = "a.mp4") -> VideoRef:
        return VideoRef(self.bucket, key)

    def get(self, ref: VideoRef | None = None, store: S3Objects | None = None) -> bytes:
        target = self.folder / "here"
        done = (store or self.flaky).download(ref or self.ref(), target)
        body = target.read_bytes()
        assert done.sha256 == hashlib.sha256(body).hexdigest()
        return body


def make_store(endpoint: str, server: SeaweedServer, retry: RetryRule = FAST, **options: float) -> S3Objects:
    patient = {"read_timeout_s": PATIENCE_S, "base_s": PATIENCE_S}
    chosen = S3Options(endpoint, server.access_key, server.secret_key, part_bytes=PART, **(patient | options))
    return S3Objects(chosen, retry=retry, circuit=CircuitRule(failures=max(50, retry.tries)))


@pytest.fixture(scope="module")
def stores(s3: SeaweedServer) -> Iterator[tuple[FlakyS3, S3Objects, S3Objects, S3Objects]]:
    with FlakyS3(s3.endpoint) as proxy:
        patient = S3Objects(S3Options(s3.endpoint, s3.access_key, s3.secret_key, part_bytes=PART))
        yield (
            proxy,
            patient,
            make_store(proxy.endpoint, s3),
            make_store(proxy.endpoint, s3, OFTEN, read_timeout_s=0.5),
        )


@pytest.fixture
def way(stores: tuple[FlakyS3, S3Objects, S3Objects, S3Objects], tmp_path: Path) -> Iterator[Way]:
    proxy, direct, flaky, hasty = stores
    bucket = f"flaky-{uuid.uuid4().hex[:12]}"
    direct.make_bucket(bucket)
    folder = tmp_path / "local"
    folder.mkdir()
    proxy.seen.clear()
    yield Way(proxy, direct, flaky, hasty, bucket, folder)
    proxy.heal()
    left = [path.name for path in folder.iterdir() if path.name != "here"]
    assert left == [], "a part was left behind"


def expect(reason: Reason, call: Callable[[], object]) -> FleetError:
    with pytest.raises(FleetError) as caught:
        call()
    assert caught.value.reason is reason
    return caught.value


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (502, "")])
def test_a_busy_store_is_asked_again(way: Way, status: int, code: str) -> None:
    way.put()
    with way.proxy.failing(Fault(Kind.STATUS, status=status, code=code, count=3)):
        assert way.get() == BODY
    assert way.proxy.count("GET", way.bucket) == 4


def test_a_store_that_does_not_know_versions_has_none(way: Way) -> None:
    way.put()
    with way.proxy.failing(Fault(Kind.STATUS, path_part="versions", status=501, code="NotImplemented")):
        assert list(way.flaky.list_versions(way.ref())) == []
    with way.proxy.failing(Fault(Kind.STATUS, path_part="versions", status=403, code="AccessDenied")):
        expect(Reason.SOURCE_ACCESS_DENIED, lambda: list(way.flaky.list_versions(way.ref())))


def test_a_store_that_stays_busy_gives_the_work_back(way: Way) -> None:
    way.put()
    with way.proxy.failing(Fault(Kind.STATUS)):
        fault = expect(Reason.OBJECT_STORE_UNAVAILABLE, way.get)
    assert isinstance(fault, Unavailable)
    assert way.proxy.count("GET", way.bucket) == 5
    assert way.get() == BODY


def test_a_connection_that_is_closed_is_made_again(way: Way) -> None:
    way.put()
    with way.proxy.failing(Fault(Kind.RESET, count=2)):
        assert way.get() == BODY


def test_a_cut_body_goes_on_where_it_broke_off(way: Way) -> None:
    way.put()
    with way.proxy.failing(Fault(Kind.TRUNCATE, count=2)):
        assert way.get() == BODY
    ranges = [seen.range for seen in way.proxy.list_seen(way.bucket) if seen.method == "GET"]
    assert ranges[0] is None
    assert all(asked and asked.startswith("bytes=") for asked in ranges[1:])
    assert len(ranges) == 3


def test_a_body_that_is_always_cut_never_becomes_a_file(way: Way) -> None:
    way.put()
    with way.proxy.failing(Fault(Kind.TRUNCATE, at=0.0)):
        expect(Reason.OBJECT_STORE_UNAVAILABLE, way.get)
    assert not (way.folder / "here").exists()


def test_a_body_cut_with_a_matching_length_is_found_by_its_hash(way: Way) -> None:
    way.put()
    with way.proxy.failing(Fault(Kind.SHORTEN, count=2)):
        assert way.get() == BODY


def test_a_cut_body_of_a_pinned_object_is_found_by_its_size(way: Way) -> None:
    pinned = way.put()
    with way.proxy.failing(Fault(Kind.SHORTEN, count=2)):
        assert way.get(pinned) == BODY
    with way.proxy.failing(Fault(Kind.SHORTEN)):
        expect(Reason.OBJECT_STORE_UNAVAILABLE, lambda: way.get(pinned))


@pytest.mark.parametrize("at", [0.0, 0.5, 0.999])
def test_a_flipped_bit_is_found_and_read_again(way: Way, at: float) -> None:
    way.put()
    with way.proxy.failing(Fault(Kind.FLIP, at=at, count=2)):
        assert way.get() == BODY


def test_bits_that_stay_flipped_are_told_as_a_corrupt_object(way: Way) -> None:
    way.put()
    with way.proxy.failing(Fault(Kind.FLIP)):
        fault = expect(Reason.CORRUPT, way.get)
    assert isinstance(fault, SourceRefused)
    assert not (way.folder / "here").exists()


def test_a_flipped_bit_in_an_object_of_parts_is_found(way: Way) -> None:
    body = BODY * 20
    ref = way.put("big.mp4", body)
    assert ref.etag is not None
    assert ref.etag.endswith("-2")
    with way.proxy.failing(Fault(Kind.FLIP, at=0.9, count=1)):
        assert way.get(ref) == body


def test_a_stalled_body_is_left_after_the_read_time_out(way: Way) -> None:
    way.put()
    start_s = time.monotonic()
    with way.proxy.failing(Fault(Kind.STALL, count=1)):
        assert way.get(store=way.hasty) == BODY
    assert 0.5 <= time.monotonic() - start_s < PATIENCE_S


def test_a_body_that_drips_is_given_up(way: Way, s3: SeaweedServer) -> None:
    way.put()
    store = make_store(way.proxy.endpoint, s3, read_timeout_s=0.5)
    with way.proxy.failing(Fault(Kind.SLOW, rate=60_000)):
        expect(Reason.OBJECT_STORE_UNAVAILABLE, lambda: way.get(store=store))


def test_the_whole_transfer_has_a_limit_by_size(way: Way, s3: SeaweedServer) -> None:
    way.put()
    hurried = make_store(way.proxy.endpoint, s3, base_s=0.3, min_bytes_per_s=1 << 20)
    with way.proxy.failing(Fault(Kind.SLOW, rate=200_000)):
        fault = expect(
            Reason.OBJECT_STORE_UNAVAILABLE, lambda: hurried.download(way.ref(), way.folder / "here")
        )
    assert "too slow" in fault.seen
    assert way.proxy.count("GET", way.bucket) == 1


def test_objects_that_stall_do_not_close_the_store_for_others(way: Way, s3: SeaweedServer) -> None:
    way.put("stalls.mp4")
    way.put("fine.mp4")
    # An answer that is late on a busy machine is a failure of the store. Two in a row would close it.
    options = S3Options(way.proxy.endpoint, s3.access_key, s3.secret_key, read_timeout_s=2.0)
    store = S3Objects(
        options, retry=FAST, circuit=CircuitRule(failures=2, pause_s=PATIENCE_S, pause_max_s=PATIENCE_S)
    )
    with way.proxy.failing(Fault(Kind.STALL, path_part="stalls", count=2)):
        assert way.get(way.ref("stalls.mp4"), store) == BODY
        assert way.get(way.ref("fine.mp4"), store) == BODY
    with way.proxy.failing(Fault(Kind.STATUS, count=2)):
        expect(
            Reason.OBJECT_STORE_UNAVAILABLE, lambda: way.get(way.ref("fine.mp4"), store)
        )  # it is closed now


def test_one_slow_object_does_not_hold_up_the_others(way: Way) -> None:
    way.put("slow.mp4")
    way.put("quick.mp4", b"quick")
    stall = Fault(Kind.STALL, path_part="slow", count=1)
    with way.proxy.failing(stall), ThreadPoolExecutor(1) as pool:
        slow = pool.submit(way.get, way.ref("slow.mp4"))
        wait_until(lambda: stall.n_done)
        for _ in range(10):
            assert way.flaky.read_range(way.ref("quick.mp4"), 0, 5) == b"quick"
        assert not slow.done()
        stall.is_over.set()
        assert slow.result() == BODY


def test_an_object_replaced_between_two_pieces_is_never_mixed(way: Way) -> None:
    way.put()
    other = bytes(len(BODY))
    swap = Fault(Kind.CALL, call=lambda: way.put(body=other), count=1, on_ranges=True)
    with way.proxy.failing(swap), way.proxy.failing(Fault(Kind.TRUNCATE, count=1)):
        expect(Reason.SOURCE_CHANGED, way.get)
    assert swap.n_done == 1
    assert not (way.folder / "here").exists()


def test_an_object_replaced_after_it_was_seen_is_refused(way: Way) -> None:
    pinned = way.put()
    with way.proxy.failing(Fault(Kind.CALL, call=lambda: way.put(body=b"other"), count=1)):
        expect(Reason.SOURCE_CHANGED, lambda: way.get(pinned))


def test_an_object_that_shows_late_is_waited_for(way: Way) -> None:
    way.put()
    with way.proxy.failing(Fault(Kind.STATUS, status=404, code="NoSuchKey", count=3)):
        assert way.get() == BODY


def test_an_object_that_never_shows_is_not_found(way: Way) -> None:
    with way.proxy.failing(Fault(Kind.STATUS, status=404, code="NoSuchKey")):
        expect(Reason.SOURCE_NOT_FOUND, way.get)
    assert way.proxy.count("GET", way.bucket) == 4


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "AccessDenied", Reason.SOURCE_ACCESS_DENIED),
        (403, "InvalidObjectState", Reason.SOURCE_ARCHIVED),
        (412, "PreconditionFailed", Reason.SOURCE_CHANGED),
    ],
)
def test_final_answers_are_not_asked_for_again(way: Way, status: int, code: str, reason: Reason) -> None:
    way.put()
    with way.proxy.failing(Fault(Kind.STATUS, status=status, code=code)):
        expect(reason, way.get)
        expect(reason, lambda: way.flaky.read_range(way.ref(), 0, 10))
    assert way.proxy.count("GET", way.bucket) == 2


def test_a_wrong_secret_is_the_machines_fault(way: Way, s3: SeaweedServer) -> None:
    way.put()
    stranger = S3Objects(S3Options(s3.endpoint, s3.access_key, "wrong"), retry=FAST)
    fault = expect(Reason.OBJECT_STORE_UNAVAILABLE, lambda: stranger.read_range(way.ref(), 0, 1))
    assert "FAKESIEVE_S3_SECRET_KEY" in fault.hint


def test_a_wrong_secret_is_the_machines_fault_for_a_head_too(way: Way, s3: SeaweedServer) -> None:
    way.put()
    stranger = S3Objects(S3Options(s3.endpoint, s3.access_key, "wrong"), retry=FAST)
    fault = expect(Reason.OBJECT_STORE_UNAVAILABLE, lambda: stranger.head(way.ref()))
    assert isinstance(fault, Unavailable)
    assert "SignatureDoesNotMatch" in fault.seen
    assert "FAKESIEVE_S3_SECRET_KEY" in fault.hint


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("RequestTimeTooSkewed", Reason.OBJECT_STORE_UNAVAILABLE),
        ("ExpiredToken", Reason.OBJECT_STORE_UNAVAILABLE),
        ("AccessDenied", Reason.SOURCE_ACCESS_DENIED),
    ],
)
def test_a_head_that_is_denied_means_what_a_get_is_told(way: Way, code: str, reason: Reason) -> None:
    pinned = way.put()
    for ref in (way.ref(), pinned):
        way.proxy.seen.clear()
        with way.proxy.failing(Fault(Kind.STATUS, method="*", status=403, code=code)):
            fault = expect(reason, lambda ref=ref: way.flaky.head(ref))
        assert f"the store answered 403 {code}" in fault.seen
        assert [seen.method for seen in way.proxy.list_seen(way.bucket)] == ["HEAD", "GET"]
        assert way.proxy.list_seen(way.bucket)[1].range == "bytes=0-0"


def test_a_head_alone_that_is_denied_is_asked_once_more(way: Way) -> None:
    pinned = way.put()
    with way.proxy.failing(Fault(Kind.STATUS, method="HEAD", status=403, count=1)):
        assert way.flaky.head(way.ref()).ref == pinned
    with way.proxy.failing(Fault(Kind.STATUS, method="HEAD", status=403)):
        expect(Reason.SOURCE_ACCESS_DENIED, lambda: way.flaky.head(way.ref()))
    way.put("empty.mp4", b"")
    with way.proxy.failing(Fault(Kind.STATUS, method="HEAD", status=403)):
        expect(Reason.SOURCE_ACCESS_DENIED, lambda: way.flaky.head(way.ref("empty.mp4")))


def test_a_refusal_that_nobody_knows_is_the_objects_while_its_bucket_answers(way: Way) -> None:
    ways = (
        lambda: way.flaky.head(way.ref("../x")),
        lambda: way.get(way.ref("../x")),
        lambda: way.flaky.read_range(way.ref("../x"), 0, 9),
    )
    for ask in ways:
        way.proxy.seen.clear()
        fault = expect(Reason.SOURCE_NOT_FOUND, ask)
        assert "../x: the store answered 400" in fault.seen
        assert (
            len(way.proxy.list_seen(way.bucket)) <= 3
        )  # the object once, its bucket once, and once by the library itself
    way.put()
    for _ in range(60):  # more than close the circuit where they count as an outage
        expect(Reason.SOURCE_NOT_FOUND, ways[0])
    assert way.get() == BODY


def test_a_refusal_that_the_bucket_meets_too_is_the_machines(way: Way) -> None:
    way.put()
    with way.proxy.failing(Fault(Kind.STATUS, method="*", status=400, code="Odd")):
        fault = expect(Reason.OBJECT_STORE_UNAVAILABLE, way.get)
        assert isinstance(fault, Unavailable)
        assert "a.mp4: the store answered 400" in fault.seen


def test_a_store_that_is_not_there_is_told(way: Way) -> None:
    nowhere = S3Objects(S3Options("http://127.0.0.1:9", "key", "secret"), retry=FAST)
    fault = expect(Reason.OBJECT_STORE_UNAVAILABLE, lambda: nowhere.head(way.ref()))
    assert "FAKESIEVE_S3_ENDPOINT" in fault.hint


@pytest.mark.parametrize("kind", [Kind.TRUNCATE, Kind.SHORTEN, Kind.STALL])
def test_a_range_is_whole_or_read_again(way: Way, kind: Kind) -> None:
    way.put()
    store = way.hasty if kind is Kind.STALL else way.flaky
    with way.proxy.failing(Fault(kind, count=1)):
        assert store.read_range(way.ref(), 100, 200_000) == BODY[100:200_000]


@pytest.mark.parametrize("size_bytes", [1000, 2 * PART + 17])
def test_an_upload_goes_on_through_faults(way: Way, size_bytes: int) -> None:
    source = way.folder.with_name("up.bin")
    source.write_bytes(bytes(range(251)) * (size_bytes // 251 + 1))
    way.proxy.add(Fault(Kind.STATUS, method="PUT", count=2))
    way.proxy.add(Fault(Kind.RESET, method="POST", count=1))
    facts = way.flaky.upload(source, way.bucket, "up.mp4", content_type="video/mp4")
    way.proxy.heal()
    assert facts.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert facts.content_type == "video/mp4"
    way.direct.download(facts.ref, way.folder / "here")
    assert (way.folder / "here").read_bytes() == source.read_bytes()


def test_an_upload_in_parts_that_fails_is_given_up_whole(way: Way) -> None:
    source = way.folder.with_name("up.bin")
    source.write_bytes(bytes(PART + 1))
    with way.proxy.failing(Fault(Kind.STATUS, method="PUT", path_part="partNumber=2")):
        expect(Reason.OBJECT_STORE_UNAVAILABLE, lambda: way.flaky.upload(source, way.bucket, "up.mp4"))
    assert way.proxy.count("DELETE", way.bucket) == 1, "the parts were dropped"
    assert list(way.direct.list_objects(way.bucket)) == []


def test_a_lost_answer_to_the_end_of_an_upload_does_no_harm(way: Way) -> None:
    source = way.folder.with_name("up.bin")
    source.write_bytes(bytes(PART + 1))
    with way.proxy.failing(Fault(Kind.TRUNCATE, method="POST", path_part="uploadId", at=0.0, count=1)):
        facts = way.flaky.upload(source, way.bucket, "up.mp4")
    assert facts.size_bytes == PART + 1
