"""What is printed reaches stdout, or the reason is told."""

import errno
import io
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from engine.cli.printers import CsvPrinter, JsonLinesPrinter, JsonPrinter, Printer, TablePrinter
from engine.errors import Unavailable
from engine.results import RejectReason
from tests.engine.output.made_results import make_failed_result, make_result


class FullStdout(io.StringIO):
    """A disk without space left, or a reader that went away."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, text: str) -> int:
        raise OSError(self._number, "No space left on device")


def print_nothing(kind: str) -> None:
    if kind == "csv":
        CsvPrinter().begin()
    elif kind == "json":
        JsonPrinter(with_patches=False).begin()
    else:
        printer = TablePrinter("made")
        printer.add(make_failed_result())
        printer.close()


@pytest.mark.parametrize("kind", ["csv", "json", "table"])
def test_a_full_disk_behind_stdout_has_a_reason(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(sys, "stdout", FullStdout(errno.ENOSPC))
    with pytest.raises(Unavailable, match="No space left") as told:
        print_nothing(kind)
    assert told.value.reason is RejectReason.OUTPUT_FAILED


def test_a_reader_that_went_away_is_no_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", FullStdout(errno.EPIPE))
    with pytest.raises(BrokenPipeError):
        print_nothing("csv")


class InterruptedStdout(io.StringIO):
    """Somebody presses Ctrl-C when the first document has just been written."""

    is_over = False

    def flush(self) -> None:
        if "{" in self.getvalue() and not self.is_over:
            self.is_over = True
            raise KeyboardInterrupt


def test_an_array_that_is_interrupted_right_behind_a_document_can_be_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = InterruptedStdout()
    monkeypatch.setattr(sys, "stdout", written)
    printer = JsonPrinter(with_patches=False)
    printer.begin()
    with pytest.raises(KeyboardInterrupt):
        printer.add(make_failed_result())
    printer.close()
    assert len(json.loads(written.getvalue())) == 1


@pytest.mark.parametrize(
    "make_printer",
    [CsvPrinter, lambda: JsonPrinter(with_patches=False), lambda: JsonLinesPrinter(with_patches=False)],
    ids=["csv", "json", "jsonl"],
)
def test_no_line_is_left_open_for_the_progress_to_clear(
    make_printer: Callable[[], Printer], capsys: pytest.CaptureFixture[str]
) -> None:
    printer = make_printer()
    steps = (printer.begin, *(partial(printer.add, make_failed_result()) for _ in range(2)), printer.close)
    for step in steps:
        step()
        assert capsys.readouterr().out[-1:] in ("", "\n")


@pytest.mark.parametrize("make_printer", [CsvPrinter, lambda: TablePrinter("made")], ids=["csv", "table"])
def test_what_the_encoding_of_stdout_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch, make_printer) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    printing = make_printer()
    printing.begin()
    printing.add(make_failed_result(Path("née.mp4")))
    printing.close()
    assert b"n\\xe9e.mp4" in written.getvalue()


def test_a_run_that_broke_off_before_its_first_row_prints_no_empty_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    TablePrinter("made").close()
    assert capsys.readouterr().out == ""


def test_below_the_table_stands_what_a_verdict_is_and_where_its_error_rates_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    printer = TablePrinter("models/\x1b[2Jmine")
    printer.add(make_result())
    printer.close()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        "Triage for people to judge, no proof. Error rates: fakesieve model show 'models/\\x1b[2Jmine'"
    )
