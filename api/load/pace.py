"""Sending requests at their due times, whatever the answers take.

A sender that waits for an answer before it sends the next request asks less of a slow API, and never sees
how long those would have waited that it did not send. So the moments are fixed beforehand, and waiting is
counted from them: from when a caller would have wanted to ask.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus

import httpx2

from api.calls.sender import ApiProblem, read_problem
from api.load.mix import Kind, Mix
from api.load.tally import Count, NoAnswer, Unsent, Waits, add_counts
from fakesieve.reasons import Reason

OPEN_MAX = 800
"""Requests that wait for an answer at a time: a process may have 1024 files open in many places."""
LATE_S_MAX = 1.0
"""A request that could not be sent within this time is left out, so that the run ends when it should."""
ON_TIME_MS = 50.0
"""Where one request in a hundred is sent later than this, the sender is what is measured."""
_IDLE_S = 2.0  # servers close what idles for five seconds, and a request that meets that would fail
_TELL_S = 0.5

Tell = Callable[[Collection[Count]], None]


@dataclass(frozen=True)
class Schedule:
    """When requests are due: evenly, the first at once. ``timeout_s`` counts from when one is sent."""

    per_s: float
    duration_s: float
    timeout_s: float

    @property
    def count(self) -> int:
        """Requests that are due before the end, at least one."""
        return max(1, math.ceil(round(self.per_s * self.duration_s, 6)))


@dataclass(frozen=True)
class Course:
    """How a load test went. ``elapsed_s`` goes to the last answer, or to the end where that was later."""

    counts: Mapping[Kind, Count]
    elapsed_s: float
    is_interrupted: bool

    @cached_property
    def whole(self) -> Count:
        """All kinds together."""
        return add_counts(self.counts.values())

    @cached_property
    def late(self) -> Waits:
        """How late the sender was."""
        return Waits.measure(self.whole.late_ms)

    @property
    def is_on_time(self) -> bool:
        """Whether the sender kept the schedule."""
        whole = self.whole
        return not whole.unsent[Unsent.SENDER_LATE] and (self.late.p99_ms or 0.0) <= ON_TIME_MS


class Pacer:
    """Sends a mix by a schedule."""

    def __init__(self, mix: Mix, schedule: Schedule, tell: Tell) -> None:
        """Send nothing yet. ``tell`` is called with the counts so far, twice a second."""
        self._mix, self._schedule, self._tell = mix, schedule, tell
        self._counts = {kind: Count() for kind in Kind}
        self._open = 0

    async def run(self) -> Course:
        """Send all requests and wait for their answers; Ctrl-C ends it before, with what there is by then."""
        loop = asyncio.get_running_loop()
        limits = httpx2.Limits(max_keepalive_connections=OPEN_MAX, keepalive_expiry=_IDLE_S)
        is_interrupted, begin_s = False, loop.time()
        async with httpx2.AsyncClient(limits=limits) as http:
            try:
                await self._warm_up(http)
                begin_s = loop.time()
                await self._send_and_tell(http, begin_s)
            except asyncio.CancelledError:  # so asyncio passes Ctrl-C on, once
                is_interrupted = True
            elapsed_s = loop.time() - begin_s
        whole_s = elapsed_s if is_interrupted else max(elapsed_s, self._schedule.duration_s)
        return Course(self._counts, whole_s, is_interrupted)

    async def _warm_up(self, http: httpx2.AsyncClient) -> None:
        """Send one request that does not count: the first one loads modules, for a tenth of a second."""
        request = self._mix.choose(0)[1]
        # What is wrong with the API is wrong with the next request too, which counts.
        with suppress(TimeoutError, httpx2.RequestError):
            async with asyncio.timeout(self._schedule.timeout_s):
                await http.send(request)

    async def _send_and_tell(self, http: httpx2.AsyncClient, begin_s: float) -> None:
        telling = asyncio.create_task(self._tell_often())
        try:
            async with asyncio.TaskGroup() as group:
                await self._send_all(http, group, begin_s)
        finally:
            telling.cancel()

    async def _send_all(self, http: httpx2.AsyncClient, group: asyncio.TaskGroup, begin_s: float) -> None:
        loop = asyncio.get_running_loop()
        for number in range(self._schedule.count):
            due_s = begin_s + number / self._schedule.per_s
            # Also where it is late already: answers are read meanwhile.
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            kind, request = self._mix.choose(number)
            if loop.time() - due_s > LATE_S_MAX:
                self._counts[kind].unsent[Unsent.SENDER_LATE] += 1
            elif self._open >= OPEN_MAX:
                self._counts[kind].unsent[Unsent.TOO_MANY_OPEN] += 1
            else:
                self._open += 1
                group.create_task(self._ask(http, self._counts[kind], request, due_s))

    async def _ask(
        self, http: httpx2.AsyncClient, count: Count, request: httpx2.Request, due_s: float
    ) -> None:
        """Send one request, once, and note what came of it."""
        loop = asyncio.get_running_loop()
        with self._noting(count):
            count.sent += 1
            count.late_ms.append((loop.time() - due_s) * 1000)
            async with asyncio.timeout(self._schedule.timeout_s):
                answer = await http.send(request)
            if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                count.refused += 1
            elif reason := find_fault(answer):
                count.failed[reason] += 1
            else:
                count.waits_ms.append((loop.time() - due_s) * 1000)

    @contextmanager
    def _noting(self, count: Count) -> Generator[None]:
        """Note that an answer did not come."""
        try:
            yield
        except (TimeoutError, httpx2.TimeoutException):
            count.failed[NoAnswer.TIMEOUT] += 1
        except httpx2.RequestError:
            count.failed[NoAnswer.UNREACHABLE] += 1
        finally:
            self._open -= 1

    async def _tell_often(self) -> None:
        while True:
            self._tell(self._counts.values())
            await asyncio.sleep(_TELL_S)


def find_fault(answer: httpx2.Response) -> Reason | NoAnswer | None:
    """Return the reason of an answer that is no success; None for one that is what was asked for."""
    if not answer.is_success:
        fault = read_problem(answer)
        return fault.reason if isinstance(fault, ApiProblem) else NoAnswer.FOREIGN_ANSWER
    is_ours = answer.headers.get("content-type", "").startswith("application/json")
    return None if is_ours else NoAnswer.FOREIGN_ANSWER
