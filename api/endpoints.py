"""How a synchronous route runs: in one thread, its transaction with it.

FastAPI by itself enters a thread for each dependency, for the beginning of a transaction, for the route, for
a look at its answer and for the end of the transaction. Nine visits cost more processor time than most
questions to the database. Of these the look at the answer and its JSON would stay on the event loop, where a
page of 500 lines keeps all others waiting.
"""

from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import wraps
from http import HTTPStatus
from inspect import iscoroutinefunction, signature
from typing import Any, cast

from fastapi import Response
from fastapi.exceptions import ResponseValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from api.dependencies import Begin, LookUp, LookUps, Transaction, Transactions

Endpoint = Callable[..., Any]
Writer = Callable[[object, Response | None], object]
_BEGUN = (Transaction, LookUp)
_TO_BEGIN = (Transactions, LookUps)


def may_begin(endpoint: Endpoint) -> bool:
    """Whether a route's function is given a transaction, or what begins one."""
    return any(each.annotation in (*_BEGUN, *_TO_BEGIN) for each in signature(endpoint).parameters.values())


def run_in_one_thread(endpoint: Endpoint, write: Writer) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return a route's function as a coroutine; one that is a coroutine already as it is.

    The transactions among its parameters begin in the thread in which it runs. They commit there when
    ``write`` has made the answer of what it returned and of the response that it was given, if any, and are
    undone by any error.
    """
    if iscoroutinefunction(endpoint):
        return endpoint
    names = [name for name, each in signature(endpoint).parameters.items() if each.annotation in _BEGUN]

    def work(values: dict[str, Any]) -> object:
        with ExitStack() as stack:
            begun = {name: stack.enter_context(cast("Begin", values[name])()) for name in names}
            shown = endpoint(**{**values, **begun})
            return write(shown, next((each for each in values.values() if isinstance(each, Response)), None))

    @wraps(endpoint)
    async def run(**values: Any) -> object:
        return await run_in_threadpool(work, values)

    return run


def write_answer(route: APIRoute, shown: object, given: Response | None) -> object:
    """Return what a route's function returned as an answer, as FastAPI would make it of the route's shape.

    Raises ``ResponseValidationError`` for what is not of that shape.
    """
    shape = route.response_field
    if shape is None or isinstance(shown, Response):
        return shown
    value, faults = shape.validate(shown, {}, loc=("response",))
    if faults:
        raise ResponseValidationError(errors=faults, body=shown)
    status = (given.status_code if given else None) or route.status_code or HTTPStatus.OK
    answer = Response(shape.serialize_json(value), status, media_type="application/json")
    if given is not None:
        answer.headers.raw.extend(given.headers.raw)
    return answer
