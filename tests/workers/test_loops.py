import os
import signal
import threading

import pytest

from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason
from tests.waiting import PATIENCE_S
from workers.loops import LoopRules, run_loop, run_together, stop_on_signals


def _script(stop, *turns):
    """A turn that plays a script and then ends the loop."""
    steps = iter(turns)
    done = []

    def turn():
        step = next(steps, None)
        done.append(step)
        if step is None:
            stop.set()
            return False
        if isinstance(step, Exception):
            raise step
        return step

    return turn, done


def test_loop_goes_on_after_a_service_was_away():
    stop = threading.Event()
    away = Unavailable(Reason.BROKER_UNAVAILABLE, "away")
    turn, done = _script(stop, True, away, away, False)
    run_loop("relay", turn, LoopRules(idle_s=0.001, longest_s=0.002), stop)
    assert done == [True, away, away, False, None]


def test_fault_of_ours_ends_the_loop():
    stop = threading.Event()
    turn, _ = _script(stop, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run_loop("relay", turn, LoopRules(idle_s=0.001), stop)


def test_one_loop_goes_on_while_another_waits():
    stop, held = threading.Event(), threading.Event()
    done = []

    def count():
        done.append(len(done))
        if len(done) == 5:
            held.set()
            stop.set()

    run_together([lambda: held.wait(PATIENCE_S), lambda: [count() for _ in range(5)]], stop)
    assert (done, held.is_set()) == ([0, 1, 2, 3, 4], True)


def test_a_fault_in_one_loop_ends_the_others_and_is_told():
    stop = threading.Event()
    turn, _ = _script(stop, ZeroDivisionError())
    rules = LoopRules(idle_s=0.001)
    with pytest.raises(ZeroDivisionError):
        run_together(
            [
                lambda: run_loop("one", turn, rules, stop),
                lambda: run_loop("other", lambda: False, rules, stop),
            ],
            stop,
        )
    assert stop.is_set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_sets_the_event(number):
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        stop = stop_on_signals()
        os.kill(os.getpid(), number)
        assert stop.wait(PATIENCE_S)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
