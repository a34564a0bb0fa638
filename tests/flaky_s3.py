"""A proxy in front of a real object store that fails on request: the store itself stays untouched.

Faults are told apart by what they do to an answer. Each has a limit: a count of requests, a time, or a
share of requests drawn from a fixed seed.
"""

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

from tests.waiting import PATIENCE_S

PIECE_BYTES = 16 << 10


class Kind(Enum):
    """What happens to a request."""

    STATUS = "it is answered with an error, without asking the store"
    RESET = "the connection is closed without an answer"
    STALL = "the answer stops for good after `at` of its body"
    SLOW = "the body comes at `rate` bytes a second"
    TRUNCATE = "the connection ends after `at` of the body, whose full length was announced"
    SHORTEN = "the body ends after `at`, and a length to match is announced"
    FLIP = "one bit of the byte at `at` of the body is turned"
    CALL = "`call` runs before the store is asked: to swap or delete the object"


@dataclass
class Fault:
    """One way to fail, for the requests whose method and path it matches. `at` is a share of the body.

    With `on_ranges` it waits for a request that asks for a part of the object.
    """

    kind: Kind
    method: str = "GET"
    path_part: str = ""
    status: int = 503
    code: str = "SlowDown"
    at: float = 0.5
    rate: int = 1000
    call: Callable[[], None] | None = None
    count: int | None = None
    until_s: float | None = None
    share: float = 1.0
    on_ranges: bool = False
    n_done: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)  # ends a stall before the proxy ends

    def takes(self, method: str, path: str, asked_range: str | None, draw: float) -> bool:
        is_over = self.until_s is not None and time.monotonic() > self.until_s
        is_used = self.count is not None and self.n_done >= self.count
        is_meant = self.method in ("*", method) and self.path_part in path
        is_meant &= asked_range is not None or not self.on_ranges
        return is_meant and not is_over and not is_used and draw < self.share


@dataclass
class Seen:
    """One request that came, and the kind of fault that it met."""

    method: str
    path: str
    fault: Kind | None
    at_s: float = field(default_factory=time.monotonic)
    range: str | None = None


class FlakyS3:
    """The proxy. Use it as a context; `endpoint` is where clients connect."""

    def __init__(self, upstream: str, seed: int = 7) -> None:
        split = urlsplit(upstream)
        self.upstream = (split.hostname or "127.0.0.1", split.port or 80)
        self.seen: list[Seen] = []
        self._faults: list[Fault] = []
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="flaky-s3")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.close_connections()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        with self._lock:
            self._faults.clear()

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[Fault]:
        """Fail in this way for the length of the context."""
        self.add(fault)
        try:
            yield fault
        finally:
            with self._lock:
                self._faults.remove(fault)

    def list_seen(self, part: str) -> list[Seen]:
        """Requests to a path with this part, as a bucket: one that an earlier test gave up may come late."""
        return [seen for seen in self.seen if part in seen.path]

    def count(self, method: str, part: str) -> int:
        return sum(seen.method == method for seen in self.list_seen(part))

    def choose(self, method: str, path: str, asked_range: str | None) -> Fault | None:
        """Note a request and return the fault that it meets."""
        with self._lock:
            draw = self._random.random()
            fault = next((f for f in self._faults if f.takes(method, path, asked_range, draw)), None)
            if fault:
                fault.n_done += 1
            self.seen.append(Seen(method, path, fault.kind if fault else None, range=asked_range))
        return fault

    def wait(self, seconds: float) -> None:
        """Sleep, but not longer than the proxy lives."""
        self._closing.wait(seconds)

    @property
    def is_closing(self) -> bool:
        return self._closing.is_set()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    proxy: FlakyS3

    def __init__(self, *args: object) -> None:
        self._open: set[object] = set()
        super().__init__(*args)

    def process_request(self, request, client_address) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End the idle connections that clients keep, so that their threads end."""
        for request in list(self._open):
            try:
                request.shutdown(2)
            except OSError:
                continue  # it has ended by itself

    def handle_error(self, request, client_address) -> None:
        """A client that goes away in the middle is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *args: object) -> None:
        """Nothing: the tests look at `seen`."""

    def _relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.proxy.choose(self.command, self.path, self.headers.get("Range"))
        kind = fault.kind if fault else None
        if fault and kind is Kind.STATUS:
            self._answer_error(fault)
        elif kind is Kind.RESET:
            self.close_connection = True
        else:
            if fault and kind is Kind.CALL:
                fault.call()
            self._forward(body, fault)

    do_GET = _relay  # noqa: N815 - the names that http.server calls
    do_HEAD = _relay  # noqa: N815 - as the line above
    do_PUT = _relay  # noqa: N815 - as the line above
    do_POST = _relay  # noqa: N815 - as the line above
    do_DELETE = _relay  # noqa: N815 - as the line above

    def _answer_error(self, fault: Fault) -> None:
        body = f"<Error><Code>{fault.code}</Code><Message>made up</Message></Error>".encode()
        self.send_response(fault.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _forward(self, body: bytes, fault: Fault | None) -> None:
        connection = http.client.HTTPConnection(*self.server.proxy.upstream, timeout=PATIENCE_S)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "expect")}
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            self._return(connection.getresponse(), fault)
        finally:
            connection.close()

    def _return(self, answer: http.client.HTTPResponse, fault: Fault | None) -> None:
        announced = int(answer.headers.get("Content-Length") or 0)
        payload = b"" if self.command == "HEAD" else answer.read()
        kind = fault.kind if fault and answer.status < 300 else None
        cut = int(len(payload) * fault.at) if fault else 0
        if kind is Kind.FLIP:
            payload = payload[:cut] + bytes([payload[cut] ^ 1]) + payload[cut + 1 :]
        elif kind is Kind.SHORTEN:
            payload = payload[:cut]
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(announced if self.command == "HEAD" else len(payload)))
        self.end_headers()
        if kind in (Kind.TRUNCATE, Kind.STALL):
            self.wfile.write(payload[:cut])
            self.wfile.flush()
            self.close_connection = True
            while fault and kind is Kind.STALL and not self.server.proxy.is_closing:
                if fault.is_over.wait(0.05):
                    break
        elif kind is Kind.SLOW:
            self._drip(payload, fault.rate)
        else:
            self.wfile.write(payload)

    def _drip(self, payload: bytes, rate: int) -> None:
        step = max(1, rate // 20)
        for start in range(0, len(payload), step):
            if self.server.proxy.is_closing:
                self.close_connection = True
                return
            self.wfile.write(payload[start : start + step])
            self.wfile.flush()
            self.server.proxy.wait(0.05)
