"""Requests leave when they are due, whatever the answers take, and what came of each is counted once."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, Response

from api.load import pace
from api.load.mix import Kind, Mix
from api.load.pace import Course, Pacer, Schedule
from api.load.tally import Count, NoAnswer, Unsent, Waits
from api.problems import Problem, install_problems
from api.schemas.keys import RateOut
from fakesieve.reasons import Reason
from tests.api.served import serve_app

WORK_S = 0.1


class StandIn:
    """A server that is as slow as a test wants, and knows when each request came."""

    def __init__(self) -> None:
        self.url, self.came_s = "", list[float]()
        self._busy = asyncio.Lock()
        self.app = FastAPI()
        install_problems(self.app)
        for name in ("at_once", "in_turn", "never", "refused", "broken", "page", "other"):
            self.app.get(f"/{name}", response_model=None)(getattr(self, name))

    async def at_once(self) -> Response:
        self.came_s.append(time.monotonic())
        return JSONResponse({})

    async def in_turn(self) -> Response:
        """Work on one request after the other."""
        self.came_s.append(time.monotonic())
        async with self._busy:
            await asyncio.sleep(WORK_S)
        return JSONResponse({})

    async def never(self) -> Response:
        await asyncio.sleep(3)
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


def run(
    schedule: Schedule,
    *urls: str,
    tell: Callable[[Collection[Count]], None] = lambda _: None,
) -> Course:
    requests = dict(zip(Kind, [(httpx2.Request("GET", url),) for url in urls], strict=False))
    return asyncio.run(Pacer(Mix(requests, {}, RateOut(burst=1, per_s=1)), schedule, tell).run())


def test_requests_leave_on_time_and_waiting_counts_from_then(server: StandIn) -> None:
    """Ten answers a second for twenty requests: whoever waits for answers would see 100 ms each."""
    course = run(Schedule(20, 2, timeout_s=10), f"{server.url}/in_turn")
    (_, first, *_, last), whole = server.came_s, course.whole  # the first of all does not count
    assert (whole.sent, whole.answered, len(server.came_s)) == (40, 40, 41)
    assert 1.5 < last - first < 3  # and not 3.9 s, as the answers took
    # Number n of 40 is due after (n - 1) / 20 s and not done before n / 10 s; a busy machine adds to that.
    waits = Waits.measure(whole.waits_ms)
    assert (waits.p50_ms or 0) > 1000
    assert (waits.max_ms or 0) > 2000
    assert course.elapsed_s > 3.9


def test_what_came_of_each_request_is_counted_once(server: StandIn) -> None:
    names = ("at_once", "refused", "never", "broken")
    course = run(Schedule(40, 1, timeout_s=1.5), *(f"{server.url}/{name}" for name in names))
    seen = [(c.sent, c.answered, c.refused, dict(c.failed), c.open) for c in course.counts.values()]
    assert seen == [
        (10, 10, 0, {}, 0),
        (10, 0, 10, {}, 0),
        (10, 0, 0, {NoAnswer.TIMEOUT: 10}, 0),
        (10, 0, 0, {Reason.DATABASE_UNAVAILABLE: 10}, 0),
    ]
    assert course.whole.failed.total() == 20


def test_answers_of_others_and_none_are_told_apart(server: StandIn) -> None:
    course = run(
        Schedule(30, 1, timeout_s=2), f"{server.url}/page", f"{server.url}/other", "http://127.0.0.1:1/"
    )
    assert [dict(count.failed) for count in course.counts.values()] == [
        {NoAnswer.FOREIGN_ANSWER: 10},
        {NoAnswer.FOREIGN_ANSWER: 10},
        {NoAnswer.UNREACHABLE: 10},
        {},
    ]
    assert Waits.measure(course.whole.waits_ms).p50_ms is None


def test_a_sender_that_is_late_says_so(server: StandIn) -> None:
    course = run(Schedule(50, 1, timeout_s=5), f"{server.url}/at_once", tell=lambda _: time.sleep(0.3))
    assert not course.is_on_time
    assert (course.late.p99_ms or 0) > 150
    assert (course.whole.sent, course.whole.answered) == (50, 50)


def test_what_could_not_be_sent_for_long_is_left_out(server: StandIn) -> None:
    pauses = [0.0, pace.LATE_S_MAX + 1.0]

    def block(_: Collection[Count]) -> None:
        time.sleep(pauses.pop(0) if pauses else 0)

    course = run(Schedule(20, 2, timeout_s=5), f"{server.url}/at_once", tell=block)
    whole = course.whole
    assert 15 <= whole.unsent[Unsent.SENDER_LATE] <= 32
    assert (whole.sent + whole.unsent.total(), whole.answered) == (40, whole.sent)
    assert not course.is_on_time


def test_only_so_many_wait_at_a_time(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "OPEN_MAX", 3)
    course = run(Schedule(20, 1, timeout_s=2), f"{server.url}/never")
    assert (course.whole.sent, dict(course.whole.unsent)) == (3, {Unsent.TOO_MANY_OPEN: 17})
    assert dict(course.whole.failed) == {NoAnswer.TIMEOUT: 3}


def test_progress_tells_what_is_known_so_far(server: StandIn) -> None:
    seen = list[tuple[int, int]]()
    course = run(
        Schedule(20, 1.5, timeout_s=2),
        f"{server.url}/at_once",
        tell=lambda counts: seen.append((sum(c.sent for c in counts), sum(c.answered for c in counts))),
    )
    assert len(seen) >= 3
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
