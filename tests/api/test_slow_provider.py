"""An identity provider that is silent keeps those waiting who sign in there, and nobody else."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import anyio
import anyio.from_thread
import pytest
from starlette.testclient import TestClient

from api import slots
from api.app import create_app
from api.problems import Problem
from api.provider import IdentityProvider, ProviderRules
from api.slots import Slots
from api.tickets import ProviderAway, Ticket
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.reasons import Reason
from tests.api.callers import make_settings
from tests.waiting import PATIENCE_S


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A provider that takes connections and says nothing."""
    monkeypatch.setattr("api.provider.TIMEOUT_S", PATIENCE_S)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        yield listener


def name(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_the_password_page_does_not_wait_for_the_provider(
    silent: socket.socket, postgres: PostgresServer, s3: SeaweedServer, module_database_name: str
) -> None:
    settings = make_settings(
        postgres, s3, module_database_name,
        database_connections=3,  # one turn for all
        oidc_issuer=name(silent),
        oidc_client_id="fakesieve",
        oidc_redirect_url="http://testserver/sign-in/callback",
        oidc_tenant="acme",
    )  # fmt: skip
    with TestClient(create_app(settings)) as browser, ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(browser.get, "/sign-in/provider")
        asked, _ = silent.accept()
        with closing(asked):
            assert browser.get("/sign-in").status_code == 200
            assert not waiting.done()
        page = waiting.result(PATIENCE_S)
    assert (page.status_code, "Sign in with a password" in page.text) == (503, True)


def test_two_ask_the_provider_at_once(silent: socket.socket) -> None:
    client = IdentityProvider(ProviderRules(name(silent), "fakesieve", "http://testserver/back"))
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(client.begin, Ticket.make()) for _ in range(2)]
        asked = [silent.accept()[0] for _ in range(2)]  # the second does not wait for the first
        for each in asked:
            each.close()
        for each in waiting:
            with pytest.raises(ProviderAway, match="does not answer"):
                each.result(PATIENCE_S)


def test_who_asks_another_host_has_no_turn_and_not_all_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "TALKS", 1)
    monkeypatch.setattr(slots, "_WAIT_S", 0.01)

    async def work() -> None:
        held, told, begun = Slots(3), anyio.Event(), anyio.Event()

        def talk() -> str:
            anyio.from_thread.run_sync(begun.set)
            anyio.from_thread.run(told.wait)
            return "answered"

        async def keep() -> None:
            assert await held.talk(talk) == "answered"

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep)
            await begun.wait()
            async with held.hold("acme"):  # the only turn
                with pytest.raises(Problem) as refused:
                    await held.talk(talk)
            assert refused.value.reason is Reason.RATE_LIMITED
            told.set()
        assert await held.talk(lambda: "again") == "again"

    anyio.run(work)
