"""How a synchronous route runs: in one thread, its transaction with it.

FastAPI by itself enters a thread for each dependency, for the beginning of a transaction, for the route, for
a look at its answer and for the end of the transaction. Nine visits cost more processor time than most
questions to the database.
"""

from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import wraps
from inspect import iscoroutinefunction, signature
from typing import Any, cast

from starlette.concurrency import run_in_threadpool

from api.dependencies import Begin, LookUp, LookUps, Transaction, Transactions

Endpoint = Callable[..., Any]
_BEGUN = (Transaction, LookUp)
_TO_BEGIN = (Transactions, LookUps)


def may_begin(endpoint: Endpoint) -> bool:
    """Whether a route's function is given a transaction, or what begins one."""
    return any(each.annotation in (*_BEGUN, *_TO_BEGIN) for each in signature(endpoint).parameters.values())


def run_in_one_thread(endpoint: Endpoint) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return a route's function as a coroutine; one that is a coroutine already as it is.

    The transactions among its parameters begin in the thread in which it runs. They commit there when it has
    returned, and are undone by any error.
    """
    if iscoroutinefunction(endpoint):
        return endpoint
    names = [name for name, each in signature(endpoint).parameters.items() if each.annotation in _BEGUN]

    def work(values: dict[str, Any]) -> object:
        with ExitStack() as stack:
            begun = {name: stack.enter_context(cast("Begin", values[name])()) for name in names}
            return endpoint(**{**values, **begun})

    @wraps(endpoint)
    async def run(**values: Any) -> object:
        return await run_in_threadpool(work, values)

    return run
