"""Completion of commands in a shell, by typer's own means; only the command at hand is loaded for it."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import typer
from typer.main import get_command

VARIABLE = "_FAKESIEVE_COMPLETE"
OPTIONS = ("--install-completion", "--show-completion")
_PROGRAM = "fakesieve"


def complete(
    summaries: Mapping[str, str], load: Callable[[str], typer.Typer], arguments: Sequence[str] = ()
) -> None:
    """Answer a shell that asks what could stand next, or one of ``OPTIONS``; ends the process.

    Args:
        summaries: what each command does.
        load: imports a command.
        arguments: one of the options; nothing where the shell's variables say what is asked.
    """
    root = typer.Typer(pretty_exceptions_enable=False)
    for name, summary in summaries.items():
        root.command(name, help=summary)(_stand_in)
    group = cast("Any", get_command(root))
    chosen = find_command(os.environ)
    if chosen is not None and chosen in summaries:
        group.commands[chosen] = get_command(load(chosen))
    group(list(arguments), prog_name=_PROGRAM)


def find_command(environment: Mapping[str, str]) -> str | None:
    """Return the command of the line that a shell is asked to complete; None while it is still written."""
    line = environment.get("COMP_WORDS") or environment.get("_TYPER_COMPLETE_ARGS") or ""
    try:
        words = shlex.split(line)
    except ValueError:  # a quote that is still open
        words = line.split()
    return words[1] if len(words) > 1 else None


def _stand_in() -> None:
    """Stand for a command that is not loaded."""
