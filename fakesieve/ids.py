"""Public ids: a prefix that names the noun and 26 characters that sort by the time they were made.

The characters are a UUIDv7 (RFC 9562) in Crockford's base32, lower case: its digits sort in ASCII as the
numbers do, and it leaves out the letters that people misread (i, l, o, u).
"""

import secrets
import time
from enum import StrEnum
from uuid import UUID

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_LENGTH = 26
_NS_PER_MS = 1_000_000


class IdPrefix(StrEnum):
    """What an id names."""

    TENANT = "ten"
    API_KEY = "key"
    VIDEO = "vid"
    SOURCE = "src"
    BATCH = "bat"
    JOB = "job"
    ANALYSIS = "ana"
    TRACK = "trk"
    VERDICT = "ver"
    MODEL = "mdl"
    POLICY = "pol"
    WEBHOOK = "whk"
    EVENT = "evt"
    EXPORT = "exp"
    HOST = "hst"
    UPLOAD = "upl"
    USER = "usr"
    QUEUE = "que"
    REVIEW = "rev"
    DECISION = "dec"
    CALIBRATION = "cal"
    DELIVERY = "dlv"
    ERASURE = "era"
    NOTE = "nte"
    VIEW = "viw"


def new_id(prefix: IdPrefix) -> str:
    """Return a new id, such as ``job_01jd8v3w9q4v7k2m5x8r0t6y1z``; later ids sort after earlier ones."""
    return f"{prefix}_{_encode(_make_uuid7(time.time_ns()).int)}"


def new_id_at(prefix: IdPrefix, time_ms: int) -> str:
    """Return a new id that tells a time, in milliseconds since 1970; the part of the millisecond is drawn."""
    time_ns = time_ms * _NS_PER_MS + secrets.randbelow(_NS_PER_MS)
    return f"{prefix}_{_encode(_make_uuid7(time_ns).int)}"


def read_time_ms(text: str, prefix: IdPrefix) -> int:
    """Return when an id was made, in milliseconds since 1970. Raises ValueError for none of this kind."""
    return parse_id(text, prefix).int >> 80


def parse_id(text: str, prefix: IdPrefix) -> UUID:
    """Return the UUID within an id, or raise ``ValueError`` that says what was expected."""
    head, mark, tail = text.partition("_")
    number = _decode(tail)
    if not mark or head != prefix or number is None:
        raise ValueError(f"{text!r} is not an id of the form {prefix}_ and {_LENGTH} characters")
    return UUID(int=number)


def _make_uuid7(time_ns: int) -> UUID:
    """Return a UUIDv7 whose 12 bits after the version hold the fraction of the millisecond."""
    time_ms, fraction_ns = divmod(time_ns, _NS_PER_MS)
    fraction = (fraction_ns << 12) // _NS_PER_MS
    return UUID(int=time_ms << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62))


def _encode(number: int) -> str:
    return "".join(_DIGITS[number >> 5 * place & 31] for place in reversed(range(_LENGTH)))


def _decode(text: str) -> int | None:
    if len(text) != _LENGTH or any(digit not in _VALUES for digit in text):
        return None
    number = 0
    for digit in text:
        number = number << 5 | _VALUES[digit]
    return number if number < 1 << 128 else None
