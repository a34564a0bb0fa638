"""Results on stdout, in the form that was asked for; each input is printed and forgotten."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from rich.text import Text

from engine.cli.display import data_console, take_any_text
from engine.errors import Unavailable
from engine.output.document import build_document, dump_document
from engine.output.tables import COLUMNS, build_table, csv_cells, table_cells, write_csv_row
from engine.output.words import say_caution
from engine.results import RejectReason
from engine.scan_result import ScanResult


class Printer(Protocol):
    """Prints results in order.

    Whatever was printed ends with its line: the progress on a terminal clears the line that it begins on.
    """

    def begin(self) -> None:
        """Print what stands before the first result; nothing is printed before that."""
        ...

    def add(self, result: ScanResult) -> None:
        """Take the next result."""
        ...

    def close(self) -> None:
        """Print what is left after the last result."""
        ...


@contextmanager
def _translate_faults() -> Generator[None]:
    """Turn a stdout that takes no more into a reason; a reader that went away ends the run as usual."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as fault:
        raise Unavailable(
            RejectReason.OUTPUT_FAILED,
            f"stdout could not be written: {fault.strerror or fault}",
            "send the output to a place that has space left",
        ) from fault


def _put(text: str) -> None:
    with _translate_faults():
        sys.stdout.write(text)
        sys.stdout.flush()


class JsonPrinter:
    """An array of documents, also of one or none: a reader need not know how many there are.

    Once it has begun it can be ended at any moment: an interruption may come after a document was printed and
    before that could be noted. A comma comes with the document behind it, as nobody knows of one before.
    """

    def __init__(self, *, with_patches: bool) -> None:
        self._with_patches, self._between = with_patches, ""

    def begin(self) -> None:
        """Open the array."""
        _put("[\n")

    def add(self, result: ScanResult) -> None:
        """Print one document."""
        document = dump_document(build_document(result, with_patches=self._with_patches), indent=1)
        _put(f"{self._between}{document}\n")
        self._between = ","

    def close(self) -> None:
        """End the array."""
        _put("]\n")


class JsonLinesPrinter:
    """One document a line, each as soon as it is there."""

    def __init__(self, *, with_patches: bool) -> None:
        self._with_patches = with_patches

    def begin(self) -> None:
        """Print nothing."""

    def add(self, result: ScanResult) -> None:
        """Print one document."""
        _put(dump_document(build_document(result, with_patches=self._with_patches)) + "\n")

    def close(self) -> None:
        """Print nothing more."""


class CsvPrinter:
    """One row for each input below a line of names."""

    def __init__(self) -> None:
        take_any_text(sys.stdout)

    def begin(self) -> None:
        """Print the names of the columns."""
        _put(write_csv_row(COLUMNS))

    def add(self, result: ScanResult) -> None:
        """Print one row."""
        _put(write_csv_row(csv_cells(result)))

    def close(self) -> None:
        """Print nothing more."""


class TablePrinter:
    """A table for people; it comes at the end, when all widths are known.

    ``model`` is the name or folder of the model whose error rates the line below it leads to.
    """

    def __init__(self, model: str) -> None:
        take_any_text(sys.stdout)
        self._model = model
        self._rows: list[list[Text]] = []

    def begin(self) -> None:
        """Print nothing yet."""

    def add(self, result: ScanResult) -> None:
        """Keep the cells of one row."""
        self._rows.append(table_cells(result))

    def close(self) -> None:
        """Print the table; nothing where the run was broken off before its first row."""
        if not self._rows:
            return
        with _translate_faults():
            console = data_console()
            console.print(build_table(self._rows, console.width))
            # Never broken by us: the command in it is there to be pasted.
            console.print(Text(say_caution(self._model), style="dim"), soft_wrap=True)
            sys.stdout.flush()
