"""Pages of lists: ``page_size``, ``page_token`` and ``next_page_token``.

A page begins behind a position, the sort key of the last line of the page before, and never at a number of
lines: rows that come in meanwhile neither double nor hide a line. A token is the position, signed, and bound
to the tenant, the list, its filter and its order; with any of them changed it is refused.

    @router.get("/v1/jobs")
    def list_(page: PageQuery, caller: CallerDep, session: Transaction, state: JobState | None = None):
        query = page.bind(caller, "jobs", {"state": state})
        lines = list_jobs(session, state=state, before=_read(query.position), limit=page.limit)
        return query.make(Page[JobOut], lines, write_job, lambda line: [line.create_time.isoformat()])

Ask for ``page.limit`` lines, which is one more than the page holds: the one too many says that more follow.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, Literal, TypeVar, cast

from fastapi import Depends, Query, Request

from api.dependencies import get_services
from api.problems import Problem
from api.schemas.shape import Answer
from fakesieve.reasons import Reason
from fakesieve.records.tenants import Caller

PAGE_SIZE, PAGE_SIZE_MAX = 50, 500
TOKEN_LETTERS_MAX = 2000
_MAC_BYTES = 16

Key = str | int | float | bool | None
"""A part of a position. Times are written with ``isoformat``."""
Line = TypeVar("Line")
Item = TypeVar("Item")


class Page(Answer, Generic[Item]):
    """Some lines of a list, and the token of those that follow; null at the end."""

    object: Literal["list"] = "list"
    data: list[Item]
    next_page_token: str | None = None


@dataclass(frozen=True)
class BoundPage:
    """A page of one list. ``position`` is the key of the line before it; None is the beginning."""

    size: int
    position: tuple[Key, ...] | None
    binding: str
    token_key: bytes

    def make(
        self,
        shape: type[Page[Item]],
        lines: Sequence[Line],
        write: Callable[[Line], Item],
        key: Callable[[Line], Sequence[Key]],
    ) -> Page[Item]:
        """Return the page of at most ``size + 1`` lines: ``write`` makes an item, ``key`` its position."""
        shown = lines[: self.size]
        has_more = len(lines) > self.size
        token = sign_token(self.token_key, key(shown[-1]), self.binding) if has_more else None
        return shape(data=[write(line) for line in shown], next_page_token=token)


@dataclass(frozen=True)
class PageRequest:
    """What a caller asks for. ``limit`` is how many lines to read."""

    size: int
    token: str | None
    token_key: bytes

    @property
    def limit(self) -> int:
        """Lines to read: one more than the page holds."""
        return self.size + 1

    def bind(self, caller: Caller, name: str, query: Mapping[str, Key] | None = None) -> BoundPage:
        """Read the token for a list of this name, filter and order. Raises ``Problem`` for a wrong one."""
        asked = {k: v for k, v in (query or {}).items() if v is not None}
        binding = json.dumps([caller.tenant_id, name, asked], sort_keys=True)
        position = None if self.token is None else read_token(self.token_key, self.token, binding)
        return BoundPage(self.size, position, binding, self.token_key)


async def read_page(
    request: Request,
    page_size: Annotated[
        int, Query(ge=1, description=f"Lines of a page; more than {PAGE_SIZE_MAX} is taken as that.")
    ] = PAGE_SIZE,
    page_token: Annotated[
        str | None,
        Query(max_length=TOKEN_LETTERS_MAX, description="next_page_token of the page before, unchanged."),
    ] = None,
) -> PageRequest:
    """Return the page that a query asks for."""
    return PageRequest(min(page_size, PAGE_SIZE_MAX), page_token, get_services(request).token_key)


PageQuery = Annotated[PageRequest, Depends(read_page)]


def sign_token(key: bytes, position: Sequence[Key], binding: str) -> str:
    """Return a position as an opaque text that only we can have made, for one list alone."""
    body = json.dumps(list(position), allow_nan=False, separators=(",", ":")).encode()
    return _spell(_sign(key, body, binding) + body)


def read_token(key: bytes, token: str, binding: str) -> tuple[Key, ...]:
    """Return the position within a token; ``Problem`` (INVALID_PAGE_TOKEN) where we have not made it so."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as fault:
        raise _refuse() from fault
    if _spell(raw) != token:  # base64 has other spellings of the same bytes
        raise _refuse()
    mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _sign(key, body, binding)):
        raise _refuse()
    return tuple(cast("list[Key]", json.loads(body)))


def _spell(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _sign(key: bytes, body: bytes, binding: str) -> bytes:
    bound = hashlib.sha256(binding.encode()).digest()
    return hmac.digest(key, b"fakesieve page token" + bound + body, "sha256")[:_MAC_BYTES]


def _refuse() -> Problem:
    return Problem(Reason.INVALID_PAGE_TOKEN, "page_token is not one of ours for this list, filter and order")
