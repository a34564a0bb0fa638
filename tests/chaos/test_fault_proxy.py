"""The proxy breaks connections in the ways that it says."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.fault_proxy import COMMIT, FaultProxy
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that sends back what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer(client: socket.socket) -> None:
        with client:
            try:
                while piece := client.recv(1 << 16):
                    client.sendall(piece)
            except OSError:
                return

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


@pytest.fixture
def proxy(echo_port: int) -> Iterator[FaultProxy]:
    with FaultProxy("echo", lambda: ("127.0.0.1", echo_port)) as found:
        yield found


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_S)


def ask(client: socket.socket, words: bytes) -> bytes:
    client.sendall(words)
    return client.recv(1 << 16)


def test_passes_what_it_gets_while_nothing_is_broken(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        assert ask(client, b"hello") == b"hello"


def test_refused_connection_is_reset(proxy: FaultProxy) -> None:
    proxy.is_refusing = True
    # The reset may come before connect has returned.
    with pytest.raises(ConnectionError), connect(proxy) as client:
        client.recv(1)
    assert proxy.counts.refused == 1


def test_swallowed_connection_stays_half_open_after_the_fault(proxy: FaultProxy) -> None:
    with connect(proxy) as old, connect(proxy) as new:
        ask(old, b"a")
        proxy.is_swallowing = True
        old.settimeout(0.3)
        with pytest.raises(TimeoutError):
            ask(old, b"b")
        wait_until(lambda: proxy.counts.swallowed == 1)  # or it would come to the proxy after the fault
        proxy.heal()
        with pytest.raises(TimeoutError):
            ask(old, b"c")
        assert ask(new, b"d") == b"d"


def test_reset_ends_all_connections(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        ask(client, b"a")
        assert proxy.reset_all() == 1
        with pytest.raises(ConnectionError):
            client.recv(1)


def test_latency_and_rate_delay(proxy: FaultProxy) -> None:
    proxy.latency_s = 0.2
    with connect(proxy) as client:
        begun = time.monotonic()
        ask(client, b"a")
        assert time.monotonic() - begun >= 0.4  # once each way
        proxy.heal()
        proxy.rate = 1000.0
        begun = time.monotonic()
        ask(client, b"b" * 100)
        assert time.monotonic() - begun >= 0.2


def test_cut_commit_arrives_and_its_reply_does_not(proxy: FaultProxy) -> None:
    with connect(proxy) as small, connect(proxy) as large:
        proxy.cut_commits(1, least_bytes=1000)
        assert ask(small, COMMIT) == COMMIT  # its transaction was too small to be meant
        ask(large, b"x" * 2000)
        with pytest.raises(ConnectionError):
            ask(large, COMMIT)
    assert (proxy.counts.cut_commits, proxy.waiting_cuts) == (1, 0)
