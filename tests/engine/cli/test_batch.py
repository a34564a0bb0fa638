"""Many inputs: in order, apart from each other, and stoppable."""

import io
import re
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from engine.cli import batch as batch_module
from engine.cli.batch import BatchScanner, Finished
from engine.cli.display import RunDisplay, RunStopped, shorten
from engine.cli.inputs import Input
from engine.errors import BundleInvalid, MediaRejected, Unavailable
from engine.results import RejectReason
from engine.sandbox.handle import Sandbox
from engine.screen import ScanSettings, fail_scan
from engine.watch import Stage
from tests.engine.fakes import fake_tools
from tests.waiting import PATIENCE_S


class FakeSandbox:
    """Counts how often it was closed; nothing here decodes."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


def fault() -> MediaRejected:
    return MediaRejected(RejectReason.NOT_VIDEO, "text", "give a video")


def inputs(count: int) -> list[Input]:
    return [Input(Path(f"{place}.mp4")) for place in range(count)]


def display(count: int) -> RunDisplay:
    return RunDisplay(count, Console(file=io.StringIO()))


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch):
    """Replace the scan of one input by a function of its number."""

    def replace(action) -> None:
        def scanned(path: Path, tools, settings, watcher):
            action(int(path.stem))
            return fail_scan(path, tools, settings, fault())

        monkeypatch.setattr(batch_module, "scan_video", scanned)

    return replace


def run(count: int, jobs: int, write=lambda *_: None, sandbox=None) -> list[Finished]:
    sandbox = sandbox or FakeSandbox()
    scanner = BatchScanner(lambda: fake_tools(sandbox), ScanSettings(), sandbox, jobs=jobs, write=write)
    return list(scanner.run(inputs(count), display(count)))


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_the_order_of_inputs(scan, jobs: int) -> None:
    scan(lambda number: time.sleep(0.02 * (number % 3 == 0)))
    assert [int(done.result.path.stem) for done in run(12, jobs)] == list(range(12))


def test_jobs_run_at_the_same_time_each_with_its_own_tools(scan) -> None:
    barrier = threading.Barrier(3, timeout=PATIENCE_S)
    scan(lambda number: barrier.wait() if number < 3 else None)
    assert len(run(5, 3)) == 5


def test_a_fault_of_this_program_in_one_input_does_not_stop_the_others(scan, capsys) -> None:
    def act(number: int) -> None:
        if number == 1:
            raise ZeroDivisionError("odd")

    scan(act)
    reasons = [done.result.fault.reason for done in run(3, 2)]
    assert reasons == [RejectReason.NOT_VIDEO, RejectReason.INTERNAL, RejectReason.NOT_VIDEO]
    assert "ZeroDivisionError: odd" in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded_ends_the_run_in_silence(scan, capsys) -> None:
    def act(number: int) -> None:
        raise BundleInvalid(RejectReason.MODEL_INVALID, "no graph", "make it again")

    scan(act)
    with pytest.raises(BundleInvalid):
        run(3, 2)
    assert capsys.readouterr().err == ""


def test_an_output_that_cannot_be_written_is_kept_with_its_input(scan) -> None:
    def write(result, tools, watcher, number: int) -> None:
        if number == 0:
            raise Unavailable(RejectReason.OUTPUT_FAILED, "full", "make room")

    scan(lambda number: None)
    first, second = run(2, 1, write)
    assert first.output_fault.reason is RejectReason.OUTPUT_FAILED
    assert second.output_fault is None


def test_a_fault_of_this_program_in_one_output_does_not_stop_the_others(scan, capsys) -> None:
    def write(result, tools, watcher, number: int) -> None:
        if number == 0:
            raise ZeroDivisionError("odd")

    scan(lambda number: None)
    first, second = run(2, 1, write)
    assert first.output_fault.reason is RejectReason.INTERNAL
    assert second.output_fault is None
    assert "ZeroDivisionError: odd" in capsys.readouterr().err


def test_inputs_with_a_fault_of_their_own_are_not_scanned(scan) -> None:
    scan(lambda number: pytest.fail("scanned"))
    sandbox = FakeSandbox()
    scanner = BatchScanner(
        lambda: fake_tools(sandbox), ScanSettings(), sandbox, jobs=1, write=lambda *_: None
    )
    (done,) = scanner.run([Input(Path("none"), fault())], display(1))
    assert done.result.fault.reason is RejectReason.NOT_VIDEO


def test_an_interruption_closes_the_sandbox_and_drops_what_waits(scan) -> None:
    started: list[int] = []

    def act(number: int) -> None:
        started.append(number)
        if number == 1:
            raise KeyboardInterrupt

    scan(act)
    sandbox = FakeSandbox()
    with pytest.raises(KeyboardInterrupt):
        run(50, 1, sandbox=sandbox)
    assert sandbox.closed == 1
    assert len(started) < 10


def test_tools_that_cannot_be_had_end_the_run(scan) -> None:
    def no_tools():
        raise Unavailable(RejectReason.ENGINE_UNAVAILABLE, "no engine", "install one")

    scanner = BatchScanner(no_tools, ScanSettings(), FakeSandbox(), jobs=1, write=lambda *_: None)
    with pytest.raises(Unavailable):
        list(scanner.run(inputs(3), display(3)))


def test_a_stopped_display_ends_the_scans_that_it_follows() -> None:
    shown = display(1)
    shown.stopped.set()
    with shown.follow(Path("a.mp4")) as watcher, pytest.raises(RunStopped):
        watcher.on_samples(1, 2, 0)


def test_nothing_is_shown_where_there_is_no_terminal() -> None:
    text = io.StringIO()
    with RunDisplay(2, Console(file=text)) as shown, shown.follow(Path("a.mp4")) as watcher:
        watcher.on_samples(1, 2, 1)
        shown.finish_input(1)
    assert text.getvalue() == ""


def test_a_terminal_shows_stage_frames_faces_and_the_time_left() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120)
    with RunDisplay(2, console) as shown, shown.follow(Path("a\x1b[2J.mp4")) as watcher:
        watcher.on_stage(Stage.PROBE)
        shown._progress.refresh()
        watcher.on_stage(Stage.DECODE)
        for done in (8, 12, 16):
            watcher.on_samples(done, 32, 9)
        shown.finish_input(1)
        shown._progress.refresh()
        watcher.on_stage(Stage.SCORE)
        shown._progress.refresh()
    lines = [re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", line) for line in re.split(r"[\r\n]", text.getvalue())]
    assert any(" looking " in line for line in lines)
    assert any(re.search(r" scanning, 16 of 32 frames, 9 faces +\d\d:\d\d", line) for line in lines)
    assert any(" scoring " in line for line in lines)
    assert "1 of 2" in text.getvalue()
    assert "a\\x1b[2J.mp4" in text.getvalue()


def test_long_names_lose_their_middle() -> None:
    assert shorten("a" * 50 + ".mp4") == "a" * 17 + "…" + "a" * 13 + ".mp4"
    assert shorten("clip.mp4") == "clip.mp4"


def test_a_real_sandbox_survives_until_the_run_ends(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"text")
    scanner = BatchScanner(
        lambda: fake_tools(sandbox), ScanSettings(), sandbox, jobs=2, write=lambda *_: None
    )
    done = list(scanner.run([Input(tmp_path / "a.mp4")] * 3, display(3)))
    assert [each.result.fault.reason for each in done] == [RejectReason.NOT_VIDEO] * 3
