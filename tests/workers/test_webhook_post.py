"""Whatever a receiver does, a message ends in time, in little memory, and where it was meant to go."""

import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from socket import socket

import pytest

from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.values.webhooks import AttemptFault
from fakesieve.webhooks.addresses import AddressRules
from fakesieve.webhooks.deliveries import SendResult
from tests.certificates import make_certificate
from tests.receivers import LOCAL_NETWORKS, answering, listening, read_request, receiving
from tests.waiting import PATIENCE_S
from workers.webhook_post import PostRules, post_message

LOCAL = AddressRules.allow(LOCAL_NETWORKS)
PATIENT = PostRules(LOCAL, PATIENCE_S, PATIENCE_S)
QUICK = PostRules(LOCAL, connect_s=0.4, total_s=0.8)  # for receivers that give no answer at all


def post(url: str, rules: PostRules = PATIENT) -> SendResult:
    return post_message(url, {"webhook-id": "evt_1"}, b"{}", rules)


def test_a_message_arrives_with_its_headers() -> None:
    with receiving() as receiver:
        result = post(receiver.url + "?token=t")
    (message,) = receiver.messages
    assert (result.status, result.fault, result.is_delivered) == (204, None, True)
    assert (message.path, message.body) == ("/hook?token=t", b"{}")
    assert message.headers["webhook-id"] == "evt_1"
    assert message.headers["Content-Type"] == "application/json"
    assert message.headers["Host"] == receiver.url.split("/")[2]


def test_a25_the_name_is_looked_up_once_and_the_connection_goes_to_that_address() -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    with receiving() as receiver:
        url = receiver.url.replace("127.0.0.1", "rebind.example")
        result = post(url, replace(PATIENT, resolve=resolve))
    assert result.is_delivered
    assert asked == ["rebind.example"]
    assert receiver.messages[0].headers["Host"].startswith("rebind.example:")


def test_a25_a_name_that_turns_inward_before_sending_is_not_called() -> None:
    with receiving() as receiver:
        url = receiver.url.replace("http://127.0.0.1", "https://rebind.example").replace("/hook", "")
        port = int(url.rpartition(":")[2])
        rules = replace(
            PATIENT, addresses=AddressRules(ports=frozenset({port})), resolve=lambda *_: ["127.0.0.1"]
        )
        result = post(url, rules)
    assert result.fault is AttemptFault.URL_NOT_ALLOWED
    assert receiver.messages == []


def test_the_peer_of_the_socket_is_looked_at_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        monkeypatch.setattr("workers.webhook_post.check_address", _refuse)
        result = post(receiver.url)
    assert result.fault is AttemptFault.URL_NOT_ALLOWED
    assert receiver.messages == []


def _refuse(*_: object) -> None:
    raise RequestRefused(Reason.URL_NOT_ALLOWED, "not there")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a26_and_a35_no_redirect_is_followed(status: int) -> None:
    with receiving() as inner, receiving() as receiver:
        receiver.statuses, receiver.answer_headers = [status], {"Location": inner.url}
        result = post(receiver.url)
    assert (result.status, result.fault) == (status, AttemptFault.REDIRECT)
    assert inner.messages == []


def test_a36_a_receiver_that_sleeps_is_left_in_time() -> None:
    with receiving() as receiver:
        receiver.pause = threading.Event()
        begun = time.monotonic()
        result = post(receiver.url, QUICK)
        assert time.monotonic() - begun < PATIENCE_S  # the receiver would go on for as long
        receiver.pause.set()
    assert result.fault is AttemptFault.TIMEOUT


def drip(peer: socket) -> None:
    while True:
        peer.sendall(b"H")
        time.sleep(0.05)


def drip_headers(peer: socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        peer.sendall(b"X-A: b\r\n")
        time.sleep(0.05)


@pytest.mark.parametrize("answer", [drip, drip_headers])
def test_a31_a_receiver_that_drips_its_answer_is_left_in_time(answer: object) -> None:
    begun = time.monotonic()
    with answering(answer) as url:
        result = post(url, QUICK)
    assert result.fault is AttemptFault.TIMEOUT
    assert time.monotonic() - begun < PATIENCE_S


def endless(peer: socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        peer.sendall(b"x" * 65_536)


def lying(peer: socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nshort")


def zipped(peer: socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00")


@pytest.mark.parametrize("answer", [endless, lying, zipped], ids=["A32", "A33", "A34"])
def test_only_the_beginning_of_an_answer_is_read_and_nothing_is_unpacked(answer: object) -> None:
    with answering(answer) as url:
        result = post(url)
    assert result.is_delivered
    assert len(result.answer or "") <= 1024


def nonsense(peer: socket) -> None:
    peer.sendall(b"SSH-2.0-OpenSSH\r\n")


def silence(peer: socket) -> None:
    peer.close()


@pytest.mark.parametrize("answer", [nonsense, silence])
def test_what_is_no_answer_is_a_fault(answer: object) -> None:
    with answering(answer) as url:
        assert post(url).fault in (AttemptFault.BROKEN_ANSWER, AttemptFault.CONNECT_FAILED)


def test_nobody_listening_is_a_fault() -> None:
    with answering(silence) as url:
        gone = url
    assert post(gone).fault is AttemptFault.CONNECT_FAILED


def test_an_unknown_name_is_a_fault() -> None:
    def fail(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    assert (
        post("http://nowhere.example/", replace(PATIENT, resolve=fail)).fault is AttemptFault.NAME_NOT_FOUND
    )


@pytest.mark.parametrize(
    ("status", "header", "expected"),
    [(429, "120", 120.0), (503, "0", 0.0), (500, "120", None), (429, "x", None)],
)
def test_a_busy_receiver_may_ask_for_time(status: int, header: str, expected: float | None) -> None:
    with receiving() as receiver:
        receiver.statuses, receiver.answer_headers = [status], {"Retry-After": header}
        assert post(receiver.url).retry_after_s == expected


@pytest.mark.parametrize(("name", "is_fine"), [("hooks.example", True), ("other.example", False)])
def test_over_tls_the_certificate_must_be_of_the_name(tmp_path: Path, name: str, is_fine: bool) -> None:
    path = make_certificate(tmp_path, "hooks.example")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)

    def answer(peer: socket) -> None:
        with server.wrap_socket(peer, server_side=True) as secure:
            read_request(secure)
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with listening(answer) as url:
        port = int(url.rsplit(":", 1)[1].strip("/"))
        rules = PostRules(
            AddressRules(LOCAL.networks, frozenset({port})),
            PATIENCE_S,
            PATIENCE_S,
            lambda *_: ["127.0.0.1"],
            ssl.create_default_context(cafile=str(path)),
        )
        result = post(f"https://{name}:{port}/", rules)
    assert result.is_delivered is is_fine
    assert result.fault is (None if is_fine else AttemptFault.TLS_FAILED)
