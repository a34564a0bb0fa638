"""Sending requests: with the key, with an idempotency key, and again where that can help."""

import json
import random
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar
from uuid import uuid4

import httpx2
from pydantic import BaseModel, ValidationError
from typing_extensions import override

from api.schemas.problems import ProblemDocument
from fakesieve.errors import FleetError, Unavailable
from fakesieve.reasons import Reason

Shape = TypeVar("Shape", bound=BaseModel)
Query = Mapping[str, str | int | float | None]
_PAUSE_S, _PAUSE_S_MAX = 0.5, 30.0
_PATIENCE_S = 120.0  # an API that asks for a longer pause than this is not waited for
_GATEWAY = frozenset({502, 503, 504})


class ApiProblem(FleetError):
    """The API refused or failed. ``reason`` is of the closed list; ``problem`` has the rest.

    ``pause_s`` is how long to wait at least before another try, None where none can help.
    """

    def __init__(self, problem: ProblemDocument, pause_s: float | None = None) -> None:
        super().__init__(problem.reason, problem.detail, problem.hint)
        self.problem, self.pause_s = problem, pause_s

    @override
    def __reduce__(self) -> tuple[type["ApiProblem"], tuple[object, ...]]:
        return (type(self), (self.problem, self.pause_s))


class ApiUnreachable(Unavailable):
    """There was no answer, or one that is not of this API, after every try. ``pause_s`` as ``ApiProblem``."""

    pause_s: float | None = None


class StillRunning(Unavailable):
    """The time of a wait is over and the job or batch has not ended; it goes on."""


class Sender:
    """One key at one API, and how patient it is."""

    def __init__(
        self,
        url: str,
        key: str,
        http: httpx2.Client,
        *,
        tries: int,
        sleep: Callable[[float], None],
    ) -> None:
        self.url, self.http, self.tries = url, http, tries
        self._headers = {"Authorization": f"Bearer {key}"}
        self._sleep = sleep

    def get(self, path: str, shape: type[Shape], query: Query | None = None) -> Shape:
        """Return what a GET answers."""
        return read_shape(shape, self.send("GET", path, query=query).json())

    def post(
        self, path: str, shape: type[Shape], body: object = None, idempotency_key: str | None = None
    ) -> Shape:
        """Return what a POST answers; it is done once, however often it has to be sent."""
        key = {"Idempotency-Key": idempotency_key or str(uuid4())}
        return read_shape(shape, self.send("POST", path, body=body, headers=key).json())

    def pages(self, path: str, shape: type[Shape], query: Query | None = None) -> Iterator[Shape]:
        """Yield what a list holds, page after page."""
        token: str | None = None
        while True:
            page = self.send("GET", path, query={**(query or {}), "page_token": token}).json()
            for each in page["data"]:
                yield read_shape(shape, each)
            token = page.get("next_page_token")
            if token is None:
                return

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Send a request until it is answered, refused for good, or tried often enough."""
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        request = self.http.build_request(
            method,
            self.url + path,
            params=asked or None,
            json=body,
            headers={**self._headers, **(headers or {})},
        )
        for trial in range(1, self.tries + 1):
            answer = self._try(request)
            if isinstance(answer, httpx2.Response):
                return answer
            if trial == self.tries or answer.pause_s is None or answer.pause_s > _PATIENCE_S:
                raise answer
            self.pause(trial, answer.pause_s)
        raise AssertionError("the last try either returns or raises")

    def _try(self, request: httpx2.Request) -> httpx2.Response | ApiProblem | ApiUnreachable:
        """Send once; gives the answer or the fault."""
        try:
            answer = self.http.send(request)
        except httpx2.TransportError as fault:
            words = str(fault) or type(fault).__name__
            return unreachable(f"{self.url} cannot be reached: {words}", pause_s=0.0)
        return answer if answer.is_success else read_problem(answer)

    def pause(self, trial: int, asked_s: float = 0.0) -> None:
        """Wait after a try: as long as the API asks, else longer each time, spread at random."""
        self._sleep(choose_pause(trial, asked_s))

    def read_events(self, path: str) -> Generator[tuple[str, object]]:
        """Yield name and data of server-sent events until the connection ends. Raises as ``send``."""
        with self.open(path) as answer:
            name = ""
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)

    @contextmanager
    def open(self, path: str, query: Query | None = None) -> Generator[httpx2.Response]:
        """Give the answer of a GET while it arrives. Raises ``ApiProblem`` or ``ApiUnreachable``."""
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        with self.http.stream("GET", self.url + path, params=asked or None, headers=self._headers) as answer:
            if not answer.is_success:
                answer.read()
                raise read_problem(answer)
            yield answer

    def follow(self, path: str, shape: type[Shape]) -> Iterator[Shape]:
        """Yield a resource each time that it has changed; a connection that ends too early is made again.

        Raises ``ApiProblem`` for a refusal that no other try can help, and ``ApiUnreachable`` where the
        connection was made again as often as a request is tried and brought nothing.
        """
        failures = 0
        while True:
            pause_s = (
                0.0  # also behind an orderly end: the API ends a stream after a while, and when it stops
            )
            try:
                for name, data in self.read_events(path):
                    failures = 0
                    yield read_shape(shape, data)
                    if name == "done":
                        return
            except httpx2.TransportError:
                pass
            except (ApiProblem, ApiUnreachable) as fault:
                if fault.pause_s is None or fault.pause_s > _PATIENCE_S or failures + 1 == self.tries:
                    raise
                pause_s = fault.pause_s
            failures += 1
            if failures == self.tries:
                raise unreachable(f"the events of {path} broke off {failures} times in a row")
            self.pause(failures, pause_s)

    def wait(
        self, path: str, shape: type[Shape], is_done: Callable[[Shape], bool], timeout_s: float
    ) -> Shape:
        """Return a resource when it is done. Raises ``StillRunning`` when the time is over before."""
        end_s = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, end_s - time.monotonic())
            found = self.get(path, shape, {"wait": min(_PAUSE_S_MAX, left_s)})
            if is_done(found):
                return found
            if time.monotonic() >= end_s:
                seen = f"{path} has not ended after {timeout_s:g} s"
                raise StillRunning(Reason.DEADLINE_EXCEEDED, seen, "wait for it again; it goes on")


def unreachable(seen: str, pause_s: float | None = None) -> ApiUnreachable:
    """The error for no answer, or for one of somebody else."""
    fault = ApiUnreachable(Reason.INTERNAL, seen, "check that FAKESIEVE_API_URL is the API's and answers")
    fault.pause_s = pause_s
    return fault


def read_shape(shape: type[Shape], data: object) -> Shape:
    """Return an answer as its shape; fields that a newer API adds are left out.

    Raises ``ApiUnreachable`` for an answer that a client of this release cannot read.
    """
    try:
        return shape.model_validate(data, extra="ignore")
    except ValidationError as fault:
        first = fault.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        seen = f"an answer is no {shape.__name__} of this release: {place}: {first['msg']}"
        raise unreachable(seen) from fault


def read_problem(answer: httpx2.Response) -> ApiProblem | ApiUnreachable:
    """Return why a request was refused; ``ApiUnreachable`` for an answer of somebody else."""
    pause_s = read_retry_after(answer)
    try:
        problem = ProblemDocument.model_validate(answer.json(), extra="ignore")
    except ValueError:  # pydantic's is one too
        seen = f"{answer.request.url.host} answered {answer.status_code}, which is no answer of the API"
        # A proxy between may say that it does not reach the API now.
        return unreachable(seen, pause_s if answer.status_code in _GATEWAY else None)
    return ApiProblem(problem, pause_s if problem.retryable else None)


def read_retry_after(answer: httpx2.Response) -> float:
    """Return the seconds that an answer asks to wait: a number or a date; 0 where it asks for none."""
    header = answer.headers.get("retry-after", "")
    if header.isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def choose_pause(trial: int, asked_s: float) -> float:
    """Return how long to wait after a try: what was asked for and a little more, else longer each time."""
    if asked_s > 0:
        return asked_s + random.uniform(0, _PAUSE_S)  # noqa: S311 - spreads tries, no secret
    longest = min(_PAUSE_S_MAX, _PAUSE_S * 2.0**trial)
    return random.uniform(longest / 2, longest)  # noqa: S311 - spreads tries, no secret
