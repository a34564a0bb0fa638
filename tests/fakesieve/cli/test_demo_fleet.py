import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer import Exit

from engine.result_forms import round_number
from fakesieve.__main__ import main
from fakesieve.cli.demo_fleet import TOLERANCE, compare, start_fleet
from fakesieve.embedded.run_folder import RunFolder, is_alive
from tests.waiting import PATIENCE_S, wait_until


def document(raw: float | None, *frames: float | None) -> dict[str, object]:
    tracks = [{"score": raw, "frames": [{"score": score} for score in frames]}]
    return {"score": {"raw": raw, "calibrated": None}, "tracks": tracks}


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        (document(0.5, 0.25, None), document(0.5, 0.25, None), 0.0),
        (document(0.5, 0.25), document(0.5, 0.375), 0.125),
        (document(0.5, 0.25), document(0.25, 0.25), 0.25),
        (document(0.5, None), document(0.5, 0.0), math.inf),
        (document(0.5, 0.25), document(0.5, 0.25, 0.25), math.inf),
        (document(None), document(None), 0.0),
    ],
)
def test_documents_are_compared_down_to_each_face(
    one: dict[str, object], other: dict[str, object], difference: float
) -> None:
    assert compare(one, other) == difference


def test_a_score_may_be_rounded_up_here_and_down_there_and_no_more() -> None:
    raws = [0.1234565 + shift for shift in (-1e-7, 1e-7)]
    one, other = (document(round_number(raw)) for raw in raws)
    assert 0 < compare(one, other) <= TOLERANCE
    assert compare(document(0.123456), document(0.123458)) > TOLERANCE


def test_without_clips_it_says_how_to_make_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fakesieve.__main__.signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as stop:
        main(["demo-fleet", "--out", str(tmp_path)])
    assert stop.value.code == 1
    assert f"hint: make it first: fakesieve demo --out {tmp_path}" in capsys.readouterr().err


PROGRAM = """
import json, pathlib, sys
command, _, folder = sys.argv[1:4]
place = pathlib.Path(folder)
place.mkdir(exist_ok=True)
if (place / "env").exists() and command == "up":
    sys.exit("error: INVALID_REQUEST: a fleet runs there already\\nhint: end it")
if command == "up":
    (place / "env").write_text("export FAKESIEVE_BUCKET='videos'\\n")
with (pathlib.Path(__file__).parent / "calls").open("a") as calls:
    print(command, place, file=calls)
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a stand-in for the program notes what it was asked to do."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr("fakesieve.cli.demo_fleet.name_command", lambda: (sys.executable, str(program)))
    return tmp_path / "calls"


def test_a_fleet_that_is_not_kept_ends_and_leaves_nothing(calls: Path) -> None:
    with start_fleet({}) as environment:
        assert environment["FAKESIEVE_BUCKET"] == "videos"
    up, down = (line.split() for line in calls.read_text().splitlines())
    assert (up[0], down[0], up[1]) == ("up", "down", down[1])
    assert not Path(up[1]).parent.exists()


def test_a_fleet_that_is_kept_goes_on(calls: Path, tmp_path: Path) -> None:
    with start_fleet({}, tmp_path / "kept"):
        pass
    assert calls.read_text() == f"up {tmp_path / 'kept'}\n"


def test_what_is_to_be_kept_ends_where_the_demonstration_failed(calls: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no scores"), start_fleet({}, tmp_path / "kept"):
        raise ValueError("no scores")
    assert [line.split()[0] for line in calls.read_text().splitlines()] == ["up", "down"]
    assert (tmp_path / "kept").exists()


def test_what_a_command_says_of_its_failure_is_passed_on(
    calls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with start_fleet({}, tmp_path / "kept"):
        pass
    with pytest.raises(Exit) as stop, start_fleet({}, tmp_path / "kept"):
        pass
    assert stop.value.exit_code == 1
    assert "error: INVALID_REQUEST: a fleet runs there already\nhint: end it\n" in capsys.readouterr().err
    assert calls.read_text().count("down") == 0  # the fleet that runs is not this one's to end


def test_what_ends_the_fleet_is_not_ended_by_an_interruption(calls: Path) -> None:
    """Also not at its very start, when it is still one of those that the terminal's Ctrl-C reaches."""
    program = calls.parent / "program.py"
    interrupted = "import os, sys\nif 'down' in sys.argv: [os.kill(os.getpid(), n) for n in (2, 1)]\n"
    program.write_text(interrupted + PROGRAM)
    with start_fleet({}):
        pass
    assert [line.split()[0] for line in calls.read_text().splitlines()] == ["up", "down"]


# The real commands over a fleet without servers: one program, which gets ready only when it is told to. What
# ends the fleet waits for the second interruption, which would meet another program if it came later, and as
# long as the test does: it has a session of its own and heeds no interruption.
BARE = """
import pathlib, sys, time
interrupted = pathlib.Path(__file__).with_name("interrupted")
until_s = time.monotonic() + PATIENCE_S
while "down" in sys.argv and not interrupted.exists() and time.monotonic() < until_s:
    time.sleep(0.02)
from fakesieve.__main__ import main
from fakesieve.cli import up
from fakesieve.cli.demo_fleet import start_fleet
from fakesieve.embedded.program import Program

class BareFleet:
    def __init__(self, folder, commands):
        self.folder = folder
    def start(self, supervisor, tell):
        sleep = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
        log = self.folder.logs / "sleeper.log"
        ready = lambda: sys.argv[0].endswith("ready.py")
        supervisor.start(Program("sleeper", sleep, self.folder.path, log, is_ready=ready))
        return {"FAKESIEVE_BUCKET": "videos"}

up.Fleet = BareFleet
name_command = lambda: (sys.executable, "-P", __file__)
up.name_command = name_command
if len(sys.argv) > 1:
    main()
import fakesieve.cli.demo_fleet as demo
demo.name_command = name_command
import signal, typer
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as the command does
def run():
    with start_fleet({}):
        time.sleep(600)
typer.run(run)
"""


@pytest.mark.parametrize("moment", ["starting", "ready"])
def test_an_interruption_ends_the_fleet_whenever_it_comes(tmp_path: Path, moment: str) -> None:
    """While it starts the command alone is told to end; later comes Ctrl-C, which all in the terminal get."""
    program, log = tmp_path / f"{moment}.py", tmp_path / "log"
    program.write_text(f"PATIENCE_S = {PATIENCE_S}\n{BARE}")
    command, environment = [sys.executable, "-P", str(program)], {**os.environ, "TMPDIR": str(tmp_path)}
    with (
        log.open("wb") as said,
        subprocess.Popen(command, env=environment, stderr=said, start_new_session=True) as process,
    ):
        try:
            wait_until(lambda: list(tmp_path.glob("fakesieve-demo-*/fleet/pids.json")))
            (place,) = tmp_path.glob("fakesieve-demo-*/fleet")
            folder = RunFolder(place)
            is_there = (
                folder.env_file.exists if moment == "ready" else lambda: "sleeper" in folder.read_pids()
            )
            wait_until(is_there)
            pids = folder.read_pids()
            if moment == "starting":
                process.terminate()
            else:
                time.sleep(1)  # it goes on with what follows the start
                os.killpg(process.pid, signal.SIGINT)
            wait_until(lambda: b"$ fakesieve down" in log.read_bytes(), log.read_text)
            os.killpg(process.pid, signal.SIGINT)
            (tmp_path / "interrupted").touch()
            process.wait(PATIENCE_S)
        finally:  # a test that failed leaves none of them, and does not wait for them
            (tmp_path / "interrupted").touch()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == (143 if moment == "starting" else 130), log.read_text()
    assert not [role for role, pid in pids.items() if is_alive(pid)]
    assert {each.name for each in tmp_path.iterdir()} == {program.name, log.name, "interrupted"}
