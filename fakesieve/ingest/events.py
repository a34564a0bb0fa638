"""Bucket events as they come by queue or HTTP, from whichever store, as one type. Pure.

Known are the notifications of S3 (also inside SNS), EventBridge, MinIO and others that imitate S3, and the
webhook of SeaweedFS. A sender may repeat, reorder and lose events; what follows from that is in ``take.py``.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast
from urllib.parse import unquote_to_bytes

from fakesieve.errors import RequestRefused
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason

BODY_BYTES_MAX = 1 << 20  # SQS and S3 stay below 256 KiB
_CREATED = {"Put", "Post", "Copy", "CompleteMultipartUpload"}
_SEAWEED_INNER = (".uploads", ".system")


class EventKind(StrEnum):
    """What happened to the object."""

    CREATED = "created"
    REMOVED = "removed"


@dataclass(frozen=True)
class ObjectEvent:
    """One object was put somewhere or taken away.

    Of two events of one key the one with the greater ``order`` came later; events without it have no order.
    """

    kind: EventKind
    ref: VideoRef
    order: str | None = None

    def __post_init__(self) -> None:
        if self.order is not None and any(c not in "0123456789abcdef" for c in self.order):
            raise ValueError(f"an order is lower-case hexadecimal, is {self.order!r}")


@dataclass(frozen=True)
class Notification:
    """What one message said. ``n_ignored`` counts what brings no video: tests, tags, folders.

    ``refusals`` are of records that cannot be read, beside others that can: those are still to be acted upon.
    """

    events: tuple[ObjectEvent, ...]
    n_ignored: int = 0
    refusals: tuple[RequestRefused, ...] = ()


def parse_notification(body: bytes | str) -> Notification:
    """Read one message. Raises ``RequestRefused`` with ``INVALID_REQUEST`` where nothing in it is known."""
    return read_notification(_read_json(body))


def read_notification(message: object) -> Notification:
    """Read one message that was JSON. Raises as ``parse_notification`` does."""
    return _parse(message, depth=0)


def keep_latest(events: Iterable[ObjectEvent]) -> list[ObjectEvent]:
    """Return the events without repetitions and without those that a later one of the same key overtook.

    Versions are objects of their own: a later version does not overtake an earlier one. Where the order of a
    deletion and a creation is not known, the creation stays: who acts upon it looks at what lies there, and
    a deletion that was in fact the later one shows then. The other way round an object would be lost.
    """
    kept = dict[tuple[str, str, str | None], ObjectEvent]()
    for event in events:
        place = (event.ref.bucket, event.ref.key, event.ref.version_id)
        before = kept.get(place)
        if before is None or is_overtaken(before, event):
            kept[place] = event
    return list(kept.values())


def is_overtaken(before: ObjectEvent, event: ObjectEvent) -> bool:
    """Whether an event of the same key says all that the one before said.

    Without an order a creation outdoes a deletion, and of two of a kind the one stays that has no order,
    which no other can outdo.
    """
    if event.order is None or before.order is None:
        return event.order is None if event.kind is before.kind else event.kind is EventKind.CREATED
    # S3 sends numbers of different length that are filled up on the right, where its documentation says so.
    length = max(len(event.order), len(before.order))
    return event.order.ljust(length, "0") > before.order.ljust(length, "0")


def _parse(message: object, depth: int) -> Notification:
    """Find out which store speaks."""
    if not isinstance(message, dict):
        raise _refuse("a notification is a JSON object")
    fields = cast("Mapping[str, object]", message)
    if isinstance(fields.get("Records"), list):
        return _parse_records(cast("list[object]", fields["Records"]))
    if "detail-type" in fields:
        return _parse_event_bridge(fields)
    if "event_type" in fields and isinstance(fields.get("message"), dict):
        return _parse_seaweed(fields)
    if fields.get("Type") == "Notification" and depth == 0:
        return _parse(_read_json(_read_text(fields, "Message")), depth=1)
    is_test = fields.get("Event") == "s3:TestEvent"
    if is_test or fields.get("Type") in ("SubscriptionConfirmation", "UnsubscribeConfirmation"):
        return Notification((), 1)
    raise _refuse(f"no notification of a known store; its fields are {sorted(fields)[:8]}")


def _parse_records(records: list[object]) -> Notification:
    """Read S3's own form, which MinIO and Ceph share. A record that cannot be read hides no others."""
    events, refusals = list[ObjectEvent](), list[RequestRefused]()
    for record in records:
        try:
            event = _parse_record(record)
        except RequestRefused as fault:
            refusals.append(fault)
        else:
            events += [] if event is None else [event]
    if refusals and len(refusals) == len(records):
        raise refusals[0]
    return Notification(tuple(events), len(records) - len(events) - len(refusals), tuple(refusals))


def _parse_record(record: object) -> ObjectEvent | None:
    """Read a record of S3, None where it brings no video; keys are written as in an HTML form."""
    kind = _find_kind(_read_text(record, "eventName").removeprefix("s3:"))
    if kind is None:
        return None
    place = _read_object(record, "s3")
    item = _read_object(place, "object")
    key = _decode_key(_read_text(item, "key"))
    if key.endswith("/"):
        return None  # a folder, made by a browser for files
    ref = _make_ref(_read_text(_read_object(place, "bucket"), "name"), key, item, "eTag", "versionId")
    return ObjectEvent(kind, ref, _read_order(item))


def _parse_event_bridge(fields: Mapping[str, object]) -> Notification:
    """Read EventBridge's form; here keys are written plainly."""
    kinds = {"Object Created": EventKind.CREATED, "Object Deleted": EventKind.REMOVED}
    kind = kinds.get(str(fields["detail-type"]))
    if kind is None or fields.get("source") != "aws.s3":
        return Notification((), 1)
    detail = _read_object(fields, "detail")
    item = _read_object(detail, "object")
    key = _read_text(item, "key")
    if key.endswith("/"):
        return Notification((), 1)
    ref = _make_ref(_read_text(_read_object(detail, "bucket"), "name"), key, item, "etag", "version-id")
    return Notification((ObjectEvent(kind, ref, _read_order(item)),))


def _parse_seaweed(fields: Mapping[str, object]) -> Notification:
    """Read the form of SeaweedFS's file system: paths below ``/buckets``, with what was and what is now."""
    message = _read_object(fields, "message")
    path = _read_text(fields, "key")
    after, before = message.get("new_entry"), message.get("old_entry")
    events = list[ObjectEvent]()
    if isinstance(after, dict):
        entry = cast("Mapping[str, object]", after)
        parent = message.get("new_parent_path") or path.rpartition("/")[0]
        events += _read_seaweed_entry(EventKind.CREATED, f"{parent}/{_read_text(entry, 'name')}", entry)
    is_moved = bool(events) and fields["event_type"] == "rename"
    if isinstance(before, dict) and (not isinstance(after, dict) or is_moved):
        events += _read_seaweed_entry(EventKind.REMOVED, path, cast("Mapping[str, object]", before))
    return Notification(tuple(events), 0 if events else 1)


def _read_seaweed_entry(kind: EventKind, path: str, entry: Mapping[str, object]) -> Iterator[ObjectEvent]:
    """Yield the event of an object, and nothing for folders, parts of uploads and the store's own files."""
    root, _, place = path.removeprefix("/").partition("/")
    bucket, _, key = place.partition("/")
    if root != "buckets" or not key or entry.get("is_directory") or bucket.startswith("."):
        return
    if key.partition("/")[0] in _SEAWEED_INNER or ".versions/" in key:
        return
    extended, attributes = entry.get("extended"), entry.get("attributes")
    wanted = dict[str, object]()
    if isinstance(extended, dict):
        coded = cast("Mapping[str, object]", extended).get("Seaweed-X-Amz-ETag")
        wanted["etag"] = _decode_base64(coded) if isinstance(coded, str) else None
    if isinstance(attributes, dict):
        wanted["size"] = cast("Mapping[str, object]", attributes).get("file_size")
    if kind is EventKind.REMOVED:
        wanted = {}
    yield ObjectEvent(kind, _make_ref(bucket, key, wanted, "etag", "version-id"))


def _find_kind(name: str) -> EventKind | None:
    """Return what an event's name means, ``None`` for those that change no bytes, as tags and locks."""
    subject, _, detail = name.partition(":")
    if subject == "ObjectCreated" and detail in _CREATED:
        return EventKind.CREATED
    if subject in ("ObjectRemoved", "LifecycleExpiration"):
        return EventKind.REMOVED
    return None


def _make_ref(
    bucket: str, key: str, item: Mapping[str, object], etag_name: str, version_name: str
) -> VideoRef:
    """Return the reference with as much as the event knows. Raises ``RequestRefused`` where it cannot be."""
    etag, version, size = item.get(etag_name), item.get(version_name), item.get("size")
    try:
        return VideoRef(
            bucket,
            key,
            version_id=version if isinstance(version, str) and version not in ("", "null") else None,
            etag=(etag.strip('"') or None) if isinstance(etag, str) else None,
            size_bytes=size if isinstance(size, int) and not isinstance(size, bool) else None,
        )
    except ValueError as fault:
        raise _refuse(str(fault)) from fault


def _read_order(item: Mapping[str, object]) -> str | None:
    order = item.get("sequencer")
    if not isinstance(order, str):
        return None
    order = order.lower()
    return order if order and all(c in "0123456789abcdef" for c in order) else None


def _decode_key(coded: str) -> str:
    """Undo the coding of a key in a form: '+' is a space, percent signs are bytes of UTF-8."""
    try:
        return unquote_to_bytes(coded.replace("+", " ")).decode()
    except (UnicodeDecodeError, UnicodeEncodeError) as fault:
        raise _refuse(f"the key {coded[:80]!r} is not UTF-8") from fault


def _decode_base64(coded: str) -> str | None:
    try:
        return base64.b64decode(coded, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None


def _read_json(body: bytes | str) -> object:
    if len(body) > BODY_BYTES_MAX:
        raise _refuse(f"a notification has at most {BODY_BYTES_MAX} bytes, has {len(body)}")
    try:
        return cast("object", json.loads(body))
    except (ValueError, RecursionError) as fault:
        raise _refuse(f"no JSON: {fault}") from fault


def _read_object(fields: object, name: str) -> Mapping[str, object]:
    value = cast("Mapping[str, object]", fields).get(name) if isinstance(fields, dict) else None
    if not isinstance(value, dict):
        raise _refuse(f"the field {name!r} is missing or is no object")
    return cast("Mapping[str, object]", value)


def _read_text(fields: object, name: str) -> str:
    value = cast("Mapping[str, object]", fields).get(name) if isinstance(fields, dict) else None
    if not isinstance(value, str):
        raise _refuse(f"the field {name!r} is missing or is no text")
    return value


def _refuse(seen: str) -> RequestRefused:
    hint = "send bucket notifications of S3, EventBridge, MinIO or SeaweedFS as they are"
    return RequestRefused(Reason.INVALID_REQUEST, seen, hint)
