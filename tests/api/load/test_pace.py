"""Requests leave when they are due, whatever the answers take, and what came of each is counted once."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice

import httpx2
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from api.load import pace
from api.load.mix import Kind, Mix
from api.load.pace import Course, Pacer, Schedule
from api.load.tally import Count, NoAnswer, Unsent, Waits
from api.problems import Problem, install_problems
from api.schemas.keys import RateOut
from fakesieve.reasons import Reason
from tests.api.served import serve_app
from tests.waiting import PATIENCE_S


class StandIn:
    """A server that is as slow as a test wants, and counts the requests that came to be held."""

    def __init__(self) -> None:
        self.url, self.held_count = "", 0
        self.may_answer = threading.Event()
        self.app = FastAPI()
        install_problems(self.app)
        for name in ("at_once", "held", "never", "refused", "broken", "page", "other"):
            self.app.get(f"/{name}", response_model=None)(getattr(self, name))

    async def at_once(self) -> Response:
        return JSONResponse({})

    async def held(self) -> Response:
        """Answer the first of all at once, as it does not count, and the others when they may be."""
        self.held_count += 1
        while self.held_count > 1 and not self.may_answer.is_set():
            await asyncio.sleep(0.01)
        return JSONResponse({})

    async def never(self, request: Request) -> Response:
        while not await request.is_disconnected():
            await asyncio.sleep(0.01)
        return JSONResponse({})

    async def refused(self) -> Response:
        return JSONResponse({}, 429)

    async def broken(self) -> Response:
        raise Problem(Reason.DATABASE_UNAVAILABLE, "away")

    async def page(self) -> Response:
        return HTMLResponse("<p>Sign in first")

    async def other(self) -> Response:
        return JSONResponse({"error": "bad gateway"}, 502)


@pytest.fixture
def server() -> Iterator[StandIn]:
    stand_in = StandIn()
    with serve_app(stand_in.app) as url:
        stand_in.url = url
        yield stand_in


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing out that is sent late: a busy machine may stand still for seconds."""
    monkeypatch.setattr(pace, "LATE_S_MAX", PATIENCE_S)


@dataclass(frozen=True)
class Watched(Mix):
    """Requests of which each is told of by its number just before it is sent, the first one twice."""

    note: Callable[[int], None] = lambda _: None

    def choose(self, number: int) -> tuple[Kind, httpx2.Request]:
        self.note(number)
        return super().choose(number)


def run(
    schedule: Schedule,
    *urls: str,
    tell: Callable[[Collection[Count]], None] = lambda _: None,
    note: Callable[[int], None] = lambda _: None,
) -> Course:
    requests = dict(zip(Kind, [(httpx2.Request("GET", url),) for url in urls], strict=False))
    mix = Watched(requests, {}, RateOut(burst=1, per_s=1), note)
    return asyncio.run(Pacer(mix, schedule, tell).run())


def test_requests_leave_whatever_answers_take_and_waiting_counts_from_when_each_was_due(
    server: StandIn, lenient: None
) -> None:
    """Whoever waited for an answer would never send the last request, before which none comes."""

    def note(number: int) -> None:
        if number == 39:
            server.may_answer.set()

    course = run(Schedule(20, 2, timeout_s=PATIENCE_S), f"{server.url}/held", note=note)
    whole = course.whole
    assert (whole.sent, whole.answered, server.held_count) == (40, 40, 41)
    # Number n of 40 is due after n / 20 s, and answered after 39 / 20 s at the earliest.
    for number, wait_ms in enumerate(sorted(whole.waits_ms)):
        assert 50 * number - 1 < wait_ms <= 1000 * course.elapsed_s
    assert min(whole.late_ms) > -1
    assert course.elapsed_s > 1.949


def test_what_came_of_each_request_is_counted_once(server: StandIn, lenient: None) -> None:
    names = ("at_once", "refused", "broken")
    course = run(Schedule(30, 1, timeout_s=PATIENCE_S), *(f"{server.url}/{name}" for name in names))
    silent = run(Schedule(10, 1, timeout_s=0.5), f"{server.url}/never")
    counts = [*islice(course.counts.values(), len(names)), silent.whole]
    seen = [(c.sent, c.answered, c.refused, dict(c.failed), c.open) for c in counts]
    assert seen == [
        (10, 10, 0, {}, 0),
        (10, 0, 10, {}, 0),
        (10, 0, 0, {Reason.DATABASE_UNAVAILABLE: 10}, 0),
        (10, 0, 0, {NoAnswer.TIMEOUT: 10}, 0),
    ]
    assert (course.whole.sent, course.whole.failed.total()) == (30, 10)


def test_answers_of_others_and_none_are_told_apart(server: StandIn, lenient: None) -> None:
    course = run(
        Schedule(30, 1, timeout_s=PATIENCE_S),
        *(f"{server.url}/page", f"{server.url}/other", "http://127.0.0.1:1/"),
    )
    assert [dict(count.failed) for count in course.counts.values()] == [
        {NoAnswer.FOREIGN_ANSWER: 10},
        {NoAnswer.FOREIGN_ANSWER: 10},
        {NoAnswer.UNREACHABLE: 10},
        {},
    ]
    assert Waits.measure(course.whole.waits_ms).p50_ms is None


def test_a_sender_that_is_late_says_so(server: StandIn, lenient: None) -> None:
    course = run(
        Schedule(50, 1, timeout_s=PATIENCE_S), f"{server.url}/at_once", tell=lambda _: time.sleep(0.3)
    )
    assert not course.is_on_time
    assert (course.late.p99_ms or 0) > 150
    assert (course.whole.sent, course.whole.answered) == (50, 50)


def test_what_could_not_be_sent_for_long_is_left_out(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender stands still for two seconds, by whose end twenty are due for more than one."""
    pauses = [pace.LATE_S_MAX + 1.0]

    def note(number: int) -> None:
        if number == 20:  # from here on no standstill of this machine counts
            monkeypatch.setattr(pace, "LATE_S_MAX", PATIENCE_S)

    course = run(
        Schedule(20, 2, timeout_s=PATIENCE_S),
        f"{server.url}/at_once",
        tell=lambda _: time.sleep(pauses.pop() if pauses else 0),
        note=note,
    )
    whole = course.whole
    assert dict(whole.unsent) == {Unsent.SENDER_LATE: 20}
    assert (whole.sent, whole.answered) == (20, 20)
    assert not course.is_on_time


def test_only_so_many_wait_at_a_time(server: StandIn, lenient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "OPEN_MAX", 3)

    def note(number: int) -> None:
        if number == 19:
            server.may_answer.set()

    course = run(Schedule(20, 1, timeout_s=PATIENCE_S), f"{server.url}/held", note=note)
    assert (course.whole.sent, dict(course.whole.unsent)) == (3, {Unsent.TOO_MANY_OPEN: 17})
    assert (course.whole.answered, server.held_count) == (3, 4)


def test_progress_tells_what_is_known_so_far(
    server: StandIn, lenient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "_TELL_S", 0.0)  # whenever anything else has had its turn
    seen = list[tuple[int, int]]()
    course = run(
        Schedule(100, 0.3, timeout_s=PATIENCE_S),
        f"{server.url}/at_once",
        tell=lambda counts: seen.append((sum(c.sent for c in counts), sum(c.answered for c in counts))),
    )
    assert len(set(seen)) >= 3
    assert seen == sorted(seen)
    assert seen[-1] <= (course.whole.sent, course.whole.answered) == (30, 30)


def tell_course(*late_ms: float, unsent: int = 0) -> Course:
    count = Count(sent=len(late_ms), unsent=Counter({Unsent.SENDER_LATE: unsent}))
    count.late_ms.extend(late_ms)
    return Course({Kind.JOBS: count}, 1.0, is_interrupted=False)


def test_one_in_a_hundred_may_be_late() -> None:
    late = pace.ON_TIME_MS + 1
    assert tell_course(*[1.0] * 99, late).is_on_time
    assert not tell_course(*[1.0] * 98, late, late).is_on_time
    assert not tell_course(*[1.0] * 99, unsent=1).is_on_time
    assert tell_course().is_on_time


@pytest.mark.parametrize(
    ("per_s", "duration_s", "count"), [(20, 60, 1200), (0.1, 1, 1), (0.3, 10, 3), (2.5, 3, 8), (0.1, 30, 3)]
)
def test_as_many_are_due_as_fit_into_the_time(per_s: float, duration_s: float, count: int) -> None:
    assert Schedule(per_s, duration_s, timeout_s=1).count == count
