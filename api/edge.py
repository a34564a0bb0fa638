"""What stands around every request, known route or not: its id, its trace, its log line, its last resort.

It speaks ASGI and not the framework's middleware classes, which would run each answer through a queue of
its own and so break streams.
"""

import re
import secrets
import time
import traceback
from dataclasses import dataclass, field
from typing import cast

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.admission import refuse_empty
from api.problems import BrokenOff, Problem, write_problem
from api.services import Services
from fakesieve.logging import bound_fields, get_logger
from fakesieve.reasons import Reason
from fakesieve.records.tenants import Caller

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_TRACE = re.compile(r"00-(?P<trace>[0-9a-f]{32})-[0-9a-f]{16}-(?P<flags>[0-9a-f]{2})")
_NO_TRACE = "0" * 32
_API = "/v1/"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# What every answer says unless its route says otherwise. Pages bring their own policy.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_log = get_logger(__name__)


@dataclass
class _Seen:
    """What came of one request."""

    begin_s: float = field(default_factory=time.monotonic)
    status: int = 0
    is_refused: bool = False  # before its route was looked for


class Edge:
    """The outermost application."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app, self._services = app, services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        headers = Headers(scope=scope)
        state["request_id"] = choose_request_id(headers.get("x-request-id"))
        state["trace"] = continue_trace(headers.get("traceparent"))
        seen = _Seen()

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                _mark(MutableHeaders(scope=message), state)
            await send(message)

        with bound_fields(request=state["request_id"], trace=state["trace"].split("-")[1]):
            try:
                if await self._refuse(scope, receive, send_marked):
                    seen.is_refused = True
                else:
                    limited = LimitedBody(receive, headers, self._services.settings.api_body_bytes_max)
                    await self._app(scope, limited.receive, send_marked)
            except ClientDisconnect:  # nobody is left to be answered, and nothing of ours has failed
                _log.info("api.caller_left")
            except BrokenOff as end:  # the server closes the connection of an answer that is not finished
                _log.warning("api.broken_off", why=str(end))
            except Exception as fault:  # noqa: BLE001 - process edge: whatever it is, the caller gets an answer
                await self._answer_fault(scope, receive, send_marked, seen, fault)
            finally:
                self._note(scope, seen)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer a key that is over its rate, at once; say whether it is."""
        if not scope["path"].startswith(_API):
            return False
        request = Request(scope)
        refusal = refuse_empty(request, self._services.limits)
        if refusal is None:
            return False
        await write_problem(request, refusal)(scope, receive, send)
        return True

    async def _answer_fault(
        self, scope: Scope, receive: Receive, send: Send, seen: _Seen, fault: Exception
    ) -> None:
        """Log a fault of ours, and tell of it without its details."""
        _log.error("api.fault", error="".join(traceback.format_exception(fault)))
        if seen.status == 0:
            request = Request(scope, receive)
            problem = Problem(Reason.INTERNAL, "the request failed; its id stands in the log")
            await write_problem(request, problem)(scope, receive, send)

    def _note(self, scope: Scope, seen: _Seen) -> None:
        state = cast("dict[str, object]", scope["state"])
        route = "refused" if seen.is_refused else find_route(scope)
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        seconds = time.monotonic() - seen.begin_s
        self._services.metrics.note_answer(method, route, seen.status, seconds)
        reason = cast("Reason | None", state.get("reason"))
        if reason is not None:
            self._services.metrics.note_problem(reason)
        caller = cast("Caller | None", state.get("caller"))
        _log.info(
            "api.answered",
            method=method,
            route=route,
            path=scope["path"][:300],
            status=seen.status,
            ms=round(seconds * 1000, 1),
            caller=caller.key_id if caller else None,
            tenant=caller.tenant_id if caller else None,
            reason=reason,
        )


class LimitedBody:
    """Passes a body on until it is longer than allowed."""

    def __init__(self, receive: Receive, headers: Headers, limit: int) -> None:
        self._receive, self._limit, self._count = receive, limit, 0
        declared = headers.get("content-length", "0")
        self._declared = int(declared) if declared.isdecimal() and len(declared) < 19 else limit + 1

    async def receive(self) -> Message:
        """Return the next piece. Raises ``Problem`` (REQUEST_TOO_LARGE) as soon as it is known."""
        if self._declared > self._limit:
            raise self._refuse()
        message = await self._receive()
        self._count += len(message.get("body", b""))
        if self._count > self._limit:
            raise self._refuse()
        return message

    def _refuse(self) -> Problem:
        seen = f"the body has more than {self._limit} bytes"
        return Problem(Reason.REQUEST_TOO_LARGE, seen, headers={"Connection": "close"})


def choose_request_id(given: str | None) -> str:
    """Return the caller's id of a request where it is a plain word, else a new one."""
    return given if given is not None and REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"


def continue_trace(given: str | None) -> str:
    """Return a ``traceparent`` (W3C Trace Context) of our own within the caller's trace, or of a new one."""
    found = _TRACE.fullmatch(given or "")
    if found is None or found["trace"] == _NO_TRACE:
        return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
    return f"00-{found['trace']}-{secrets.token_hex(8)}-{found['flags']}"


def find_route(scope: Scope) -> str:
    """Return the path of the route that was found, with names in place of ids; a closed list."""
    return str(getattr(scope.get("route"), "path", "")) or "unknown"


def _mark(headers: MutableHeaders, state: dict[str, object]) -> None:
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    headers["X-Request-Id"] = str(state["request_id"])
    headers["traceparent"] = str(state["trace"])
    for name, value in cast("dict[str, str]", state.get("rate_headers", {})).items():
        headers[name] = value
