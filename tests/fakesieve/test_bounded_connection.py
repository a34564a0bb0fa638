"""A database that says nothing: it is noticed in bounded time, and used again once it answers."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from fakesieve import bounded_connection
from fakesieve.bounded_connection import BoundedConnection
from fakesieve.database import Database, choose_connect_s, open_database
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason
from tests.waiting import PATIENCE_S

# Of a worker host whose settings are the usual ones.
LEASE_S, BEAT_S, HOST_SILENCE_S = 60.0, 15.0, 15.0
SILENCE_S = 3.0  # a busy machine may say nothing for a second or two, and is there all the same


class FreezingRelay:
    """A port before the server. Frozen, it takes connections and bytes, and gives nothing back."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._flows = threading.Event()
        self._flows.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def close(self) -> None:
        self.thaw()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._flows.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def relay(postgres: PostgresServer) -> Iterator[FreezingRelay]:
    place = urlsplit(postgres.url())
    relay = FreezingRelay(str(place.hostname), int(place.port or 0))
    yield relay
    relay.close()


@pytest.fixture
def behind(postgres: PostgresServer, database_name: str, relay: FreezingRelay) -> Iterator[Database]:
    url = postgres.url(database=database_name).replace(f":{postgres.port}/", f":{relay.port}/")
    database = open_database(url, connections_max=2, silence_s=SILENCE_S)
    yield database
    database.close()


def ask(database: Database) -> int | None:
    with database.transaction(tenant_id=None) as session:
        return session.scalar(text("SELECT 7"))


def find_driver(session: Session) -> BoundedConnection:
    found = session.connection().connection.driver_connection
    assert isinstance(found, BoundedConnection)
    return found


def test_a_statement_that_is_not_answered_ends_and_the_next_one_works(
    behind: Database, relay: FreezingRelay
) -> None:
    assert ask(behind) == 7
    relay.freeze()
    begun_s = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        ask(behind)
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    assert time.monotonic() - begun_s < PATIENCE_S
    relay.thaw()
    assert ask(behind) == 7


def test_a_commit_that_is_not_answered_ends(behind: Database, relay: FreezingRelay) -> None:
    def commit() -> None:
        with behind.transaction(tenant_id=None) as session:
            session.execute(text("SELECT 1"))
            relay.freeze()

    begun_s = time.monotonic()
    with pytest.raises(Unavailable):
        commit()
    assert time.monotonic() - begun_s < PATIENCE_S


def test_what_runs_alone_is_not_waited_for_for_ever_either(
    postgres: PostgresServer, database_name: str, relay: FreezingRelay
) -> None:
    url = postgres.url(database=database_name).replace(f":{postgres.port}/", f":{relay.port}/")

    def ask_alone() -> int | None:
        return database.run_alone(lambda session: session.scalar(text("SELECT 7")), tenant_id=None)

    with closing(open_database(url, connections_max=1, silence_s=SILENCE_S, is_fleet=True)) as database:
        assert ask_alone() == 7
        relay.freeze()
        with pytest.raises(Unavailable) as caught:
            ask_alone()
        assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
        relay.thaw()
        assert ask_alone() == 7
        assert ask(database) == 7


def test_a_slow_statement_is_ended_by_the_server_and_the_connection_is_kept(behind: Database) -> None:
    with behind.transaction(tenant_id=None) as session:
        driver = find_driver(session)
        limit = text("SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout'")  # milliseconds
        assert 0 < (session.scalar(limit) or 0) < 1000 * driver.silence_s == 1000 * SILENCE_S
        driver.silence_s = PATIENCE_S  # the server is first, however late its word comes on a busy machine
        backend = session.scalar(text("SELECT pg_backend_pid()"))
    with pytest.raises(Unavailable, match="QueryCanceled"), behind.transaction(tenant_id=None) as session:
        session.execute(text("SELECT pg_sleep(600)"))
    with behind.transaction(tenant_id=None) as session:
        assert session.scalar(text("SELECT pg_backend_pid()")) == backend


def test_time_in_which_the_machine_stood_still_is_no_silence(
    behind: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = iter([0.0])

    def read_clock() -> float:
        return time.monotonic() + next(begin, 3600.0)  # the first look that finds nothing is an hour late

    with behind.transaction(tenant_id=None) as session:
        find_driver(session).silence_s = PATIENCE_S
        monkeypatch.setattr(bounded_connection, "time", SimpleNamespace(monotonic=read_clock))
        assert session.scalar(text("SELECT 7 FROM pg_sleep(0.5)")) == 7


@pytest.mark.parametrize("look_s", [1.0, 5.0])
def test_a_server_that_is_frozen_is_found_within_a_lease_by_a_host_that_seldom_looks(
    behind: Database, relay: FreezingRelay, monkeypatch: pytest.MonkeyPatch, look_s: float
) -> None:
    clock = count(0.0, look_s)  # each look comes so much later than the one before

    def ask_frozen() -> None:
        with behind.transaction(tenant_id=None) as session:
            find_driver(session).silence_s = HOST_SILENCE_S
            relay.freeze()
            monkeypatch.setattr(bounded_connection, "time", SimpleNamespace(monotonic=lambda: next(clock)))
            session.execute(text("SELECT 7"))

    with pytest.raises(Unavailable):
        ask_frozen()
    assert HOST_SILENCE_S < next(clock) <= LEASE_S - BEAT_S - choose_connect_s(HOST_SILENCE_S)


def test_rows_that_keep_coming_are_no_silence(behind: Database) -> None:
    with behind.transaction(tenant_id=None) as session:
        session.execute(text("SET LOCAL statement_timeout = 0"))
        slowly = text("SELECT n, repeat('x', 20000), pg_sleep(0.03) FROM generate_series(1, 120) AS n")
        assert len(session.execute(slowly).all()) == 120
