"""Callers that come in numbers and that leave in the middle: places are counted, given back, and no fault."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest
from starlette.testclient import TestClient
from starlette.types import Message, Scope

from api.app import create_app
from api.services import Services
from tests.api.callers import Caller, make_caller, make_settings
from tests.api.served import serve_app
from tests.waiting import PATIENCE_S, wait_until

PLACES, AT_ONCE = 7, 50


@dataclass(frozen=True)
class Served:
    url: str
    services: Services
    caller: Caller

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.caller.secret}"}

    def count_streams(self) -> int:
        return self.services.limits.streams.count(self.caller.tenant_id)

    def count_faults(self) -> float:
        found = self.services.metrics.registry.get_sample_value(
            "fakesieve_api_problems_total", {"reason": "INTERNAL"}
        )
        return found or 0.0


@pytest.fixture(scope="module")
def served(postgres, s3, module_database_name, module_database, store) -> Iterator[Served]:
    app = create_app(make_settings(postgres, s3, module_database_name, api_streams_max=PLACES))
    caller = make_caller(TestClient(app), module_database, places=("s3://videos/",))
    with serve_app(app) as url:
        yield Served(url, app.state.services, caller)


def test_a_stream_that_nobody_reads_any_more_is_given_up(served, clip):
    job = served.caller.post("/v1/jobs", {"uri": clip("left/one.mp4")}).json()["id"]
    with httpx2.stream(
        "GET", f"{served.url}/v1/jobs/{job}/events", headers=served.headers, timeout=PATIENCE_S
    ) as answer:
        lines = answer.iter_lines()  # kept: the connection goes with an iterator that nobody holds
        assert next(lines) == "retry: 2000"
        assert served.count_streams() == 1
    wait_until(lambda: served.count_streams() == 0)
    assert served.count_faults() == 0


def test_a_body_that_breaks_off_is_no_fault_of_ours(served):
    place = urlsplit(served.url)
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.caller.secret}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    with socket.create_connection((place.hostname, place.port), timeout=PATIENCE_S) as line:
        line.sendall(head.encode())
        time.sleep(0.5)
    assert httpx2.get(f"{served.url}/health/live", timeout=PATIENCE_S).is_success
    assert served.count_faults() == 0


@pytest.fixture
def patient_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no request that waits for its turn behind many others be refused for that."""
    monkeypatch.setattr("api.slots._WAIT_S", PATIENCE_S)


async def open_at_once(served: Served, path: str) -> list[httpx2.Response]:
    """Open many at a time, keep each open until all are answered, and return the answers."""
    answers, all_told = list[httpx2.Response](), anyio.Event()

    async def open_one(http: httpx2.AsyncClient) -> None:
        async with http.stream("GET", served.url + path, headers=served.headers) as answer:
            answers.append(answer)
            if len(answers) == AT_ONCE:
                all_told.set()
            await all_told.wait()

    async with httpx2.AsyncClient(timeout=PATIENCE_S) as http, anyio.create_task_group() as group:
        for _ in range(AT_ONCE):
            group.start_soon(open_one, http)
    return answers


@pytest.mark.usefixtures("patient_turns")
def test_of_many_streams_at_once_as_many_are_opened_as_there_are_places(served, clip):
    job = served.caller.post("/v1/jobs", {"uri": clip("left/two.mp4")}).json()["id"]
    answers = anyio.run(open_at_once, served, f"/v1/jobs/{job}/events")
    assert sorted(each.status_code for each in answers) == [200] * PLACES + [429] * (AT_ONCE - PLACES)
    assert all(int(each.headers["retry-after"]) > 0 for each in answers if each.status_code == 429)
    wait_until(lambda: served.count_streams() == 0)
    assert served.count_faults() == 0


@pytest.mark.usefixtures("patient_turns")
def test_of_many_files_at_once_each_is_whole_or_refused(served):
    """They end by themselves, so that there is no saying how many find a place."""

    async def read_all() -> list[int]:
        statuses = list[int]()

        async def read_one(http: httpx2.AsyncClient) -> None:
            answer = await http.get(f"{served.url}/v1/review-entries:export", headers=served.headers)
            assert answer.status_code == 429 or answer.text.startswith("id,")
            statuses.append(answer.status_code)

        async with httpx2.AsyncClient(timeout=PATIENCE_S) as http, anyio.create_task_group() as group:
            for _ in range(AT_ONCE):
                group.start_soon(read_one, http)
        return statuses

    statuses = anyio.run(read_all)
    assert len(statuses) == AT_ONCE
    assert set(statuses) <= {200, 429}
    assert statuses.count(200) >= PLACES
    wait_until(lambda: served.count_streams() == 0)
    assert served.count_faults() == 0


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
def test_a_stream_that_nobody_begins_to_read_gives_its_place_back(
    postgres, s3, module_database_name, module_database, clip, spec: str
):
    """Of servers of one version of ASGI it hears that the caller has left, of the other's its send fails."""
    app = create_app(make_settings(postgres, s3, module_database_name))
    caller = make_caller(TestClient(app), module_database, places=("s3://videos/",))
    job = caller.post("/v1/jobs", {"uri": clip("left/three.mp4")}).json()["id"]
    streams, seen = app.state.services.limits.streams, list[int]()
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        assert message["type"] == "http.response.start"
        seen.append(streams.count(caller.tenant_id))
        raise OSError("nobody is there")

    path = f"/v1/jobs/{job}/events"
    scope: Scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": spec}, "http_version": "1.1",
        "method": "GET", "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "",
        "query_string": b"", "headers": [(b"authorization", f"Bearer {caller.secret}".encode())],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    with closing(app.state.services.database):
        anyio.run(app, scope, receive, send)
    assert seen == [1] or spec == "2.3"  # that one may tell it before anything was sent
    assert streams.count(caller.tenant_id) == 0
