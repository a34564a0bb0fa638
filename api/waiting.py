"""Waiting for something to change: long polls and server-sent events.

These routes are the only ones that are coroutines. A waiting one holds neither a thread nor a connection:
every so often it reads in a short transaction of its own. How many a tenant may have open is limited.
"""

import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import TypeVar, cast

import anyio
from fastapi import Request
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from api.dependencies import doubt_key, is_proved
from api.problems import Problem, describe_problem, read_problem
from api.services import Services
from fakesieve.errors import FleetError
from fakesieve.reasons import Reason
from fakesieve.records.tenants import Caller

WAIT_S_MAX = 60
STREAM_S = 900.0
_LOOK_S, _LOOK_S_MAX, _PAUSES_A_LOOK = 0.5, 10.0, 9
_KEEP_ALIVE_S = 15.0
EVENT_STREAM = "text/event-stream"
EVENTS = "Events `progress`, then `done`; `problem` where it ends for good before that"

Shape = TypeVar("Shape", bound=BaseModel)


async def wait_for(
    request: Request,
    caller: Caller,
    services: Services,
    read: Callable[[], Shape],
    is_done: Callable[[Shape], bool],
    wait_s: float,
) -> Shape:
    """Return what is read once it is done, or whatever it is when the time is over or the caller gone.

    ``read`` begins its transaction with the request's own ``LookUps`` or ``Transactions``. Raises ``Problem``
    (UNAUTHENTICATED) at the next look where the key has ended meanwhile.
    """
    found = await services.slots.run(read, caller.tenant_id)
    if wait_s <= 0 or is_done(found):
        return found
    end_s = time.monotonic() + min(wait_s, WAIT_S_MAX)
    look, pace = partial(_look_again, request, caller, services, read), Pace()
    with hold_stream(caller, services):
        while not is_done(found) and time.monotonic() < end_s and not await request.is_disconnected():
            await anyio.sleep(min(pace.pause_s, max(0.0, end_s - time.monotonic())))
            with pace.measure():
                found = await look()
    return found


async def _look_again(
    request: Request, caller: Caller, services: Services, read: Callable[[], Shape]
) -> Shape:
    """Read once more; the transaction of that asks first whether the key still is."""
    doubt_key(request)
    found = await services.slots.run(read, caller.tenant_id)
    assert is_proved(request), "what is read again begins its transaction with LookUps or Transactions"
    return found


class Pace:
    """How often to look: the longer a look takes, the longer the pause before the next one.

    So whoever waits for a large batch, whose jobs are counted at each look, makes at most a tenth of the work
    that one connection can do.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self.pause_s = clock, _LOOK_S

    @contextmanager
    def measure(self) -> Generator[None]:
        """Set the pause after the look that the block makes."""
        begin_s = self._clock()
        yield
        self.pause_s = min(_LOOK_S_MAX, max(_LOOK_S, _PAUSES_A_LOOK * (self._clock() - begin_s)))


@contextmanager
def hold_stream(caller: Caller, services: Services) -> Generator[None]:
    """Count one more open stream of the tenant. Raises ``Problem`` (RATE_LIMITED) at the limit."""
    streams = services.limits.streams
    # One step under a lock: of many that come at once exactly as many are let in as there are places.
    if not streams.enter(caller.tenant_id):
        seen = f"{streams.limit} streams and long polls are open already"
        raise Problem(Reason.RATE_LIMITED, seen, headers={"Retry-After": "5"})
    services.metrics.streams.inc()
    try:
        yield
    finally:
        services.metrics.streams.dec()
        streams.leave(caller.tenant_id)


def keep_stream(request: Request, caller: Caller, services: Services) -> None:
    """Count one more open stream from here until the request is over, however it ends. Raises as above.

    The framework closes this stack once the answer was sent, and just as well where it could not be, where
    the caller left before its first byte or where it was never begun.
    """
    stack = cast("AsyncExitStack", request.scope["fastapi_inner_astack"])
    stack.enter_context(hold_stream(caller, services))


async def stream_changes(
    request: Request,
    caller: Caller,
    services: Services,
    read: Callable[[], Shape],
    is_done: Callable[[Shape], bool],
) -> StreamingResponse:
    """Answer with an event ``progress`` for each change and one ``done``; then the stream ends.

    The first reading is done here, so that what is not there is a problem and no stream. A stream ends
    after a quarter of an hour in any case; the browser's EventSource opens it again by itself. One that
    would be refused for good if it was opened again, as where its key has ended or its job was erased, ends
    with an event ``problem`` that says why. ``read`` is as in :func:`wait_for`.
    """
    first = await services.slots.run(read, caller.tenant_id)
    keep_stream(request, caller, services)
    return StreamingResponse(
        _give_changes(request, first, partial(_look_again, request, caller, services, read), is_done),
        media_type=EVENT_STREAM,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _give_changes(
    request: Request, first: Shape, look: Callable[[], Awaitable[Shape]], is_done: Callable[[Shape], bool]
) -> AsyncGenerator[str]:
    found, begin_s, pace = first, time.monotonic(), Pace()
    yield "retry: 2000\n" + write_event("done" if is_done(found) else "progress", found)
    told_s = begin_s
    while not is_done(found) and time.monotonic() - begin_s < STREAM_S:
        await anyio.sleep(pace.pause_s)
        try:
            with pace.measure():
                now = await look()
        except (FleetError, Problem) as fault:
            if not fault.reason.is_retryable:  # else the caller opens it again, and it may go on
                yield write_event("problem", describe_problem(request, read_problem(fault)))
            return
        if now != found:
            found, told_s = now, time.monotonic()
            yield write_event("done" if is_done(found) else "progress", found)
        elif time.monotonic() - told_s > _KEEP_ALIVE_S:
            told_s = time.monotonic()
            yield ": still here\n\n"


def write_event(name: str, shape: BaseModel) -> str:
    """Return one event. JSON has no line breaks, so its data is one line."""
    return f"event: {name}\ndata: {json.dumps(shape.model_dump(mode='json'), separators=(',', ':'))}\n\n"
