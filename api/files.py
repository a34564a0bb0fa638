"""Files that are made while they are sent. Each piece takes a turn; while a reader is slow, none is held."""

from collections.abc import AsyncGenerator, Iterator
from functools import partial

from fastapi import Request
from starlette.responses import StreamingResponse

from api.services import Services
from api.waiting import keep_stream
from fakesieve.records.tenants import Caller

PIECE_BYTES = 1 << 18
PAUSE = b""
"""A part that says nothing, after which others may have a turn."""


def send_file(
    request: Request,
    parts: Iterator[bytes],
    caller: Caller,
    services: Services,
    *,
    media_type: str,
    name: str,
) -> StreamingResponse:
    """Answer with a file. ``parts`` are made in turns of their own, each with transactions of its own.

    It counts as a stream of the tenant until the request is over. Raises ``Problem`` (RATE_LIMITED) where
    too many are open.
    """
    keep_stream(request, caller, services)
    return StreamingResponse(
        _give(parts, caller, services),
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _give(parts: Iterator[bytes], caller: Caller, services: Services) -> AsyncGenerator[bytes]:
    while (piece := await services.slots.run(partial(_take, parts), caller.tenant_id)) is not None:
        if piece:
            yield piece


def _take(parts: Iterator[bytes]) -> bytes | None:
    """Return the next parts together, up to a pause or some size; None at the end."""
    taken, size = list[bytes](), 0
    for part in parts:
        taken.append(part)
        size += len(part)
        if part == PAUSE or size >= PIECE_BYTES:
            break
    return b"".join(taken) if taken else None
