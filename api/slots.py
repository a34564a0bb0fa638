"""How many requests are worked on at a time, so that none waits for a connection with one in hand.

A request holds one connection for its transaction and may want a second for a look of its own. With as many
requests at work as there are pairs of connections, each that has begun can end. The others wait here, where
they hold neither a thread nor a connection.

One tenant has at most half of the turns, so that its slow requests do not stop all others, and waiting
tenants come in turn. Whose key it is, is looked up beside the turns: one who is told to wait is known.
"""

from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.to_thread
from starlette.concurrency import run_in_threadpool

from api.problems import Problem
from fakesieve.reasons import Reason

CONNECTIONS_EACH = 2
STRANGERS = ""
"""Who has not said who they are: together they have the turns of one tenant."""
TALKS = 8
"""Requests that wait for another host at a time, each in a thread of its own."""
_WAIT_S = 15.0
Result = TypeVar("Result")


class Slots:
    """Turns of requests: fair between tenants, first come, first served within one. For one event loop."""

    def __init__(self, connections: int) -> None:
        self.turns = max(1, (connections - 1) // CONNECTIONS_EACH)
        self.turns_each = (self.turns + 1) // 2
        self._looks = anyio.Semaphore(max(1, connections - self.turns * CONNECTIONS_EACH))
        self._talks, self._talkers = anyio.Semaphore(TALKS), anyio.CapacityLimiter(TALKS)
        self._held = dict[str, int]()
        self._waiting = OrderedDict[str, deque[anyio.Event]]()

    @asynccontextmanager
    async def hold(self, tenant_id: str) -> AsyncGenerator[None]:
        """Wait for a turn of a tenant and keep it during the block.

        Raises ``Problem`` (DATABASE_UNAVAILABLE) where none comes in time.
        """
        if not self._take(tenant_id):
            await self._wait(tenant_id)
        try:
            yield
        finally:
            self._give_back(tenant_id)

    async def run(self, work: Callable[[], Result], tenant_id: str) -> Result:
        """Run a function in a thread, with a turn of its own."""
        async with self.hold(tenant_id):
            return await run_in_threadpool(work)

    async def look(self, work: Callable[[], Result], *, is_patient: bool = True) -> Result:
        """Run a short function in a thread that needs one connection, without a turn. Raises as ``hold``.

        Where it is not patient it is refused at once while others look.
        """
        if not is_patient and not self._looks.value:
            raise _refuse()
        try:
            with anyio.fail_after(_WAIT_S):
                await self._looks.acquire()
        except TimeoutError:
            raise _refuse() from None
        try:
            return await run_in_threadpool(work)
        finally:
            self._looks.release()

    async def talk(self, work: Callable[[], Result]) -> Result:
        """Run a function that asks another host and no database, without a turn: nobody else waits for it.

        Raises ``Problem`` (RATE_LIMITED) where too many wait for others already.
        """
        try:
            with anyio.fail_after(_WAIT_S):
                await self._talks.acquire()
        except TimeoutError:
            seen = "too many requests wait for another host"
            raise Problem(Reason.RATE_LIMITED, seen, headers={"Retry-After": "15"}) from None
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._talkers)
        finally:
            self._talks.release()

    def _take(self, tenant_id: str) -> bool:
        held = self._held.get(tenant_id, 0)
        if held >= self.turns_each or sum(self._held.values()) >= self.turns:
            return False
        self._held[tenant_id] = held + 1
        return True

    async def _wait(self, tenant_id: str) -> None:
        """Return with a turn that ``_give_back`` has taken for this one."""
        called = anyio.Event()
        self._waiting.setdefault(tenant_id, deque()).append(called)
        try:
            with anyio.fail_after(_WAIT_S):
                await called.wait()
        except BaseException as fault:  # a caller that leaves cancels its wait
            if called.is_set():  # it was called in the same moment: whoever is next has the turn
                self._give_back(tenant_id)
            else:
                self._forget(tenant_id, called)
            if isinstance(fault, TimeoutError):
                raise _refuse() from None
            raise

    def _give_back(self, tenant_id: str) -> None:
        left = self._held.pop(tenant_id) - 1
        if left:
            self._held[tenant_id] = left
        self._call()

    def _call(self) -> None:
        """Call whoever may work now, one of each tenant before a second of any."""
        for tenant_id in list(self._waiting):
            if self._take(tenant_id):
                called = self._waiting[tenant_id].popleft()
                self._waiting.move_to_end(tenant_id)
                self._drop_empty(tenant_id)
                called.set()

    def _forget(self, tenant_id: str, called: anyio.Event) -> None:
        self._waiting[tenant_id].remove(called)
        self._drop_empty(tenant_id)

    def _drop_empty(self, tenant_id: str) -> None:
        if not self._waiting[tenant_id]:
            del self._waiting[tenant_id]


def _refuse() -> Problem:
    return Problem(Reason.DATABASE_UNAVAILABLE, "too many requests are at work")
