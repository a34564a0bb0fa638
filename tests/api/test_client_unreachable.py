"""The client before an address where no API answers: what it says, and whether it tries again."""

import io
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from api.calls.proxies import find_proxy
from api.calls.unreachable import lost
from api.client import ApiUnreachable, Client
from fakesieve.errors import SetupRefused
from fakesieve.reasons import Reason
from tests.certificates import make_certificate
from tests.receivers import listening
from tests.waiting import PATIENCE_S


def ask(url: str, timeout_s: float = PATIENCE_S) -> tuple[ApiUnreachable, int]:
    """Ask who we are, in two tries; return the error and how often it was tried again."""
    pauses = list[float]()
    client = Client(url, "fsk_x", tries=2, timeout_s=timeout_s, sleep=pauses.append)
    with client, pytest.raises(ApiUnreachable) as caught:
        client.whoami()
    return caught.value, len(pauses)


def say_nothing(peer: socket.socket) -> None:
    """Read until the caller leaves."""
    while peer.recv(1000):
        pass


@contextmanager
def closed_port() -> Iterator[str]:
    """Give the URL of a port that nobody listens at, and that nobody else can take during the block."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def test_a_connection_that_is_refused_names_the_address_and_may_be_tried_again() -> None:
    with closed_port() as url:
        fault, again = ask(url)
    assert (fault.reason, fault.is_retryable, again) == (Reason.API_UNAVAILABLE, True, 1)
    assert "the connection was refused" in fault.seen
    assert fault.hint.startswith(f"start the API at {url} ")


def test_a_name_that_is_not_known_is_told_apart() -> None:
    """Names of other hosts are not looked up in tests, so the resolver's answer is made here."""
    fault = httpx2.ConnectError("[Errno -2] Name or service not known")
    fault.__cause__ = socket.gaierror(-2, "Name or service not known")
    told = lost("https://user:secret@api.example", fault)
    assert (told.reason, told.pause_s, told.was_sent) == (Reason.API_UNAVAILABLE, 0.0, False)
    assert told.seen.startswith("https://api.example cannot be reached: its name cannot be resolved")
    assert "(https://api.example), and the DNS" in told.hint


def test_an_api_that_says_nothing_in_time_is_told_apart() -> None:
    with listening(say_nothing) as url:
        fault, again = ask(url, timeout_s=0.2)
    assert (fault.reason, again) == (Reason.API_UNAVAILABLE, 1)
    assert "no answer in time" in fault.seen
    assert f"between here and {url.rstrip('/')}" in fault.hint


def leave(peer: socket.socket) -> None:
    """Read a request and close the connection without an answer."""
    peer.recv(65_536)


def answer_plainly(peer: socket.socket) -> None:
    """Answer whatever comes as a server without TLS does."""
    peer.recv(65_536)  # what is unread when a socket closes resets it, and the answer is lost
    peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def test_an_address_without_tls_is_told_apart() -> None:
    with listening(answer_plainly) as url:
        fault, _ = ask(url.replace("http:", "https:"))
    assert fault.reason is Reason.API_UNAVAILABLE
    assert "TLS failed: " in fault.seen
    assert "else FAKESIEVE_API_URL begins with http://" in fault.hint


def test_plain_text_is_not_advised_over_a_network() -> None:
    """No other host is asked in tests, so the failed handshake is made here."""
    fault = httpx2.ConnectError("[SSL: WRONG_VERSION_NUMBER] wrong version number")
    fault.__cause__ = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    told = lost("https://api.example", fault)
    assert told.hint == "check that https://api.example speaks TLS at this port"


def test_an_error_of_tls_behind_the_handshake_is_none_of_the_address(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "localhost")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)

    def answer_garbage(peer: socket.socket) -> None:
        with server.wrap_socket(peer.dup(), server_side=True) as hidden:
            hidden.recv(65_536)
            peer.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))  # a record that nobody has sealed

    trusting = ssl.create_default_context(cafile=certificate)
    with listening(answer_garbage) as url, httpx2.Client(verify=trusting, timeout=PATIENCE_S) as http:
        address = url.replace("http://127.0.0.1", "https://localhost").rstrip("/")
        client = Client(address, "fsk_x", tries=2, http=http, sleep=lambda _: None)
        with pytest.raises(ApiUnreachable) as caught:
            client.whoami()
    assert "the connection ended with an error of TLS: " in caught.value.seen
    assert caught.value.hint.startswith(f"see the log of {address}, ")
    assert caught.value.is_retryable


def test_a_certificate_that_is_not_trusted_is_not_tried_again(tmp_path: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(make_certificate(tmp_path, "localhost"))

    def shake_hands(peer: socket.socket) -> None:
        server.wrap_socket(peer, server_side=True).close()

    with listening(shake_hands) as url:
        fault, again = ask(url.replace("http://127.0.0.1", "https://localhost"))
    assert (fault.reason, fault.is_retryable, again) == (Reason.API_UNAVAILABLE, False, 0)
    assert "its certificate is not trusted: self-signed certificate" in fault.seen
    assert "SSL_CERT_FILE" in fault.hint


def test_what_the_caller_is_handling_is_no_cause() -> None:
    """A caller may come here because another host has no good certificate."""
    with listening(leave) as url:
        try:
            raise ssl.SSLCertVerificationError("the first host's")
        except ssl.SSLError:
            fault, again = ask(url)
    assert "Server disconnected" in fault.seen
    assert (fault.is_retryable, again) == (True, 1)


def go_over(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have requests go over a proxy, but for those to hosts under internal.example."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "internal.example")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_named_in_place_of_the_api(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closed_port() as proxy:
        go_over(proxy.replace("http://", "http://user:secret@"), monkeypatch)
        fault, again = ask(f"{scheme}://api.example")
    assert (fault.reason, fault.was_sent, again) == (Reason.API_UNAVAILABLE, False, 1)
    assert fault.seen.startswith(
        f"{scheme}://api.example cannot be reached over the proxy {proxy}: the proxy refused the connection"
    )
    assert fault.hint.startswith(f"check {proxy} in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY")
    assert "secret" not in str(fault)


def refuse(peer: socket.socket) -> None:
    """Refuse to connect anybody, as a proxy that wants to know who asks."""
    peer.recv(65_536)
    peer.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")


def test_a_proxy_that_refuses_is_named_and_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(refuse) as proxy:
        go_over(proxy, monkeypatch)
        fault, again = ask("https://api.example")
    assert (fault.reason, fault.was_sent, again) == (Reason.API_UNAVAILABLE, False, 0)
    assert "the proxy answered 407 Proxy Authentication Required" in fault.seen


def test_a_proxy_that_is_not_gone_over_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    go_over("proxy.example:3128", monkeypatch)
    assert find_proxy(httpx2.URL("https://api.example")) == "http://proxy.example:3128"
    assert find_proxy(httpx2.URL("https://api.internal.example")) is None
    monkeypatch.setenv("NO_PROXY", "other.example, *")
    assert find_proxy(httpx2.URL("https://api.example")) is None


@pytest.mark.parametrize("user", ["user:secret@", "user:a/secret@", "secret@user:a@"])
@pytest.mark.parametrize("scheme", ["https://", "HTTP://", "", "ftp://"])
def test_no_password_in_an_address_is_told(scheme: str, user: str) -> None:
    told = lost(f"{scheme}{user}api.example", httpx2.ConnectError("lost"))
    assert "api.example cannot be reached" in told.seen
    assert "api.example" in told.hint
    assert "secret" not in str(told)


def test_an_address_that_cannot_be_read_is_refused_without_its_password() -> None:
    with pytest.raises(SetupRefused) as caught:
        Client("https://user:secret/x@api.example", "fsk_x")
    assert caught.value.reason is Reason.INVALID_SETTINGS
    assert caught.value.seen.startswith("https://api.example cannot be read")
    assert (caught.value.__cause__, "secret" in str(caught.value)) == (None, False)


def break_off(peer: socket.socket) -> None:
    """Begin an answer and close the connection in its middle."""
    peer.recv(65_536)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: 100\r\n\r\nid,")


def test_an_answer_that_breaks_off_tells_no_password_either() -> None:
    with listening(break_off) as url:
        client = Client(url.replace("http://", "http://user:secret@"), "fsk_x")
        with client, pytest.raises(ApiUnreachable) as caught:
            client.results.write(io.BytesIO())
    assert caught.value.seen.startswith(f"the answer of {url.rstrip('/')} broke off")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["api.example", "ftp://api.example"])
def test_an_address_without_a_scheme_that_is_spoken_is_said_to_lack_it(address: str) -> None:
    fault, again = ask(address)
    assert (fault.reason, fault.is_retryable, again) == (Reason.API_UNAVAILABLE, False, 0)
    assert fault.hint == "begin FAKESIEVE_API_URL with http:// or https://"
