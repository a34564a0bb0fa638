"""JSON as requests bring it, read strictly: what one reader understands otherwise than another is refused."""

import json
import math
from typing import cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from typing_extensions import override

from api.problems import Problem
from fakesieve.reasons import Reason
from fakesieve.texts import is_storable

INTEGER_MAX = 2**63 - 1
_TYPES = ("application/json",)
_AT_ONCE_BYTES = 64 << 10


class StrictRequest(Request):
    """A request whose body is read by :func:`read_json`."""

    @override
    async def json(self) -> object:
        body = await self.body()
        if len(body) <= _AT_ONCE_BYTES:
            return read_json(body)
        return await run_in_threadpool(read_json, body)  # for up to a second; others are answered meanwhile


def check_content_type(header: str) -> None:
    """Raise ``Problem`` (UNSUPPORTED_MEDIA_TYPE) for a body that is not JSON in UTF-8."""
    kind, _, parameters = header.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() not in _TYPES or charset not in ("", "utf-8", "utf8"):
        raise Problem(Reason.UNSUPPORTED_MEDIA_TYPE, f"the body is sent as {header[:100]!r}")


def read_json(body: bytes) -> object:
    """Return what a body says. Raises ``Problem`` (INVALID_REQUEST) for anything that is no plain JSON.

    Refused are names that stand twice in an object, NaN and numbers without end, integers that 64 bits do
    not hold, text that no store can keep, and nesting beyond what Python's reader follows.
    """
    try:
        return cast(
            "object",
            json.loads(
                body.decode(),
                object_pairs_hook=_read_object,
                parse_constant=_refuse_constant,
                parse_int=_read_integer,
                parse_float=_read_float,
            ),
        )
    except UnicodeDecodeError as fault:
        raise _refuse(f"byte {fault.start} is not UTF-8") from fault
    except json.JSONDecodeError as fault:
        raise _refuse(f"no JSON: {fault.msg} at letter {fault.pos}") from fault
    except RecursionError as fault:
        raise _refuse("it is nested too deeply") from fault
    except ValueError as fault:
        raise _refuse(str(fault)) from fault


def _read_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {name[:100]!r} stands twice in an object")
        _check_text(name)
        _check_texts(value)
        found[name] = value
    return found


def _check_texts(value: object) -> None:
    """Check the texts of a value; objects within have been checked when they were read."""
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, list):
        for each in cast("list[object]", value):
            _check_texts(each)


def _check_text(text: str) -> None:
    if not is_storable(text):
        raise ValueError("a text holds NUL or half of a character")


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def _read_integer(digits: str) -> int:
    if len(digits) > 20 or not -INTEGER_MAX <= int(digits) <= INTEGER_MAX:
        raise ValueError(f"the integer {digits[:30]} does not fit into 64 bits")
    return int(digits)


def _read_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:30]} is without end")
    return number


def _refuse(seen: str) -> Problem:
    return Problem(Reason.INVALID_REQUEST, f"the body cannot be read: {seen}")
