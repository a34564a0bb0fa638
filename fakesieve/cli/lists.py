"""How commands print lists: a table for people, JSON a line each, or CSV."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum, StrEnum
from itertools import islice
from typing import Annotated, TypeVar, cast

import typer
from rich.text import Text

from engine.output.layout import ABSENT
from engine.output.names import escape_for_terminal
from fakesieve.cli.printing import Json, print_json, print_table, write_row

LIMIT, LIMIT_MAX = 50, 100_000
Item = TypeVar("Item")
Columns = Mapping[str, Callable[[Item], object]]
AsJson = Annotated[bool, typer.Option("--json", "--jsonl", help="Print JSON, one object a line.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")]
Limit = Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="At most so many, newest first.")]
Filter = Annotated[
    str | None,
    typer.Option("--filter", help="Only analyses that fit, as 'score > 0.9 AND tracks.regions.mouth > 0.5'."),
]


class Form(StrEnum):
    """How a list is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def read_form(*, as_json: bool, as_csv: bool) -> Form:
    """Return the form that was asked for. Raises typer.BadParameter for two of them."""
    if as_json and as_csv:
        raise typer.BadParameter("take --json or --csv, not both")
    if as_json:
        return Form.JSON
    return Form.CSV if as_csv else Form.TABLE


def show_list(
    found: Iterable[Item],
    columns: Columns[Item],
    form: Form,
    *,
    write: Callable[[Item], Json],
    limit: int = LIMIT_MAX,
) -> int:
    """Print up to ``limit`` items as they come; returns how many there were. ``write`` gives one as JSON."""
    shown = 0
    rows: list[list[Text]] = []
    if form is Form.CSV:
        typer.echo(write_row(columns), nl=False)
    for each in islice(found, limit):
        shown += 1
        if form is Form.JSON:
            print_json(write(each))
            continue
        cells = [read(each) for read in columns.values()]
        if form is Form.CSV:
            typer.echo(write_row(map(write_cell, cells)), nl=False)
        else:
            rows.append([tell(cell) for cell in cells])
    if form is Form.TABLE:
        print_table(list(columns), rows)
    return shown


def tell(value: object) -> Text:
    """Return a value for a person, coloured text as it is; a dash for what is not there."""
    return value if isinstance(value, Text) else Text(_tell_plain(value))


def _tell_plain(value: object) -> str:
    if value is None or value == "":
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return escape_for_terminal(str(value.value if isinstance(value, Enum) else value))


def write_cell(value: object) -> str:
    """Return a value as a cell of CSV: empty for what is not there."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Text):
        return value.plain
    if isinstance(value, list):
        return ";".join(map(write_cell, cast("list[object]", value)))
    return str(value.value if isinstance(value, Enum) else value)
