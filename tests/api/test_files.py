"""Files that are sent: whoever may not read on gets no more of them, and never takes a part for the whole."""

import asyncio
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import anyio
import httpx2
import pytest
from sqlalchemy import event
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as ASGIScope

from api import files
from api.app import create_app
from api.services import Services
from fakesieve.database import Database
from fakesieve.values.people import UserRole
from tests.api.callers import Caller, make_caller, make_settings
from tests.api.pages.stage import Scene, enter, find_token, make_scene
from tests.api.results import store_results
from tests.api.served import serve_app
from tests.waiting import PATIENCE_S, wait_until

FILES = ("/v1/analyses:export?format=csv", "/v1/analyses:export?format=jsonl", "/v1/review-entries:export")


class Gate:
    """Lets the first part of a file through and holds the others back until it is opened."""

    def __init__(self, app: ASGIApp, opened: threading.Event) -> None:
        self._app, self._opened = app, opened

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        async def send_held(message: Message) -> None:
            await send(message)
            while message.get("body") and not self._opened.is_set():
                await anyio.sleep(0.01)

        is_file = scope.get("path", "").endswith((":export", ".csv"))
        await self._app(scope, receive, send_held if is_file else send)


@dataclass(frozen=True)
class Served:
    """An API behind a socket with a tenant of three results, and the gate before its files."""

    url: str
    services: Services
    owner: Caller
    scene: Scene
    opened: threading.Event

    def make_key(self) -> tuple[str, dict[str, str]]:
        """Return the id of one more key, and what a request with it carries."""
        scopes = ["results:read", "review:read"]
        made = self.owner.post("/v1/keys", {"name": "x", "scopes": scopes}).json()
        return made["id"], {"Authorization": f"Bearer {made['secret']}"}

    @contextmanager
    def read(self, path: str, headers: dict[str, str]) -> Generator[Iterator[bytes]]:
        """Give the parts of a file."""
        with httpx2.stream("GET", self.url + path, headers=headers, timeout=PATIENCE_S) as answer:
            assert answer.status_code == 200
            yield answer.iter_raw()

    def count(self, reason: str) -> float:
        labels = {"reason": reason}
        registry = self.services.metrics.registry
        return registry.get_sample_value("fakesieve_api_problems_total", labels) or 0.0


@pytest.fixture(scope="module")
def served(postgres, s3, module_database_name: str, module_database: Database, store) -> Iterator[Served]:
    app, opened = create_app(make_settings(postgres, s3, module_database_name)), threading.Event()
    app.add_middleware(Gate, opened=opened)
    scene = make_scene(module_database)
    owner = make_caller(TestClient(app), module_database, tenant_id=scene.tenant_id)
    store_results(module_database, scene.tenant_id)
    with serve_app(app) as url:
        yield Served(url, app.state.services, owner, scene, opened)


@pytest.fixture(autouse=True)
def quick(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is a piece, and before each it is asked whether it may still be read."""
    monkeypatch.setattr(files, "PIECE_BYTES", 1)
    monkeypatch.setattr(files, "PROVE_S", 0.0)
    served.opened.clear()


def _expect_break(parts: Iterator[bytes]) -> None:
    """Read on, and see the file break off without one more line."""
    rest = list[bytes]()
    with pytest.raises(httpx2.RemoteProtocolError, match="incomplete chunked read"):
        rest.extend(parts)
    assert rest == []


@pytest.mark.parametrize("path", FILES)
def test_a_file_breaks_off_where_its_key_is_revoked(served: Served, path: str) -> None:
    key_id, headers = served.make_key()
    refused, faults = served.count("UNAUTHENTICATED"), served.count("INTERNAL")
    with served.read(path, headers) as parts:
        assert next(parts)
        assert served.owner.post(f"/v1/keys/{key_id}:revoke").status_code == 200
        served.opened.set()
        _expect_break(parts)
    # It is counted once the request is over, which is after its place was given back.
    wait_until(lambda: served.count("UNAUTHENTICATED") > refused)
    assert (served.count("UNAUTHENTICATED"), served.count("INTERNAL")) == (refused + 1, faults)
    assert served.services.limits.streams.count(served.owner.tenant_id) == 0


def test_a_file_breaks_off_where_its_reader_signs_out(served: Served) -> None:
    browser = TestClient(served.owner.client.app)
    enter(browser, served.scene, UserRole.REVIEWER)
    cookie, token = browser.cookies["fakesieve"], find_token(browser.get("/queue").text)
    with served.read("/decisions.csv", {"Cookie": f"fakesieve={cookie}"}) as parts:
        assert next(parts).startswith(b"id,")
        assert browser.post("/sign-out", data={"form_token": token}, follow_redirects=False).is_redirect
        served.opened.set()
        _expect_break(parts)


@pytest.mark.parametrize("path", FILES)
def test_a_file_whose_key_holds_is_read_to_its_end(served: Served, path: str) -> None:
    served.opened.set()
    with served.read(path, served.make_key()[1]) as parts:
        lines = b"".join(parts).splitlines()
    assert len(lines) == {FILES[0]: 5, FILES[1]: 4, FILES[2]: 1}[path]  # the scene has a result of its own


def test_a_file_that_is_read_for_too_long_breaks_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = list[tuple[asyncio.AbstractEventLoop, anyio.CancelScope, float]]()

    @contextmanager
    def fail_after(limit_s: float) -> Iterator[None]:
        with anyio.fail_after(limit_s) as scope:
            begun.append((asyncio.get_running_loop(), scope, limit_s))
            yield

    monkeypatch.setattr(files, "anyio", SimpleNamespace(fail_after=fail_after))
    with served.read(FILES[0], served.make_key()[1]) as parts:
        assert next(parts)
        ((loop, scope, limit_s),) = begun
        assert limit_s == files.FILE_S
        loop.call_soon_threadsafe(setattr, scope, "deadline", 0.0)  # now that time is over
        _expect_break(parts)  # the gate stays shut, as a reader does who never reads on
    wait_until(lambda: served.services.limits.streams.count(served.owner.tenant_id) == 0)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_where_too_many_streams_are_open_no_results_are_read_for_one_more(served: Served, form: str) -> None:
    services, tenant = served.services, served.owner.tenant_id
    asked = list[str]()

    def note(*event_: object) -> None:
        asked.append(str(event_[2]))

    def export() -> tuple[int, bool]:
        asked.clear()
        answer = served.owner.get("/v1/analyses:export", format=form)
        return answer.status_code, any("standing" in each for each in asked)

    served.opened.set()
    wait_until(lambda: services.limits.streams.count(tenant) == 0)  # a file of the test before may end now
    places = services.limits.streams.limit
    event.listen(services.database.pool, "before_cursor_execute", note)
    try:
        assert export() == (200, True)
        assert all(services.limits.streams.enter(tenant) for _ in range(places))
        assert export() == (429, False)
    finally:
        event.remove(services.database.pool, "before_cursor_execute", note)
        while services.limits.streams.count(tenant):
            services.limits.streams.leave(tenant)
