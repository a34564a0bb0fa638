"""A synchronous route runs in one thread, and its transaction begins and ends there."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from inspect import signature

import anyio
import pytest
from sqlalchemy.orm import Session

from api.dependencies import CallerDep, LookUp, LookUps, Transaction, Transactions
from api.endpoints import may_begin, run_in_one_thread


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
        except ValueError:
            self.note("undone")
            raise
        self.note("committed")


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
    run = run_in_one_thread(show)
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
        anyio.run(lambda: run_in_one_thread(fail)(session=steps.begin))
    assert steps.names == ["begun", "undone"]


def test_what_waits_stays_a_coroutine() -> None:
    async def wait(begin: Transactions) -> None: ...

    assert run_in_one_thread(wait) is wait


def test_what_may_begin_a_transaction_says_so() -> None:
    def show(caller: CallerDep, session: Transaction) -> None: ...

    def talk(begin: Transactions) -> None: ...

    def find(session: LookUp) -> None: ...

    def look(begin: LookUps) -> None: ...

    def tell(caller: CallerDep) -> None: ...

    assert [may_begin(each) for each in (show, talk, find, look, tell)] == [True, True, True, True, False]
