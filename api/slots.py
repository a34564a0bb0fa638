"""How many requests are worked on at a time, so that none waits for a connection with one in hand.

A request holds one connection for its transaction and may want a second for a look of its own. With as many
requests at work as there are pairs of connections, each that has begun can end. The others wait here, where
they hold neither a thread nor a connection.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
from starlette.concurrency import run_in_threadpool

from api.problems import Problem
from fakesieve.reasons import Reason

CONNECTIONS_EACH = 2
_WAIT_S = 15.0
Result = TypeVar("Result")


class Slots:
    """Turns of requests, first come, first served."""

    def __init__(self, connections: int) -> None:
        self._free = anyio.Semaphore(max(1, connections // CONNECTIONS_EACH))

    @asynccontextmanager
    async def hold(self) -> AsyncGenerator[None]:
        """Wait for a turn and keep it during the block. Raises ``Problem`` where none comes in time."""
        try:
            with anyio.fail_after(_WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            raise Problem(Reason.DATABASE_UNAVAILABLE, "too many requests are at work") from None
        try:
            yield
        finally:
            self._free.release()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run a function in a thread, with a turn of its own."""
        async with self.hold():
            return await run_in_threadpool(work)
