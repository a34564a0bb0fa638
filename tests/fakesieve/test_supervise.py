import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from fakesieve.embedded.program import EndedAtStart, Program
from fakesieve.errors import Unavailable
from fakesieve.supervise import FIRST_PAUSE_S, LAST_PAUSE_S, STEADY_S, Supervisor, choose_pause
from tests.waiting import PATIENCE_S, wait_until

SLEEP = "import time; time.sleep(600)"


class SteppedClock:
    """A clock that goes on only when a test adds to it: no pause ends by itself."""

    def __init__(self) -> None:
        self.added = 0.0

    def __call__(self) -> float:
        return self.added


class Watched:
    """A supervisor whose words and process ids a test can read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.published: list[Mapping[str, int]] = []
        self.clock = SteppedClock()
        self.supervisor = Supervisor(self.said.append, self.published.append, clock=self.clock)

    def program(self, role: str, code: str = SLEEP, **more: object) -> Program:
        command = (sys.executable, "-c", code)
        return Program(role, command, self.folder, self.folder / f"{role}.log", **more)

    def watch_until(self, is_done: Callable[[], bool]) -> None:
        def look() -> bool:
            self.supervisor.watch()
            return is_done()

        wait_until(look, lambda: f"{self.said}, {self.supervisor.pids}")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.supervisor.stop(lambda: True)


def test_a_killed_program_is_started_again_after_a_pause(watched: Watched) -> None:
    watched.supervisor.start(watched.program("worker"))
    first = watched.supervisor.pids["worker"]
    os.kill(first, signal.SIGKILL)
    watched.watch_until(lambda: not watched.supervisor.pids)
    assert watched.said == [
        f"worker ended with -9; started again in 0.5 s; see {watched.folder / 'worker.log'}"
    ]
    watched.supervisor.watch()
    assert watched.supervisor.pids == {}
    watched.clock.added += FIRST_PAUSE_S
    watched.supervisor.watch()
    assert watched.supervisor.pids["worker"] != first
    assert watched.published[-1] == watched.supervisor.pids


def test_the_pause_doubles_while_it_keeps_ending(watched: Watched) -> None:
    watched.supervisor.start(watched.program("relay", "raise SystemExit(3)"))
    for expected in ("0.5", "1", "2", "4"):
        watched.watch_until(lambda: not watched.supervisor.pids)
        assert watched.said[-1].startswith(f"relay ended with 3; started again in {expected} s")
        watched.clock.added += float(expected)
        watched.watch_until(lambda: bool(watched.supervisor.pids))


@pytest.mark.parametrize(("ran_s", "pause"), [(STEADY_S - 1, "2 s"), (STEADY_S, "0.5 s")])
def test_only_one_that_ran_long_is_forgiven(watched: Watched, ran_s: float, pause: str) -> None:
    watched.supervisor.start(watched.program("relay"))
    for _ in range(2):
        os.kill(watched.supervisor.pids["relay"], signal.SIGKILL)
        watched.watch_until(lambda: not watched.supervisor.pids)
        watched.clock.added += LAST_PAUSE_S
        watched.watch_until(lambda: bool(watched.supervisor.pids))
    watched.clock.added += ran_s
    os.kill(watched.supervisor.pids["relay"], signal.SIGKILL)
    watched.watch_until(lambda: not watched.supervisor.pids)
    assert [line.split("again in ")[1].split(";")[0] for line in watched.said] == ["0.5 s", "1 s", pause]


def test_one_that_refuses_its_setup_is_not_tried_at_once(watched: Watched) -> None:
    watched.supervisor.start(watched.program("worker", "raise SystemExit(78)"))
    watched.watch_until(lambda: bool(watched.said))
    assert watched.said[0].startswith("worker ended with 78; started again in 30 s")


def test_pauses_end_at_half_a_minute() -> None:
    assert [choose_pause(ends) for ends in (1, 2, 3, 6, 7, 1000)] == [0.5, 1.0, 2.0, 16.0, 30.0, 30.0]


def test_the_last_started_ends_first(watched: Watched) -> None:
    order = watched.folder / "order"
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        f"    open({str(order)!r}, 'a').write(ROLE); sys.exit()\n"
        "signal.signal(15, end); open(ROLE, 'w'); time.sleep(600)"
    )
    for role in "abc":
        program = watched.program(role, f"ROLE = {role!r}\n{code}", is_ready=(watched.folder / role).exists)
        watched.supervisor.start(program)
    watched.supervisor.stop()
    assert order.read_text() == "cba"
    assert watched.published[-1] == {}


def test_a_hurried_stop_does_not_wait(watched: Watched) -> None:
    code = f"import signal; signal.signal(15, signal.SIG_IGN); open('up', 'w'); {SLEEP}"
    watched.supervisor.start(
        watched.program("worker", code, is_ready=(watched.folder / "up").exists, stop_s=3600)
    )
    pid, started = watched.supervisor.pids["worker"], time.monotonic()
    watched.supervisor.stop(lambda: True)
    assert time.monotonic() - started < PATIENCE_S
    assert not Path(f"/proc/{pid}").exists()


def test_one_that_does_not_get_ready_is_ended_with_the_rest(watched: Watched) -> None:
    with pytest.raises(Unavailable, match=r"worker was not ready after 0\.1 s"):
        watched.supervisor.start(watched.program("worker", is_ready=lambda: False, start_s=0.1))
    assert set(watched.supervisor.pids) == {"worker"}
    watched.supervisor.stop()
    assert watched.supervisor.pids == {}


def test_one_that_ends_before_it_is_ready_is_not_started_again(watched: Watched) -> None:
    with pytest.raises(EndedAtStart, match="worker ended with 7"):
        watched.supervisor.start(watched.program("worker", "raise SystemExit(7)", is_ready=lambda: False))
    assert watched.published[-1] == {}
    watched.clock.added += LAST_PAUSE_S
    watched.supervisor.watch()
    assert watched.supervisor.pids == {}


def test_one_that_cannot_be_started_again_is_tried_later(watched: Watched) -> None:
    program = watched.program("worker")
    script = watched.folder / "worker"
    script.write_text("#!/bin/sh\nexec sleep 600\n")
    script.chmod(0o755)
    watched.supervisor.start(Program("worker", (str(script),), watched.folder, program.log))
    script.unlink()
    os.kill(watched.supervisor.pids["worker"], signal.SIGKILL)
    watched.watch_until(lambda: len(watched.said) == 1)
    watched.clock.added += FIRST_PAUSE_S
    watched.watch_until(lambda: len(watched.said) == 2)
    assert "could not be started" in watched.said[1]
    assert "started again in 1 s" in watched.said[1]
