"""Failures of telling: receivers that refuse, lead elsewhere, hang or are gone, and a sender that dies."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from fakesieve.embedded.ports import find_ports
from fakesieve.values.webhooks import EndpointDraft
from fakesieve.webhooks.addresses import AddressRules
from fakesieve.webhooks.endpoints import create_endpoint
from tests.chaos.driver import Driver
from tests.receivers import LOCAL_NETWORKS, Message

_SENDERS = ("sender", "sender-2")
_HANG_S = 20.0  # longer than a sender waits for an answer
_TOLD_S = 900.0  # the lease of a dead sender lasts 45 s, and a third try comes after five minutes


@dataclass
class _Receiver:
    """Mistreats the first messages, each in another way, and takes all others. Safe between threads."""

    url: str = ""
    secret: str = ""  # looked at when a message comes, as a receiver refuses what is five minutes old
    ways: list[str] = field(default_factory=lambda: ["500", "redirect", "hang", "reset"])
    messages: dict[str, list[Message]] = field(default_factory=dict)  # by id, in the order of their coming
    refused: list[str] = field(default_factory=list)  # why a message did not verify
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, message: Message) -> str:
        """Keep a message and say how it is treated."""
        try:
            Webhook(self.secret).verify(message.body, dict(message.headers))
        except WebhookVerificationError as fault:
            self.refused.append(str(fault))
        with self.lock:
            known = self.messages.setdefault(message.headers["webhook-id"], [])
            known.append(message)
            return self.ways.pop(0) if self.ways and len(known) == 1 else "204"

    def find_told(self, job_id: str) -> list[str]:
        """Ids of the messages that told of the end of a job."""
        with self.lock:
            bodies = {each: json.loads(found[0].body) for each, found in self.messages.items()}
        return [each for each, body in bodies.items() if body["data"].get("job_id") == job_id]


@contextmanager
def _receiving() -> Iterator[_Receiver]:
    receiver = _Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            way = receiver.take(Message(self.path, headers, body))
            if way == "reset":
                self.connection.shutdown(SHUT_RDWR)
                return
            if way == "hang":
                time.sleep(_HANG_S)
            self.send_response({"500": 500, "redirect": 307}.get(way, 204))
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A sender that has gone is what this is about."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def r37_receivers_fail(d: Driver, jobs: int) -> None:
    """One receiver fails in four ways, another is gone, and a sender dies after it has sent."""
    with _receiving() as receiver:
        receiver.secret = _register(d, receiver.url)
        _register(d, f"http://127.0.0.1:{find_ports(1)[0]}/gone")
        for name in _SENDERS:
            d.stack.start_role(name, FAKESIEVE_WEBHOOK_NETWORKS=",".join(LOCAL_NETWORKS))
        told = [d.submit() for _ in range(jobs)]
        d.wait_ended(*told)  # nobody waits for receivers
        d.wait(lambda: _are_told(receiver, told), "the news of an end", _TOLD_S)
        d.note("R37 receiver failed, led elsewhere, hung and hung up", not receiver.ways)
        d.stack.arm("posted", "kill")
        told += [d.submit() for _ in range(jobs)]
        d.wait_met("posted")
        d.note("R37 sender killed between sending and noting it", was_met=True)
        d.wait_ended(*told)
        waited_s = d.wait(lambda: _are_told(receiver, told), "the news of an end", _TOLD_S)
        codes = [d.stack.drain(name) for name in _SENDERS]
        _check(receiver, told)
    d.note("R37 each end told at least once and under one id", codes == [0, 0])
    count, events = sum(len(found) for found in receiver.messages.values()), len(receiver.messages)
    d.tell("R37", f"{count} messages about {events} events; all told {waited_s:.0f} s after the last end")


def _register(d: Driver, url: str) -> str:
    """Have the tenant told at a URL; return the secret that signs."""
    rules = AddressRules.allow(LOCAL_NETWORKS)

    def work() -> str:
        with d.stack.database.transaction(tenant_id=d.tenant_id) as session:
            return create_endpoint(session, d.tenant_id, "chaos", EndpointDraft(url), rules).secret

    return d.insist(work)


def _are_told(receiver: _Receiver, jobs: list[str]) -> bool:
    return all(receiver.find_told(job_id) for job_id in jobs)


def _check(receiver: _Receiver, jobs: list[str]) -> None:
    """Each end has one id, each id one body, each message a valid signature, and none went elsewhere."""
    for job_id in jobs:
        assert len(receiver.find_told(job_id)) == 1, f"{job_id} was told of under several ids"
    for found in receiver.messages.values():
        assert len({message.body for message in found}) == 1, found[0]
        assert {message.path for message in found} == {"/hook"}, found
    assert receiver.refused == []
