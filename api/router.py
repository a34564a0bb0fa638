"""The router of all resources: every route below it knows its caller before it reads a body."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from typing_extensions import override

from api.auth import authenticate
from api.dependencies import get_services
from api.problems import COMMON_RESPONSES

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ApiRoute(APIRoute):
    """Authenticates, then handles."""

    @override
    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            request.state.caller = await run_in_threadpool(authenticate, request, get_services(request))
            return await handle(request)

        return guarded


class ApiRouter(APIRouter):
    """An ``APIRouter`` of ``ApiRoute`` that names the refusals which every route has."""

    def __init__(self, *, tags: list[str]) -> None:
        super().__init__(tags=list(tags), route_class=ApiRoute, responses=COMMON_RESPONSES)
