"""Messages in the broker's queues that no relay of ours wrote, and what becomes of them.

Whoever can write to the broker can put anything there: pickles, garbage, ten megabytes. Kombu and Celery take
some of that in their stride and end the whole worker at other, so each message is looked at before either of
them reads it. What is none of ours is dropped and counted. Nothing is lost by that: a doorbell only says that
there is work, and the reconciler has it rung again as long as the database says so.
"""

import base64
import binascii
import json
from enum import StrEnum
from typing import cast

from celery.utils.dispatch import Signal

from fakesieve.ids import IdPrefix, parse_id
from fakesieve.logging import get_logger
from workers.tasks import MESSAGE_VERSION, TASKS

_log = get_logger(__name__)

BODY_CHARS_MAX = 4096  # ours have about 200
SHARD_MAX = 1 << 31  # exclusive: the index is a column of four bytes


class Fault(StrEnum):
    """Why a message is none of ours."""

    NOT_JSON = "not_json"
    MALFORMED = "malformed"
    CONTENT_TYPE = "content_type"
    TOO_LONG = "too_long"
    UNKNOWN_TASK = "unknown_task"
    VERSION = "version"  # of another release: the reconciler has it rung again in the right form
    ARGUMENTS = "arguments"


# Sent for every message that was dropped, with ``fault``.
message_refused = Signal(name="message_refused", providing_args={"fault"})


def find_fault(raw: object) -> Fault | None:
    """Return what keeps a message, as parsed from the broker, from being a doorbell of ours, or None."""
    if not isinstance(raw, dict):
        return Fault.MALFORMED
    message = cast("dict[str, object]", raw)
    headers, properties, body = message.get("headers"), message.get("properties"), message.get("body")
    if not isinstance(headers, dict) or not isinstance(properties, dict) or not isinstance(body, str):
        return Fault.MALFORMED
    if message.get("content-type") != "application/json" or message.get("content-encoding") != "utf-8":
        return Fault.CONTENT_TYPE
    if len(body) > BODY_CHARS_MAX:
        return Fault.TOO_LONG
    return _find_fault_within(cast("dict[str, object]", headers), cast("dict[str, object]", properties), body)


def _find_fault_within(headers: dict[str, object], properties: dict[str, object], body: str) -> Fault | None:
    has_names = all(isinstance(value, str) for value in (headers.get("id"), properties.get("delivery_tag")))
    # A time to wait for, or a body that has to be unpacked, is nothing that a relay asks for.
    asks_more = any(headers.get(name) is not None for name in ("eta", "expires", "compression"))
    if not has_names or asks_more or properties.get("body_encoding") != "base64":
        return Fault.MALFORMED
    if not isinstance(properties.get("delivery_info"), dict):
        return Fault.MALFORMED
    if headers.get("task") not in TASKS:
        return Fault.UNKNOWN_TASK
    try:
        _, arguments, _ = json.loads(base64.b64decode(body, validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        return Fault.MALFORMED
    return _find_fault_of_arguments(arguments)


def _find_fault_of_arguments(arguments: object) -> Fault | None:
    if not isinstance(arguments, dict):
        return Fault.ARGUMENTS
    found = cast("dict[str, object]", arguments)
    if found.get("v") != MESSAGE_VERSION:
        return Fault.VERSION
    job, shard = found.get("job"), found.get("shard")
    if set(found) != {"v", "job", "shard"} or not isinstance(job, str):
        return Fault.ARGUMENTS
    try:
        parse_id(job, IdPrefix.JOB)
    except ValueError:
        return Fault.ARGUMENTS
    return None if type(shard) is int and 0 <= shard < SHARD_MAX else Fault.ARGUMENTS


def refuse(fault: Fault) -> None:
    """Say that a message was dropped. Nothing that it holds goes to the log."""
    _log.warning("broker.message_refused", fault=fault)
    message_refused.send(sender=None, fault=fault)
