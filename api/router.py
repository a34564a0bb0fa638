"""The router of all resources: what holds for each of its routes before and after its own function.

In this order: whose key it is, whether it asks too often, whether the route has what its query names, whether
the body is JSON that can be read in one way only, whether it was asked before under the same
``Idempotency-Key``. After it, answers to GET get an ``ETag`` and are not sent again to who has them.
"""

import hashlib
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, cast

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from typing_extensions import override

from api.admission import admit, note_miss, prove_at_last
from api.bodies import StrictRequest, check_content_type
from api.dependencies import get_services
from api.endpoints import may_begin, run_in_one_thread, write_answer
from api.idempotency import KeyedRequest, keep, read_key, replay
from api.problems import COMMON_RESPONSES, Problem
from api.query_names import check_names, list_names
from api.services import Services
from fakesieve.errors import FleetError, Unavailable
from fakesieve.reasons import Reason
from fakesieve.records.tenants import Caller
from fakesieve.texts import is_storable

NO_STORE = "no-store"
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ApiRoute(APIRoute):
    """A route whose caller is known. Its function runs in one thread, or is a coroutine that waits."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        # A route that waits takes a turn for each of its looks.
        self._is_waiting = iscoroutinefunction(endpoint)
        self._may_begin = may_begin(endpoint)
        super().__init__(path, run_in_one_thread(endpoint, partial(write_answer, self)), **options)

    @property
    def keeps_answers(self) -> bool:
        """Whether answers are kept under an ``Idempotency-Key``."""
        return "POST" in (self.methods or ()) and not self._is_waiting

    @property
    def is_taggable(self) -> bool:
        """Whether answers get an ETag, unless they hold what is not to be kept. A stream has no end yet."""
        return "GET" in (self.methods or ()) and self.response_class is not StreamingResponse

    @override
    def get_route_handler(self) -> Handler:
        handle = _tell_cause(super().get_route_handler())
        known = list_names(self.dependant)
        work = _handle_waiting if self._is_waiting else _handle_in_turn

        async def guarded(request: Request) -> Response:
            services = get_services(request)
            caller = await admit(request, services, may_prove_later=self._may_begin)
            try:
                _check_address(request)
                check_names(request, known)
                strict = StrictRequest(request.scope, request.receive)
                body = await strict.body()
                if body:
                    check_content_type(request.headers.get("content-type", ""))
                answer = await work(strict, body, caller, services, handle)
                await prove_at_last(request, services)
            except (Problem, FleetError, RequestValidationError) as fault:
                if not isinstance(fault, Unavailable):
                    await prove_at_last(request, services)
                note_miss(services.limits, caller, fault)
                raise
            return _tag(request, answer)

        return guarded


class ApiRouter(APIRouter):
    """An ``APIRouter`` of ``ApiRoute`` that names the refusals which every route has."""

    def __init__(self, *, tags: list[str]) -> None:
        super().__init__(
            tags=list(tags),
            route_class=ApiRoute,
            responses=COMMON_RESPONSES,
            generate_unique_id_function=lambda route: route.name,
        )


def _check_address(request: Request) -> None:
    """Refuse text in path and query that no store can keep."""
    texts = [request.url.path, *(part for pair in request.query_params.multi_items() for part in pair)]
    if not all(map(is_storable, texts)):
        raise Problem(Reason.INVALID_REQUEST, "the address holds NUL or half of a character")


def _tell_cause(handle: Handler) -> Handler:
    """Let what a body's reader refuses reach the caller: FastAPI hides it behind words of its own."""

    async def handle_openly(request: Request) -> Response:
        try:
            return await handle(request)
        except HTTPException as fault:
            if isinstance(fault.__cause__, Problem):
                raise fault.__cause__ from None
            raise

    return handle_openly


async def _handle_waiting(
    request: StrictRequest, body: bytes, caller: Caller, services: Services, handle: Handler
) -> Response:
    del body, caller, services
    return await handle(request)


async def _handle_in_turn(
    request: StrictRequest, body: bytes, caller: Caller, services: Services, handle: Handler
) -> Response:
    # The transaction ends after the answer was made, so the turn ends with it.
    stack = cast("AsyncExitStack", request.scope["fastapi_function_astack"])
    await stack.enter_async_context(services.slots.hold(caller.tenant_id))
    return await _handle_once(request, body, caller, services, handle)


async def _handle_once(
    request: StrictRequest, body: bytes, caller: Caller, services: Services, handle: Handler
) -> Response:
    """Handle a request, or answer it as before where its key was used before."""
    key = read_key(request) if request.method == "POST" else None
    if key is None:
        return await handle(request)
    asked = KeyedRequest.read(request, body, caller, key)
    # Left before the answer is sent, so that nobody is told of work that was not committed.
    stack = cast("AsyncExitStack", request.scope["fastapi_function_astack"])
    transaction = services.database.transaction(tenant_id=caller.tenant_id, viewer=caller.key_id)
    session = await stack.enter_async_context(contextmanager_in_threadpool(transaction))
    before = await run_in_threadpool(replay, session, asked)
    if before is not None:
        return before
    request.state.session = session
    answer = await handle(request)
    await run_in_threadpool(keep, request, session, asked, answer)
    return answer


def _tag(request: Request, answer: Response) -> Response:
    """Give an answer to GET its ETag; leave its body out for a caller that has it."""
    if request.method != "GET" or answer.status_code != 200 or not hasattr(answer, "body"):
        return answer
    if answer.headers.get("cache-control") == NO_STORE:  # it has a link that is a secret while it works
        return answer
    etag = answer.headers.get("etag") or f'"{hashlib.sha256(bytes(answer.body)).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if _names(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    answer.headers.update(headers)
    return answer


def _names(header: str, etag: str) -> bool:
    """Whether ``If-None-Match`` names an ETag; a weak one counts here."""
    return etag in [each.strip().removeprefix("W/") for each in header.split(",")] or header.strip() == "*"
