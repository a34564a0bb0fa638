"""Readiness is looked for once a second, and a database that hangs is not ready."""

import threading

import pytest

from api.readiness import FRESH_S, PATIENCE_S, Readiness
from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_is_looked_for_at_most_once_a_second() -> None:
    clock, looks = Clock(), list[float]()
    readiness = Readiness(lambda: looks.append(clock.now), clock)
    for _ in range(3):
        readiness.check()
    clock.now += FRESH_S
    readiness.check()
    assert looks == [100.0, 101.0]


def test_a_fault_holds_until_the_next_look() -> None:
    clock, faults = Clock(), [Unavailable(Reason.DATABASE_UNAVAILABLE, "away")]

    def look() -> None:
        if faults:
            raise faults.pop()

    readiness = Readiness(look, clock)
    for _ in range(2):
        with pytest.raises(Unavailable, match="away"):
            readiness.check()
    clock.now += FRESH_S
    readiness.check()


def test_a_database_that_hangs_is_not_ready_for_those_who_do_not_look() -> None:
    clock, looks, begun, end = Clock(), list[int](), threading.Event(), threading.Event()

    def look() -> None:
        looks.append(1)
        if len(looks) > 1:
            begun.set()
            end.wait(300)

    readiness = Readiness(look, clock)
    readiness.check()
    clock.now += FRESH_S
    looker = threading.Thread(target=readiness.check)
    looker.start()
    assert begun.wait(300)
    readiness.check()  # what was seen a moment ago
    clock.now += PATIENCE_S + 1
    with pytest.raises(Unavailable, match="has not answered for 4 s"):
        readiness.check()
    end.set()
    looker.join()
    readiness.check()
