"""Names are looked up within a time, and a slow one costs one thread however often it is asked for."""

import threading
from collections.abc import Sequence

import pytest

from fakesieve.values.webhooks import AttemptFault
from fakesieve.webhooks.addresses import AddressRules
from tests.waiting import PATIENCE_S, wait_until
from workers.name_service import NameService
from workers.webhook_post import PostRules, post_message


class Slow:
    """A resolver that answers when it is let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = threading.Event()

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        self.go.wait(PATIENCE_S)
        return [f"192.0.2.{port}"]


@pytest.fixture
def slow() -> Slow:
    return Slow()


def test_a_name_that_takes_too_long_is_given_up(slow: Slow) -> None:
    names = NameService(slow, wait_s=0.05)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            names("slow.example", 7)
        wait_until(lambda: slow.asked)  # its thread may come to run after it was given up
    assert slow.asked == ["slow.example"]
    slow.go.set()
    assert NameService(slow, wait_s=PATIENCE_S)("slow.example", 7) == ["192.0.2.7"]


def test_too_many_slow_names_at_once_are_refused_and_quick_ones_come_back(slow: Slow) -> None:
    names = NameService(slow, wait_s=0.05, pending_max=2)
    for asked, host in enumerate(("one.example", "two.example"), 1):
        with pytest.raises(TimeoutError):
            names(host, 1)
        wait_until(lambda asked=asked: len(slow.asked) == asked)
    with pytest.raises(TimeoutError, match="2 names are being looked up"):
        names("three.example", 1)
    assert slow.asked == ["one.example", "two.example"]
    slow.go.set()
    patient = NameService(slow, wait_s=PATIENCE_S, pending_max=1)
    assert [patient(host, 1) for host in ("four.example", "five.example")] == [["192.0.2.1"], ["192.0.2.1"]]


def test_what_the_look_up_says_is_said(slow: Slow) -> None:
    def fail(host: str, port: int) -> Sequence[str]:
        raise OSError(f"no {host}")

    with pytest.raises(OSError, match=r"no gone\.example"):
        NameService(fail, wait_s=PATIENCE_S)("gone.example", 443)


def test_a_message_to_a_slow_name_ends_as_a_timeout(slow: Slow) -> None:
    rules = PostRules(AddressRules.allow(["127.0.0.0/8"]), resolve=NameService(slow, wait_s=0.05))
    result = post_message("http://slow.example/", {}, b"", rules)
    assert (result.status, result.fault) == (None, AttemptFault.TIMEOUT)
    slow.go.set()
