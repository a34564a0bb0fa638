"""Callers that leave in the middle: nothing of theirs is held, and nobody is woken for it."""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.services import Services
from tests.api.callers import Caller, make_caller, make_settings
from tests.api.served import serve_app
from tests.waiting import PATIENCE_S, wait_until


@dataclass(frozen=True)
class Served:
    url: str
    services: Services
    caller: Caller

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.caller.secret}"}

    def count_faults(self) -> float:
        found = self.services.metrics.registry.get_sample_value(
            "fakesieve_api_problems_total", {"reason": "INTERNAL"}
        )
        return found or 0.0


@pytest.fixture(scope="module")
def served(postgres, s3, module_database_name, module_database, store) -> Iterator[Served]:
    app = create_app(make_settings(postgres, s3, module_database_name))
    caller = make_caller(TestClient(app), module_database, places=("s3://videos/",))
    with serve_app(app) as url:
        yield Served(url, app.state.services, caller)


def test_a_stream_that_nobody_reads_any_more_is_given_up(served, clip):
    job = served.caller.post("/v1/jobs", {"uri": clip("left/one.mp4")}).json()["id"]
    streams = served.services.limits.streams
    with httpx2.stream(
        "GET", f"{served.url}/v1/jobs/{job}/events", headers=served.headers, timeout=PATIENCE_S
    ) as answer:
        lines = answer.iter_lines()  # kept: the connection goes with an iterator that nobody holds
        assert next(lines) == "retry: 2000"
        assert streams.count(served.caller.tenant_id) == 1
    wait_until(lambda: streams.count(served.caller.tenant_id) == 0)
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
