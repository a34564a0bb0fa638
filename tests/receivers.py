"""Servers that take webhooks, well-behaved and not, on a port of this machine."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.waiting import PATIENCE_S

LOCAL_NETWORKS = ("127.0.0.0/8",)


@dataclass(frozen=True)
class Message:
    """What a receiver got."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Receiver:
    """A receiver and what it got. ``statuses`` are answered one after another, the last one for ever."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    answer_headers: dict[str, str] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    pause: threading.Event | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_status(self) -> int:
        """The status of the next answer; two answers at once never take the last one away."""
        with self.lock:
            return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver over HTTP for the block."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.messages.append(Message(self.path, dict(self.headers), body))
            if receiver.pause is not None:
                receiver.pause.wait(PATIENCE_S)
            self.send_response(receiver.next_status())
            for name, value in receiver.answer_headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield receiver
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Give the URL of a server that says whatever it likes to each request, for the block."""

    def read_and_answer(peer: socket.socket) -> None:
        read_request(peer)
        answer(peer)

    with listening(read_and_answer) as url:
        yield url


def read_request(peer: socket.socket) -> bytes:
    """Read a request to its end. What is unread when a socket closes resets it, and its answer is lost."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += _read_more(peer)
    head, _, body = got.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < int(lengths[0].partition(b":")[2]):
        body += _read_more(peer)
    return body


def _read_more(peer: socket.socket) -> bytes:
    more = peer.recv(65_536)
    if not more:
        raise ConnectionError("the sender has gone")
    return more


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Give the URL of a server that does as it likes with each connection, for the block."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                peer, _ = server.accept()
            except TimeoutError:
                continue
            with peer:
                try:
                    answer(peer)
                except OSError:
                    continue  # the sender had enough

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/"
    over.set()
    thread.join()
    server.close()
