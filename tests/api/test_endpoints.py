"""A synchronous route runs in one thread, and its transaction begins and ends there."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from inspect import signature

import anyio
import pytest
from fastapi import APIRouter, Response
from fastapi.exceptions import ResponseValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.dependencies import CallerDep, LookUp, LookUps, Transaction, Transactions
from api.endpoints import may_begin, run_in_one_thread, write_answer


class Steps:
    """What was done in which thread, in its order; stands in for what begins a transaction."""

    def __init__(self) -> None:
        self.names, self.threads = list[str](), set[int]()

    def note(self, name: str) -> None:
        self.names.append(name)
        self.threads.add(threading.get_ident())

    @contextmanager
    def begin(self) -> Generator[Session]:
        self.note("begun")
        try:
            with Session() as session:
                yield session
        except (ValueError, ResponseValidationError):
            self.note("undone")
            raise
        self.note("committed")


def as_it_is(shown: object, given: Response | None) -> object:
    del given
    return shown


def _show_in_one(steps: Steps) -> Callable[..., str]:
    def show(name: str, session: Transaction) -> str:
        assert isinstance(session, Session)
        steps.note(name)
        return name.upper()

    return show


def _show_along_keys(steps: Steps) -> Callable[..., str]:
    def show(name: str, session: LookUp) -> str:
        assert isinstance(session, Session)
        steps.note(name)
        return name.upper()

    return show


@pytest.mark.parametrize("make", [_show_in_one, _show_along_keys])
def test_all_of_a_route_happens_in_one_thread(make: Callable[[Steps], Callable[..., str]]) -> None:
    steps = Steps()
    show = make(steps)
    run = run_in_one_thread(show, as_it_is)
    assert anyio.run(lambda: run(name="shown", session=steps.begin)) == "SHOWN"
    assert steps.names == ["begun", "shown", "committed"]
    assert len(steps.threads) == 1
    assert threading.get_ident() not in steps.threads
    assert (signature(run), run.__name__) == (signature(show), "show")


def test_an_error_undoes_the_transaction() -> None:
    steps = Steps()

    def fail(session: Transaction) -> None:
        raise ValueError("it went wrong")

    with pytest.raises(ValueError, match="went wrong"):
        anyio.run(lambda: run_in_one_thread(fail, as_it_is)(session=steps.begin))
    assert steps.names == ["begun", "undone"]


def test_what_waits_stays_a_coroutine() -> None:
    async def wait(begin: Transactions) -> None: ...

    assert run_in_one_thread(wait, as_it_is) is wait


def test_what_may_begin_a_transaction_says_so() -> None:
    def show(caller: CallerDep, session: Transaction) -> None: ...

    def talk(begin: Transactions) -> None: ...

    def find(session: LookUp) -> None: ...

    def look(begin: LookUps) -> None: ...

    def tell(caller: CallerDep) -> None: ...

    assert [may_begin(each) for each in (show, talk, find, look, tell)] == [True, True, True, True, False]


class Shown(BaseModel):
    name: str


def make_given() -> Response:
    """What FastAPI gives a function that asks for the response, to put headers and a status on."""
    given = Response()
    del given.headers["content-length"]
    given.status_code = None  # type: ignore[assignment] - as FastAPI leaves it
    return given


def make_route(endpoint: Callable[..., object], **options: object) -> APIRoute:
    router = APIRouter()
    router.add_api_route("/shown", endpoint, response_model=Shown, **options)
    (route,) = router.routes
    assert isinstance(route, APIRoute)
    return route


def test_an_answer_is_made_before_the_transaction_ends_and_in_its_thread() -> None:
    steps = Steps()

    def show(session: Transaction, response: Response) -> Shown:
        response.headers["Location"] = "/elsewhere"
        return Shown(name="x")

    route = make_route(lambda: None, status_code=201)

    def write(shown: object, given: Response | None) -> object:
        steps.note("written")
        return write_answer(route, shown, given)

    answer = anyio.run(lambda: run_in_one_thread(show, write)(session=steps.begin, response=make_given()))
    assert steps.names == ["begun", "written", "committed"]
    assert len(steps.threads) == 1
    assert (answer.status_code, answer.body, answer.media_type) == (201, b'{"name":"x"}', "application/json")
    assert answer.headers["location"] == "/elsewhere"
    assert answer.headers.getlist("content-length") == ["12"]


def test_work_whose_answer_cannot_be_made_is_undone() -> None:
    steps = Steps()

    def show(session: Transaction) -> object:
        return {"nothing": "of that shape"}

    run = run_in_one_thread(show, partial(write_answer, make_route(lambda: None)))
    with pytest.raises(ResponseValidationError):
        anyio.run(lambda: run(session=steps.begin))
    assert steps.names == ["begun", "undone"]


def test_an_answer_of_the_routes_own_stays_as_it_is() -> None:
    own = Response(b"file", media_type="image/png")
    assert write_answer(make_route(lambda: None), own, make_given()) is own


def test_a_function_may_choose_another_status() -> None:
    given = make_given()
    given.status_code = 202
    answer = write_answer(make_route(lambda: None, status_code=201), Shown(name="x"), given)
    assert isinstance(answer, Response)
    assert answer.status_code == 202
