"""Bucket events of four stores as one type; whatever is sent, the answer is events or a refusal."""

import base64
import json
from contextlib import suppress
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakesieve.errors import RequestRefused
from fakesieve.ingest.events import (
    BODY_BYTES_MAX,
    EventKind,
    Notification,
    ObjectEvent,
    keep_latest,
    parse_notification,
)
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason

ETAG = "d41d8cd98f00b204e9800998ecf8427e"
CREATED, REMOVED = EventKind.CREATED, EventKind.REMOVED


def s3_record(key: str, name: str = "ObjectCreated:Put", **item: object) -> dict[str, object]:
    fields = {"key": key, "size": 1024, "eTag": ETAG, "sequencer": "0055AED6DCD90281E5"} | item
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": name,
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": "clips"}, "object": fields},
    }


def s3_body(*records: dict[str, object]) -> str:
    return json.dumps({"Records": list(records)})


def bridge_body(key: str, detail_type: str = "Object Created", **item: object) -> str:
    detail = {"bucket": {"name": "clips"}, "object": {"key": key, "size": 5, "etag": ETAG} | item}
    return json.dumps({"version": "0", "detail-type": detail_type, "source": "aws.s3", "detail": detail})


def seaweed_entry(name: str, **fields: object) -> dict[str, object]:
    return {
        "name": name,
        "attributes": {"file_size": 50, "mtime": 1795248910, "mime": "video/mp4"},
        "extended": {"Seaweed-X-Amz-ETag": base64.b64encode(ETAG.encode()).decode()},
    } | fields


def seaweed_body(kind: str, key: str, **message: object) -> str:
    return json.dumps({"event_type": kind, "key": key, "message": message})


def only(body: str | bytes) -> ObjectEvent:
    (event,) = parse_notification(body).events
    return event


def test_a_put_on_s3() -> None:
    event = only(s3_body(s3_record("a.mp4", versionId="v1")))
    assert event == ObjectEvent(CREATED, VideoRef("clips", "a.mp4", "v1", ETAG, 1024), "0055aed6dcd90281e5")


@pytest.mark.parametrize(
    ("coded", "key"),
    [
        ("My+Clip+%281%29.mp4", "My Clip (1).mp4"),
        ("a%2Bb.mp4", "a+b.mp4"),
        ("100%25.mp4", "100%.mp4"),
        ("%C3%BC/%E6%97%A5.mp4", "ü/日.mp4"),
        ("folder/a.mp4", "folder/a.mp4"),
    ],
)
def test_keys_of_s3_are_coded_as_in_a_form(coded: str, key: str) -> None:
    assert only(s3_body(s3_record(coded))).ref.key == key


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=80))
def test_any_key_survives_its_coding(key: str) -> None:
    if not key.endswith("/"):
        assert only(s3_body(s3_record(quote_plus(key)))).ref.key == key
        assert only(bridge_body(key)).ref.key == key


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ObjectCreated:Put", CREATED),
        ("ObjectCreated:Post", CREATED),
        ("ObjectCreated:Copy", CREATED),
        ("ObjectCreated:CompleteMultipartUpload", CREATED),
        ("s3:ObjectCreated:Put", CREATED),
        ("ObjectRemoved:Delete", REMOVED),
        ("ObjectRemoved:DeleteMarkerCreated", REMOVED),
        ("s3:ObjectRemoved:Delete", REMOVED),
        ("LifecycleExpiration:Delete", REMOVED),
    ],
)
def test_events_that_change_bytes(name: str, kind: EventKind) -> None:
    assert only(s3_body(s3_record("a.mp4", name))).kind is kind


@pytest.mark.parametrize(
    "name",
    ["ObjectTagging:Put", "ObjectCreated:PutRetention", "s3:ObjectAccessed:Get", "ObjectRestore:Completed"],
)
def test_events_that_change_no_bytes_are_passed_over(name: str) -> None:
    assert parse_notification(s3_body(s3_record("a.mp4", name))) == Notification((), 1)


def test_folders_are_no_videos() -> None:
    assert parse_notification(s3_body(s3_record("folder/"))) == Notification((), 1)
    assert parse_notification(bridge_body("folder/")) == Notification((), 1)


def test_the_test_event_of_s3_is_passed_over() -> None:
    body = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "clips"})
    assert parse_notification(body) == Notification((), 1)


def test_a_notification_inside_one_of_sns() -> None:
    wrapped = json.dumps({"Type": "Notification", "Message": s3_body(s3_record("a.mp4"))})
    assert only(wrapped).ref.key == "a.mp4"
    confirm = json.dumps({"Type": "SubscriptionConfirmation", "SubscribeURL": "https://example.com"})
    assert parse_notification(confirm) == Notification((), 1)


def test_keys_of_event_bridge_stand_as_they_are() -> None:
    event = only(bridge_body("My+Clip %41.mp4", **{"version-id": "v2", "sequencer": "0A"}))
    assert event == ObjectEvent(CREATED, VideoRef("clips", "My+Clip %41.mp4", "v2", ETAG, 5), "0a")
    assert only(bridge_body("a.mp4", "Object Deleted")).kind is REMOVED
    assert parse_notification(bridge_body("a.mp4", "Object Tags Added")) == Notification((), 1)


def test_the_form_of_minio() -> None:
    record = s3_record("a%20b.mp4", "s3:ObjectCreated:Put", contentType="video/mp4", versionId="null")
    body = json.dumps({"EventName": "s3:ObjectCreated:Put", "Key": "clips/a b.mp4", "Records": [record]})
    assert only(body).ref == VideoRef("clips", "a b.mp4", None, ETAG, 1024)


def test_the_form_of_seaweedfs() -> None:
    parent, path = "/buckets/clips/dir", "/buckets/clips/dir/a b+c%.mp4"
    new = seaweed_body("create", path, new_entry=seaweed_entry("a b+c%.mp4"), new_parent_path=parent)
    ref = VideoRef("clips", "dir/a b+c%.mp4", None, ETAG, 50)
    assert only(new) == ObjectEvent(CREATED, ref)
    gone = seaweed_body("delete", path, old_entry=seaweed_entry("a b+c%.mp4"))
    assert only(gone) == ObjectEvent(REMOVED, ref.loosen())
    both = {"old_entry": seaweed_entry("a b+c%.mp4"), "new_entry": seaweed_entry("a b+c%.mp4")}
    assert only(seaweed_body("update", path, **both, new_parent_path=parent)).kind is CREATED


def test_a_move_on_seaweedfs_is_two_events() -> None:
    body = seaweed_body(
        "rename",
        "/buckets/clips/old.mp4",
        old_entry=seaweed_entry("old.mp4"),
        new_entry=seaweed_entry("new.mp4"),
        new_parent_path="/buckets/clips/dir",
    )
    found = [(event.kind, event.ref.key) for event in parse_notification(body).events]
    assert found == [(CREATED, "dir/new.mp4"), (REMOVED, "old.mp4")]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/buckets/clips/dir", {"is_directory": True}),
        ("/buckets/.system/owners/x", {}),
        ("/buckets/clips/.uploads/abc/0001.part", {}),
        ("/etc/iam/identity.json", {}),
        ("/buckets/clips", {}),
    ],
)
def test_the_own_files_of_seaweedfs_are_passed_over(path: str, fields: dict[str, object]) -> None:
    parent, _, name = path.rpartition("/")
    body = seaweed_body("create", path, new_entry=seaweed_entry(name, **fields), new_parent_path=parent)
    assert parse_notification(body) == Notification((), 1)


def refused(body: str | bytes) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        parse_notification(body)
    assert caught.value.reason is Reason.INVALID_REQUEST
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        "",
        "nonsense",
        "[]",
        "null",
        "{}",
        b"\xff\xfe\xfd",
        '{"Records": [1]}',
        '{"Records": [{"eventName": "ObjectCreated:Put"}]}',
        '{"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": 7}}}]}',
        "[" * 100_000,
        '{"Type": "Notification"}',
        '{"Type": "Notification", "Message": "{\\"Type\\": \\"Notification\\", \\"Message\\": \\"{}\\"}"}',
        s3_body(s3_record("%FF.mp4")),
        s3_body(s3_record("a%00b.mp4")),
        s3_body(s3_record("x" * 1025)),
        s3_body(s3_record("a.mp4", size=-1)),
        '{"detail-type": "Object Created", "source": "aws.s3", "detail": []}',
    ],
)
def test_what_is_no_notification_is_refused(body: str | bytes) -> None:
    refused(body)


def test_a_record_that_cannot_be_read_leaves_the_others() -> None:
    body = s3_body(s3_record("%FF.mp4"), s3_record("a.mp4"), s3_record("folder/"))
    found = parse_notification(body)
    assert ([event.ref.key for event in found.events], found.n_ignored) == (["a.mp4"], 1)
    (refusal,) = found.refusals
    assert refusal.reason is Reason.INVALID_REQUEST


def test_a_bucket_that_cannot_be_is_refused() -> None:
    record = s3_record("a.mp4")
    record["s3"]["bucket"]["name"] = "../etc"  # type: ignore[index] - a dict of dicts
    refused(s3_body(record))


def test_a_message_larger_than_any_store_sends_is_refused_unread() -> None:
    assert str(BODY_BYTES_MAX) in refused("x" * (BODY_BYTES_MAX + 1)).seen


FIELD_NAMES = (
    *("Records", "s3", "object", "bucket", "name", "key", "eventName", "detail", "detail-type", "source"),
    *("event_type", "message", "new_entry", "old_entry", "Type", "Message", "eTag", "size"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELD_NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_gives_events_or_a_refusal(message: object) -> None:
    with suppress(RequestRefused):
        assert isinstance(parse_notification(json.dumps(message)), Notification)


@given(st.binary(max_size=200))
def test_any_bytes_give_events_or_a_refusal(body: bytes) -> None:
    with suppress(RequestRefused):
        assert isinstance(parse_notification(body), Notification)


def event(kind: EventKind, key: str, order: str | None, version: str | None = None) -> ObjectEvent:
    return ObjectEvent(kind, VideoRef("clips", key, version), order)


EVENTS = st.lists(
    st.builds(
        event,
        st.sampled_from(EventKind),
        st.sampled_from(["a", "b"]),
        st.integers(1, 2**70).map(lambda number: f"{number:x}"),
        st.sampled_from([None, "v1"]),
    ),
    unique_by=lambda one: (one.order or "").ljust(32, "0"),
    max_size=12,
)


@given(EVENTS, st.randoms())
def test_the_latest_event_wins_in_whatever_order_they_come(events: list[ObjectEvent], random: object) -> None:
    shuffled = list(events) + list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined] - hypothesis gives a Random
    kept = keep_latest(shuffled)
    assert set(kept) == set(keep_latest(events))
    places = [(one.ref.key, one.ref.version_id) for one in kept]
    assert len(places) == len(set(places))
    for one in kept:
        same = [e for e in events if (e.ref.key, e.ref.version_id) == (one.ref.key, one.ref.version_id)]
        assert one.order == max((e.order or "" for e in same), key=lambda order: order.ljust(32, "0"))


def test_a_delete_after_a_put_leaves_nothing_to_take() -> None:
    put, gone = event(CREATED, "a", "01"), event(REMOVED, "a", "02")
    assert keep_latest([gone, put]) == [gone]
    assert keep_latest([put, gone]) == [gone]


def test_orders_of_different_length_are_filled_up_on_the_right() -> None:
    early, late = event(CREATED, "a", "0a1"), event(REMOVED, "a", "0b")
    assert keep_latest([late, early]) == [late]


@pytest.mark.parametrize(("put_order", "gone_order"), [(None, None), ("01", None), (None, "02")])
def test_without_an_order_a_creation_is_always_looked_at(
    put_order: str | None, gone_order: str | None
) -> None:
    put, gone = event(CREATED, "a", put_order), event(REMOVED, "a", gone_order)
    assert keep_latest([put, gone]) == [put]
    assert keep_latest([gone, put]) == [put]


@given(st.permutations([event(CREATED, "a", None), event(CREATED, "a", "01"), event(REMOVED, "a", "02")]))
def test_a_creation_without_an_order_outlives_events_with_one(events: list[ObjectEvent]) -> None:
    assert keep_latest(events) == [event(CREATED, "a", None)]


def test_versions_do_not_overtake_each_other() -> None:
    first, second = event(CREATED, "a", "01", "v1"), event(CREATED, "a", "02", "v2")
    assert set(keep_latest([second, first])) == {first, second}
