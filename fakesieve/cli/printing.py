"""What commands print: JSON a line each, tables for people, and files that appear whole."""

import csv
import io
import json
import os
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import typer
from rich.console import Console
from rich.text import Text

from engine.output.layout import Column, lay_out
from engine.output.names import defuse_cell
from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason

EXIT_NOTHING = 4
"""A filter, a prefix or a list let nothing through."""

EXIT_INCOMPLETE = 3
"""The command did what it was asked to, but at least one video has no score."""

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


def dump_line(document: Json) -> bytes:
    """Return a document as one line of JSON: ASCII, so that no name in it can steer a terminal; no NaN."""
    return json.dumps(document, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"


def print_json(document: Json) -> None:
    """Print a document on stdout as one line."""
    typer.echo(dump_line(document), nl=False)


def print_csv(header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print rows as CSV on stdout."""
    for row in (header, *rows):
        typer.echo(write_row(row), nl=False)


def write_row(cells: Iterable[str]) -> bytes:
    """Return one line of CSV (RFC 4180); cells that a spreadsheet would run are defused."""
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow([defuse_cell(cell) for cell in cells])
    return line.getvalue().encode("utf-8", "replace")


def end_list(count: int, *, is_narrowed: bool) -> None:
    """End with 4 where a condition let nothing through."""
    if is_narrowed and count == 0:
        raise typer.Exit(EXIT_NOTHING)


@contextmanager
def open_output(path: Path | None) -> Generator[BinaryIO]:
    """Open a file for writing, or stdout without one; the file appears when all of it is written.

    Raises Unavailable (OUTPUT_FAILED) where it cannot be written.
    """
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(path)
    except OSError as fault:
        raise Unavailable(
            Reason.OUTPUT_FAILED, f"{path} cannot be written: {fault.strerror or fault}"
        ) from fault
    finally:
        draft.unlink(missing_ok=True)


def print_table(names: Sequence[str], rows: Sequence[Sequence[Text]]) -> None:
    """Print rows on stdout under the names of their columns, of which the last holds the long words.

    Into a file or pipe it goes without folding.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=400)
    columns = [Column(name, is_long=name == names[-1]) for name in names]
    console.print(lay_out(columns, rows, console.width))
