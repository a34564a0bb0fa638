import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fakesieve.embedded.program import Owner, Program, Running, read_tail, run_to_end
from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason
from tests.waiting import wait_until


def make_program(folder: Path, code: str, **more: object) -> Program:
    command = (sys.executable, "-c", code)
    return Program("worker", command, folder, folder / "worker.log", {"PATH": os.environ["PATH"]}, **more)


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the second where it ends between opening and reading
        return False


def test_it_ends_by_its_signal_and_takes_its_children_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, pathlib, time, sys\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "pathlib.Path('child').write_text(str(child.pid))\n"
        "time.sleep(600)"
    )
    running = Running(make_program(tmp_path, code, is_ready=(tmp_path / "child").exists))
    running.wait_ready()
    wait_until((tmp_path / "child").read_text)
    child = int((tmp_path / "child").read_text())
    assert os.getpgid(running.pid) == running.pid
    running.stop()
    assert running.poll() == -signal.SIGTERM
    assert not is_alive(child)


def test_what_does_not_end_by_itself_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, pathlib, time\n"
        "signal.signal(15, signal.SIG_IGN); pathlib.Path('up').touch(); time.sleep(600)"
    )
    running = Running(make_program(tmp_path, code, is_ready=(tmp_path / "up").exists, stop_s=0.2))
    running.wait_ready()
    running.stop()
    assert running.poll() == -signal.SIGKILL


def test_one_that_ends_before_it_is_ready_says_its_last_words(tmp_path: Path) -> None:
    running = Running(make_program(tmp_path, "raise SystemExit('no disk')", is_ready=lambda: False))
    with pytest.raises(Unavailable, match=r"worker ended with 1: no disk") as caught:
        running.wait_ready()
    assert "worker.log" in caught.value.hint


def test_one_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    running = Running(
        make_program(tmp_path, "import time; time.sleep(600)", is_ready=lambda: False, start_s=0.2)
    )
    with pytest.raises(Unavailable, match=r"was not ready after 0\.2 s"):
        running.wait_ready()
    running.stop()


def test_it_ends_when_the_one_who_started_it_is_killed(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; import sys, time\n"
        "from fakesieve.embedded.program import Program, Running\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "running = Running(Program('worker', ('/bin/sleep', '600'), folder, folder / 'log'))\n"
        "(folder / 'pid').write_text(str(running.pid)); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    child = int((tmp_path / "pid").read_text())
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_alive(child))


def test_files_that_it_leaves_elsewhere_are_removed(tmp_path: Path) -> None:
    left = tmp_path / "left.sock"
    left.touch()
    running = Running(make_program(tmp_path, "pass", leftovers=(left, tmp_path / "never.sock")))
    running.stop()
    assert not left.exists()


def test_a_command_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no-such-program") as caught:
        Running(Program("worker", ("/no-such-program",), tmp_path, tmp_path / "log"))
    assert caught.value.reason is Reason.INTERNAL
    with pytest.raises(Unavailable, match="no-such-program"):
        run_to_end(Program("worker", ("/no-such-program",), tmp_path, tmp_path / "log"))


def test_the_tail_of_a_log_is_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\n\xff three\nfour\n")
    assert read_tail(log) == "two | \\xff three | four"
    assert read_tail(tmp_path / "none") == ""


@pytest.mark.parametrize("wrong", [{"command": ()}, {"role": ""}, {"stop_s": 0.0}])
def test_a_program_that_cannot_be_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    fields: dict[str, object] = {"role": "a", "command": ("a",), "folder": tmp_path, "log": tmp_path / "log"}
    with pytest.raises(ValueError, match="program"):
        Program(**(fields | wrong))
    with pytest.raises(ValueError, match="root"):
        Owner("root", 0, 0)
