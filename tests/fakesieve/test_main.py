"""The command's table, its help, and how failures end."""

import re
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from engine.errors import MediaRejected
from engine.results import RejectReason
from fakesieve import __main__ as command
from fakesieve.__main__ import COMMANDS, Command, main
from fakesieve.errors import NothingMatched, RequestRefused, Unavailable
from fakesieve.reach import is_remote
from fakesieve.reasons import Reason
from fakesieve.texts import escape_line
from tests.waiting import PATIENCE_S


@pytest.fixture(autouse=True)
def _keep_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)


def run(*arguments: str) -> int:
    try:
        main(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    return 0


def use(monkeypatch: pytest.MonkeyPatch, function: Callable[[], None]) -> None:
    """Make ``fakesieve scan`` call a function."""
    module = ModuleType("made_command")
    module.there = function
    monkeypatch.setitem(sys.modules, "made_command", module)
    monkeypatch.setattr(command, "COMMANDS", {"scan": Command("made_command:there", "test")})


def test_help_names_every_command_and_exit_code(capsys) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert [name for name in COMMANDS if not re.search(rf"^  {name}\s", text, re.MULTILINE)] == []
    assert [
        code
        for code in ("0", "1", "2", "3", "4", "5", "130")
        if not re.search(rf"^  {code} ", text, re.MULTILINE)
    ] == []


@pytest.mark.parametrize("value", ["nan", "inf", "1e300"])
@pytest.mark.parametrize(
    "line",
    [
        "submit a.mp4 --deadline-h",
        "tenants set a --month-hours",
        "ingest sweep s3://a/ --every",
        "results map ana_a --at",
    ],
)
def test_a_number_that_no_time_can_hold_is_refused(capsys, line: str, value: str) -> None:
    assert run(*line.split(), value) == 2
    assert f"Invalid value for '{line.rsplit(maxsplit=1)[-1]}'" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_of_the_table_exists(name: str) -> None:
    COMMANDS[name].load()


@pytest.mark.parametrize(
    ("words", "explained"),
    [
        (("scan",), "scan"),
        (("scan", "x", "--json", "--csv"), "scan"),
        (("scan", "x", "--fps", "0"), "scan"),
        (("scan", "x", "--no-such-option"), "scan"),
        (("model", "pack"), "model pack"),
        (("model", "nope"), "model"),
    ],
)
def test_what_was_not_understood_ends_with_a_hint(capsys, words: tuple[str, ...], explained: str) -> None:
    assert run(*words) == 2
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == f"hint: see 'fakesieve {explained} --help'"
    assert said.err.count("hint:") == 1
    assert said.out == ""


def test_a_wrong_list_has_its_reason_and_no_second_hint(capsys) -> None:
    assert run("evaluate", "/nonexistent") == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: INVALID_MANIFEST: there is no file or folder")
    assert hint == "hint: see docs/reference/evaluation.md for the columns"


def test_version_is_that_of_the_package(capsys) -> None:
    assert run("--version") == 0
    assert re.fullmatch(r"fakesieve \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("--nonsense",)])
def test_unknown_commands_end_with_two_and_a_hint(arguments: tuple[str, ...], capsys) -> None:
    assert run(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "hint: one of: scan, demo" in said.err


def test_known_faults_end_with_one_reason_and_hint(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def fail() -> None:
        raise MediaRejected(RejectReason.EMPTY, "no bytes in \x1b[2J", "copy it again")

    use(monkeypatch, fail)
    assert run("scan") == 1
    assert capsys.readouterr().err == "error: EMPTY: no bytes in \\x1b[2J\nhint: copy it again\n"


def test_faults_of_the_fleet_end_as_those_of_the_engine(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def fail() -> None:
        raise Unavailable(Reason.DATABASE_UNAVAILABLE, "connection refused")

    use(monkeypatch, fail)
    assert run("scan") == 1
    assert capsys.readouterr().err == (
        "error: DATABASE_UNAVAILABLE: connection refused\n"
        "hint: check that FAKESIEVE_DATABASE_URL answers; work goes on when it does\n"
    )


def test_unknown_faults_end_with_a_trace_and_internal(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def fail() -> None:
        raise ZeroDivisionError("odd")

    use(monkeypatch, fail)
    assert run("scan") == 1
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert "error: INTERNAL: ZeroDivisionError: odd\nhint: this is a fault of fakesieve" in text


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def fail() -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    use(monkeypatch, fail)
    assert run("scan") == 1
    assert "hint: 'fakesieve scan' needs an extra: pip install 'fakesieve[train]'" in capsys.readouterr().err


def test_a_base_package_that_is_missing_asks_for_a_new_installation(
    monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def fail() -> None:
        raise ModuleNotFoundError("No module named 'av'", name="av")

    use(monkeypatch, fail)
    assert run("scan") == 1
    assert "--force-reinstall fakesieve" in capsys.readouterr().err


def test_an_interruption_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    use(monkeypatch, stop)
    assert run("scan") == 130


def test_lines_for_the_terminal_stay_lines() -> None:
    assert escape_line("a\nb\x1b\udcff") == r"a\nb\x1b\udcff"


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    shell = ["bash", "-c", f"{sys.executable} -m fakesieve schema | head -c 10"]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.stdout == '{\n  "$sche'
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (NothingMatched(Reason.SOURCE_NOT_FOUND, "no object lies there"), 4),
        (RequestRefused(Reason.UNAUTHENTICATED, "no key"), 5),
        (RequestRefused(Reason.MISSING_SCOPE, "it lacks one"), 5),
        (RequestRefused(Reason.NOT_FOUND, "there is none"), 1),
    ],
)
def test_a_failure_ends_with_the_code_of_its_kind(monkeypatch, fault: Exception, code: int) -> None:
    def fail() -> None:
        raise fault

    use(monkeypatch, fail)
    assert run("scan") == code


@pytest.mark.parametrize(
    ("environment", "is_over_api"),
    [
        ({}, False),
        ({"FAKESIEVE_API_URL": "http://api"}, True),
        ({"FAKESIEVE_API_URL": "http://api", "FAKESIEVE_DATABASE_URL": "postgresql://x"}, False),
        ({"FAKESIEVE_API_URL": "http://api", "FAKESIEVE_DATABASE_URL": ""}, True),
        ({"FAKESIEVE_DATABASE_URL": "postgresql://x"}, False),
    ],
)
def test_who_has_the_database_uses_it(environment: dict[str, str], is_over_api: bool) -> None:
    assert is_remote(environment) is is_over_api
