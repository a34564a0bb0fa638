"""Files that are made while they are sent. Each piece takes a turn; while a reader is slow, none is held.

A file that cannot be sent to its end breaks off: the connection is closed before the chunk that ends an
answer, so that no caller takes a part of it for the whole.
"""

import time
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial

import anyio
from fastapi import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from api.problems import BrokenOff, Problem, read_problem
from api.services import Services
from api.waiting import keep_stream
from fakesieve.errors import FleetError
from fakesieve.records.tenants import Caller

PIECE_BYTES = 1 << 18
PROVE_S = 5.0
"""How long pieces are made until it is asked again whether whoever reads them still may."""
FILE_S = 3600.0
"""How long a file may take: a reader who stops in the middle does not keep its place for ever."""
PAUSE = b""
"""A part that says nothing, after which others may have a turn."""


class FileResponse(StreamingResponse):
    """A file of which a part may have been sent when its time is over, however slowly it is read."""

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with anyio.fail_after(FILE_S):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            raise BrokenOff(f"the file was not read within {FILE_S:g} s") from None


def send_file(
    request: Request,
    begin: Callable[[], Iterator[bytes]],
    caller: Caller,
    services: Services,
    *,
    prove: Callable[[], object],
    media_type: str,
    name: str,
) -> StreamingResponse:
    """Answer with a file. It counts as a stream of the tenant until the request is over.

    Args:
        request: that is answered.
        begin: gives the parts, which are made in turns of their own, each with transactions of its own. It
            is called once there is a place, and what it raises is answered.
        caller: whose stream it is.
        services: of the application.
        prove: raises ``Problem`` or ``FleetError`` where the caller may not read on. It is called in a turn
            of its own between two parts, every few seconds.
        media_type: of the file.
        name: under which browsers keep it.

    Raises:
        Problem: RATE_LIMITED where too many are open; then nothing has been asked of the database.
    """
    keep_stream(request, caller, services)
    return FileResponse(
        _give(request, begin(), caller, services, prove),
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _give(
    request: Request,
    parts: Iterator[bytes],
    caller: Caller,
    services: Services,
    prove: Callable[[], object],
) -> AsyncGenerator[bytes]:
    """Yield the file. Raises ``BrokenOff`` where it cannot go on."""
    proved_s = time.monotonic()
    try:
        while True:
            if time.monotonic() - proved_s >= PROVE_S:
                await services.slots.run(prove, caller.tenant_id)
                proved_s = time.monotonic()
            piece = await services.slots.run(partial(_take, parts), caller.tenant_id)
            if piece is None:
                return
            if piece:
                yield piece
    except (Problem, FleetError) as fault:
        problem = read_problem(fault)
        request.state.reason = problem.reason
        raise BrokenOff(f"{problem.reason}: {problem.detail}") from fault


def _take(parts: Iterator[bytes]) -> bytes | None:
    """Return the next parts together, up to a pause or some size; None at the end."""
    taken, size = list[bytes](), 0
    for part in parts:
        taken.append(part)
        size += len(part)
        if part == PAUSE or size >= PIECE_BYTES:
            break
    return b"".join(taken) if taken else None
