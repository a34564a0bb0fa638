"""The command line within this process, as tests call it."""

import json
from dataclasses import dataclass

from fakesieve.__main__ import main


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    def lines(self) -> list[dict]:
        """Return what it printed with ``--json``."""
        return [json.loads(line) for line in self.out.splitlines()]


def run_command(capfd, *arguments: str) -> Ran:
    """Run ``fakesieve`` with these arguments; what was said before is forgotten."""
    capfd.readouterr()
    code = 0
    try:
        main(arguments)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
    said = capfd.readouterr()
    return Ran(code, said.out, said.err)
