"""One POST to somebody else's server: to an address that was checked, bounded in time and size.

Nothing here follows a redirect, sends a cookie, reads a proxy from the environment or unpacks an answer.
"""

import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.client import HTTPException

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.response import BaseHTTPResponse
from urllib3.util.ssl_match_hostname import CertificateError

from fakesieve.errors import RequestRefused
from fakesieve.values.webhooks import AttemptFault
from fakesieve.webhooks.addresses import (
    Address,
    AddressRules,
    Resolver,
    Target,
    check_address,
    read_url,
    resolve_target,
)
from fakesieve.webhooks.deliveries import SendResult
from workers.name_service import NameService

USER_AGENT = "fakesieve-webhooks/1"
ANSWER_BYTES_MAX = 1024
_REDIRECTS = range(300, 400)
_RETRY_STATUSES = frozenset({429, 503})


@dataclass(frozen=True)
class PostRules:
    """Where messages may go, and how long the connection and the whole talk may take.

    The look-up of the name comes before that and has the time of ``resolve``.
    """

    addresses: AddressRules
    connect_s: float = 5.0
    total_s: float = 15.0
    resolve: Resolver = field(default_factory=NameService)
    tls: ssl.SSLContext | None = None  # absent is the system's own certificates

    def __post_init__(self) -> None:
        if not 0 < self.connect_s <= self.total_s:
            raise ValueError("a connection takes some time, and not more than the whole")


class _AddressChanged(Exception):
    """The socket is connected to something else than what was checked."""


def post_message(url: str, headers: Mapping[str, str], body: bytes, rules: PostRules) -> SendResult:
    """Send a message once, and say what came of it. Raises nothing that a receiver can bring about."""
    begun_s = time.monotonic()
    try:
        target = read_url(url, rules.addresses)
        addresses = resolve_target(target, rules.addresses, rules.resolve)
    except RequestRefused:
        return _fail(AttemptFault.URL_NOT_ALLOWED, begun_s)
    except TimeoutError:
        return _fail(AttemptFault.TIMEOUT, begun_s)
    except (OSError, UnicodeError):
        return _fail(AttemptFault.NAME_NOT_FOUND, begun_s)
    connection = _make_connection(target, addresses[0], rules)
    watch = _Watch(connection, rules.total_s)
    try:
        with watch:
            connection.connect()
            _check_peer(connection, addresses[0], rules.addresses)
            result = _exchange(connection, target, headers, body, begun_s)
            # Cut off, what had come of the headers would read as an answer.
            return _fail(AttemptFault.TIMEOUT, begun_s) if watch.is_over else result
    except (RequestRefused, _AddressChanged):
        return _fail(AttemptFault.URL_NOT_ALLOWED, begun_s)
    except (OSError, HTTPError, HTTPException, ValueError) as fault:
        return _fail(AttemptFault.TIMEOUT if watch.is_over else _name_fault(fault), begun_s)
    finally:
        connection.close()


def _make_connection(target: Target, address: Address, rules: PostRules) -> HTTPConnection:
    """Return a connection to the address itself; TLS asks for the name, and holds the certificate to it."""
    if not target.is_https:
        return HTTPConnection(str(address), target.port, timeout=rules.connect_s)
    return HTTPSConnection(
        str(address),
        target.port,
        timeout=rules.connect_s,
        ssl_context=rules.tls,
        server_hostname=target.host,
    )


def _check_peer(connection: HTTPConnection, expected: Address, rules: AddressRules) -> None:
    """Look once more at where the socket really leads, before a byte of the message is sent."""
    assert connection.sock is not None
    peer = type(expected)(str(connection.sock.getpeername()[0]))
    if peer != expected:
        raise _AddressChanged
    check_address(peer, rules)


def _exchange(
    connection: HTTPConnection, target: Target, headers: Mapping[str, str], body: bytes, begun_s: float
) -> SendResult:
    plain = {
        "Host": target.host_header,
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    connection.request(
        "POST", target.path, body, {**plain, **headers}, preload_content=False, decode_content=False
    )
    answer = connection.getresponse()
    text = _read_beginning(answer)
    fault = None
    if answer.status in _REDIRECTS:
        fault = AttemptFault.REDIRECT
    elif not 200 <= answer.status < 300:
        fault = AttemptFault.STATUS
    return SendResult(answer.status, fault, _since_ms(begun_s), text, _read_retry_after(answer))


def _read_beginning(answer: BaseHTTPResponse) -> str | None:
    """Return the first kilobyte of a body as text that can be kept; a body that breaks off is no fault."""
    try:
        data = answer.read(ANSWER_BYTES_MAX, decode_content=False)
    except (HTTPError, HTTPException, OSError):
        return None
    return data.decode("utf-8", "replace").replace("\0", "\ufffd") or None


def _read_retry_after(answer: BaseHTTPResponse) -> float | None:
    """Return the seconds that a busy receiver asks for, in either of HTTP's two spellings."""
    asked = answer.headers.get("Retry-After", "")
    if answer.status not in _RETRY_STATUSES or not asked:
        return None
    if asked.isascii() and asked.isdigit():
        return float(asked[:9])
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


class _Watch:
    """Ends a conversation when its time is over, however slowly the other side drips its bytes."""

    def __init__(self, connection: HTTPConnection, total_s: float) -> None:
        self.is_over = False
        self._connection = connection
        self._timer = threading.Timer(total_s, self._end)
        self._timer.daemon = True

    def _end(self) -> None:
        self.is_over = True
        held = self._connection.sock
        if held is not None:
            try:
                # Not the method of a TLS socket, which changes what the other thread reads with.
                socket.socket.shutdown(held, socket.SHUT_RDWR)
            except OSError:
                return  # it ended by itself

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()


def _name_fault(fault: Exception) -> AttemptFault:
    if isinstance(fault, ssl.SSLError | CertificateError):
        return AttemptFault.TLS_FAILED
    if isinstance(fault, TimeoutError):
        return AttemptFault.TIMEOUT
    if isinstance(fault, NewConnectionError):
        return AttemptFault.CONNECT_FAILED
    if isinstance(fault, HTTPError) and "timed out" in str(fault).lower():
        return AttemptFault.TIMEOUT
    if isinstance(fault, ConnectionError):
        return AttemptFault.CONNECT_FAILED
    return AttemptFault.BROKEN_ANSWER


def _fail(fault: AttemptFault, begun_s: float) -> SendResult:
    return SendResult(None, fault, _since_ms(begun_s))


def _since_ms(begun_s: float) -> int:
    return round((time.monotonic() - begun_s) * 1000)
