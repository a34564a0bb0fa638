"""Sending requests: with the key, with an idempotency key, and again where that can help."""

import json
import random
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar
from uuid import uuid4

import httpx2
from pydantic import BaseModel, ValidationError
from typing_extensions import override

from api.calls.proxies import find_proxy
from api.calls.unreachable import ApiUnreachable, foreign, hide_password, lost, tell, unreachable, unreadable
from api.schemas.problems import ProblemDocument
from fakesieve.errors import FleetError, Unavailable
from fakesieve.reasons import Reason

Shape = TypeVar("Shape", bound=BaseModel)
Query = Mapping[str, str | int | float | None]
_PAUSE_S, _PAUSE_S_MAX = 0.5, 30.0
_PATIENCE_S = 120.0  # an API that asks for a longer pause than this is not waited for
_RUNNING_SHARE, _RUNNING_PAUSE_S_MAX = 0.1, 10.0
_GATEWAY = frozenset({502, 503, 504})


class ApiProblem(FleetError):
    """The API refused or failed. ``reason`` is of the closed list; ``problem`` has the rest.

    ``pause_s`` is how long to wait at least before another try, None where none can help. ``may_be_done``: an
    earlier try of the request got no answer, or one that leaves open whether it was done.
    """

    may_be_done = False

    def __init__(self, problem: ProblemDocument, pause_s: float | None = None) -> None:
        super().__init__(problem.reason, problem.detail, problem.hint)
        self.problem, self.pause_s = problem, pause_s

    @property
    def is_retryable(self) -> bool:
        """Whether the same call may succeed later."""
        return self.pause_s is not None

    @override
    def __reduce__(self) -> tuple[type["ApiProblem"], tuple[object, ...]]:
        return (type(self), (self.problem, self.pause_s))


class StillRunning(Unavailable):
    """The time of a wait is over and the job or batch has not ended; it goes on."""


class _Listed(BaseModel):
    """A page of a list, whatever it lists."""

    data: list[object]
    next_page_token: str | None = None


class Sender:
    """One key at one API, and how patient it is."""

    def __init__(
        self,
        url: str,
        key: str,
        http: httpx2.Client,
        *,
        tries: int,
        running_s: float,
        sleep: Callable[[float], None],
    ) -> None:
        self.url, self.http, self.tries, self.running_s = url, http, tries, running_s
        self._headers = {"Authorization": f"Bearer {key}"}
        self._sleep = sleep

    def get(self, path: str, shape: type[Shape], query: Query | None = None) -> Shape:
        """Return what a GET answers."""
        return read_shape(shape, read_json(self.send("GET", path, query=query)))

    def post(
        self, path: str, shape: type[Shape], body: object = None, idempotency_key: str | None = None
    ) -> Shape:
        """Return what a POST answers; it is done once, however often it has to be sent."""
        key = {"Idempotency-Key": idempotency_key or str(uuid4())}
        return read_shape(shape, read_json(self.send("POST", path, body=body, headers=key)))

    def delete(self, path: str) -> None:
        """Remove what has this path.

        The API keeps no answer to a DELETE. Where one was lost, that nothing is there tells that it was done.
        """
        try:
            self.send("DELETE", path)
        except ApiProblem as problem:
            if problem.reason is not Reason.NOT_FOUND or not problem.may_be_done:
                raise

    def pages(self, path: str, shape: type[Shape], query: Query | None = None) -> Iterator[Shape]:
        """Yield what a list holds, page after page."""
        token: str | None = None
        while True:
            page = self.get(path, _Listed, {**(query or {}), "page_token": token})
            for each in page.data:
                yield read_shape(shape, each)
            token = page.next_page_token
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
        return self._send_again(self.build(method, path, query, body, headers))

    def build(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Request:
        """Return a request that carries the key; nothing is sent."""
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        return self.http.build_request(
            method,
            self.url + path,
            params=asked or None,
            json=body,
            headers={**self._headers, **(headers or {})},
        )

    def _send_again(self, request: httpx2.Request, *, stream: bool = False) -> httpx2.Response:
        """Send until it is answered, refused for good, or tried often enough; see ``_try`` for ``stream``.

        To be told that it is being done is no failed try: that is asked again for ``running_s``.
        """
        trial, running_since_s, may_be_done = 1, None, False
        while True:
            answer = self._try(request, stream=stream)
            if isinstance(answer, httpx2.Response):
                return answer
            if isinstance(answer, ApiProblem):
                answer.may_be_done = may_be_done
            may_be_done |= _may_be_done(answer)
            if answer.pause_s is None or answer.pause_s > _PATIENCE_S:
                raise answer
            if answer.reason is Reason.REQUEST_IN_PROGRESS:
                now_s = time.monotonic()
                running_since_s = now_s if running_since_s is None else running_since_s
                asked_s = now_s - running_since_s
                if asked_s >= self.running_s:
                    raise answer
                self._sleep(choose_running_pause(answer.pause_s, asked_s))
                continue
            if trial == self.tries:
                raise answer
            self.pause(trial, answer.pause_s)
            trial += 1

    def _try(
        self, request: httpx2.Request, *, stream: bool = False
    ) -> httpx2.Response | ApiProblem | ApiUnreachable:
        """Send once; gives the answer, whose body is still to be read with ``stream``, or the fault."""
        try:
            answer = self.http.send(request, stream=stream)
            if answer.is_success and not _is_page(answer):
                return answer
            with closing(answer):
                answer.read()
        except httpx2.TransportError as fault:
            # Who brings a client of its own may have told it to leave the environment alone.
            return lost(self.url, fault, find_proxy(request.url) if self.http.trust_env else None)
        return foreign(answer) if answer.is_success else read_problem(answer)

    def pause(self, trial: int, asked_s: float = 0.0) -> None:
        """Wait after a try: as long as the API asks, else longer each time, spread at random."""
        self._sleep(choose_pause(trial, asked_s))

    def read_events(self, path: str) -> Generator[tuple[str, object]]:
        """Yield name and data of server-sent events until the connection ends; it is made once.

        Raises as ``open``, and ApiUnreachable (INTERNAL) for data that is no JSON.
        """
        answer = self._try(self.build("GET", path), stream=True)
        if not isinstance(answer, httpx2.Response):
            raise answer
        with self._reading(answer):
            name = ""
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, _read_data(path, value)

    @contextmanager
    def open(self, path: str, query: Query | None = None) -> Generator[httpx2.Response]:
        """Give the answer of a GET while it arrives; until it begins it is tried as ``send`` tries.

        Raises ``ApiProblem`` or ``ApiUnreachable``; the latter also where the answer breaks off on its way.
        """
        answer = self._send_again(self.build("GET", path, query), stream=True)
        with self._reading(answer):
            yield answer

    @contextmanager
    def _reading(self, answer: httpx2.Response) -> Generator[None]:
        """Close an answer after the block, and say of one that breaks off that it did."""
        try:
            yield
        except httpx2.TransportError as fault:
            seen = f"the answer of {hide_password(self.url)} broke off: {tell(fault)}"
            raise unreachable(seen, pause_s=0.0) from fault
        finally:
            answer.close()

    def follow(self, path: str, shape: type[Shape]) -> Iterator[Shape]:
        """Yield a resource each time that it has changed; a connection that ends too early is made again.

        Raises ``ApiProblem`` for a refusal that no other try can help, as where the key was revoked in the
        middle, and ``ApiUnreachable`` where the connection was made again as often as a request is tried and
        brought nothing.
        """
        failures = 0
        while True:
            # Behind an orderly end too: the API ends a stream after a while, and when it stops.
            pause_s, has_events = 0.0, False
            try:
                for name, data in self.read_events(path):
                    if name == "problem":  # it ends for good, and would be refused if it was opened again
                        raise ApiProblem(read_shape(ProblemDocument, data))
                    failures, has_events = 0, True
                    yield read_shape(shape, data)
                    if name == "done":
                        return
            except (ApiProblem, ApiUnreachable) as fault:
                is_last = not has_events and failures + 1 == self.tries
                if fault.pause_s is None or fault.pause_s > _PATIENCE_S or is_last:
                    raise
                pause_s = fault.pause_s
            failures += not has_events
            if failures == self.tries:
                raise unreachable(f"the events of {path} broke off {failures} times in a row", pause_s=0.0)
            self.pause(max(1, failures), pause_s)

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


def _may_be_done(fault: ApiProblem | ApiUnreachable) -> bool:
    """Whether a try that ended so may have done what was asked for all the same."""
    if isinstance(fault, ApiProblem):
        return fault.problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return fault.was_sent


def _is_page(answer: httpx2.Response) -> bool:
    """Whether an answer is a page for people: no request of a client is answered with one."""
    return answer.headers.get("content-type", "").startswith("text/html")


def read_json(answer: httpx2.Response) -> object:
    """Return what an answer says. Raises ``ApiUnreachable`` (INTERNAL) for one that is no JSON."""
    try:
        return answer.json()
    except ValueError as fault:
        raise foreign(answer) from fault


def _read_data(path: str, text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as fault:
        raise unreadable(f"an event of {path} is no JSON") from fault


def read_shape(shape: type[Shape], data: object) -> Shape:
    """Return an answer as its shape; fields that a newer API adds are left out.

    Raises ``ApiUnreachable`` (INTERNAL) for an answer that a client of this release cannot read.
    """
    try:
        return shape.model_validate(data, extra="ignore")
    except ValidationError as fault:
        first = fault.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        seen = f"an answer is no {shape.__name__} of this release: {place}: {first['msg']}"
        raise unreadable(seen) from fault


def read_problem(answer: httpx2.Response) -> ApiProblem | ApiUnreachable:
    """Return why a request was refused; ``ApiUnreachable`` for an answer of somebody else."""
    pause_s = read_retry_after(answer)
    try:
        problem = ProblemDocument.model_validate(answer.json(), extra="ignore")
    except ValueError:  # pydantic's is one too
        # A proxy between may say that it does not reach the API now.
        return foreign(answer, pause_s if answer.status_code in _GATEWAY else None)
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


def choose_running_pause(wanted_s: float, asked_s: float) -> float:
    """Return how long to wait for work that has been asked about for ``asked_s`` seconds.

    As long as the API wants, and longer the longer it takes: who waits long may wait a tenth more.
    """
    return choose_pause(1, max(wanted_s, min(_RUNNING_PAUSE_S_MAX, _RUNNING_SHARE * asked_s)))


def choose_pause(trial: int, asked_s: float) -> float:
    """Return how long to wait after a try: what was asked for and a little more, else longer each time."""
    if asked_s > 0:
        return asked_s + random.uniform(0, _PAUSE_S)  # noqa: S311 - spreads tries, no secret
    longest = min(_PAUSE_S_MAX, _PAUSE_S * 2.0**trial)
    return random.uniform(longest / 2, longest)  # noqa: S311 - spreads tries, no secret
