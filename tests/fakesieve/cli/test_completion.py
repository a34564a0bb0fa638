import os
import subprocess
import sys

import pytest

from fakesieve.cli.completion import find_command
from tests.waiting import PATIENCE_S


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ({"COMP_WORDS": "fakesieve results ls --or"}, "results"),
        ({"COMP_WORDS": "fakesieve re"}, "re"),
        ({"COMP_WORDS": "fakesieve "}, None),
        ({"_TYPER_COMPLETE_ARGS": "fakesieve jobs "}, "jobs"),
        ({"COMP_WORDS": "fakesieve submit 'an open quote"}, "submit"),
        ({}, None),
    ],
)
def test_the_command_of_a_line_is_found(line: dict[str, str], command: str | None) -> None:
    assert find_command(line) == command


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        (["fakesieve", "re"], ["rescore", "results", "review", "reconciler", "relay"]),
        (["fakesieve", "jobs", "r"], ["retry"]),
        (["fakesieve", "jobs", "ls", "--st"], ["--state"]),
    ],
)
def test_a_shell_is_told_what_could_stand_next(words: list[str], proposed: list[str]) -> None:
    asked = {
        "PATH": os.environ["PATH"],
        "_FAKESIEVE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    run = [sys.executable, "-m", "fakesieve"]
    done = subprocess.run(run, env=asked, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert sorted(done.stdout.split()) == sorted(proposed)
