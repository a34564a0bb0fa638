"""How the inputs of a run ended: what is told on stderr, and the exit code."""

import typer

from engine.cli.batch import MACHINE_REASONS, Finished
from engine.errors import EngineError
from engine.output.names import escape_for_terminal, to_text
from engine.output.report import IndexEntry, describe_entry

EXIT_ERROR, EXIT_UNSCORED = 1, 3


class Tally:
    """Counts what ended how, and keeps the little that is told at the end."""

    def __init__(self) -> None:
        self.entries: list[IndexEntry] = []
        self._faults: list[tuple[str, str]] = []
        self._machine, self._unscored = 0, 0

    def add(self, finished: Finished) -> None:
        """Count one input."""
        result = finished.result
        name = escape_for_terminal(to_text(result.path))
        # An input whose files could not be written has its line in the index all the same.
        self.entries.append(finished.entry or describe_entry(result, report=None, overlay=None))
        if result.fault is None:
            for broken in {fault.reason: fault for fault in reversed(finished.breaks)}.values():
                self._note(name, broken, "warning: part of ")
        if finished.output_fault is not None:
            self._note(name, finished.output_fault)
            self._machine += 1
        if result.fault is not None:
            fault = result.fault
            self._note(name, EngineError(fault.reason, fault.message, fault.hint))
            self._machine += fault.reason in MACHINE_REASONS
        self._unscored += not result.outcome.has_score

    def _note(self, name: str, fault: EngineError, begin: str = "error: ") -> None:
        seen = escape_for_terminal(to_text(fault.seen))
        said = f"{begin}{name}: {fault.reason}: {seen}"
        self._faults.append((said, escape_for_terminal(to_text(fault.hint))))

    def tell_faults(self) -> None:
        """Say on stderr why inputs, or parts of them, failed, below whatever stands on stdout."""
        for seen, hint in self._faults:
            typer.echo(f"{seen}\nhint: {hint}", err=True)

    @property
    def exit_code(self) -> int:
        """0 if all have a score, 3 if some have none, 1 if the machine or the program failed."""
        if self._machine:
            return EXIT_ERROR
        return EXIT_UNSCORED if self._unscored else 0
