"""Tables for people that lose nothing on a narrow terminal: what does not fit beside goes below."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

ABSENT = "–"
GAP, INDENT = 3, 2
LONG_LETTERS_MIN = 24
"""A long column is not squeezed into less: names and addresses in slivers cannot be read."""


@dataclass(frozen=True)
class Column:
    """One column. A long one is folded, or stands on a line of its own; others are never cut."""

    name: str
    is_long: bool = False
    is_right: bool = False


def lay_out(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> Table | Group:
    """Return rows of cells as a table; where that is wider than ``width``, each row as some lines."""
    lengths = [
        max(len(column.name), *(cells[place].cell_len for cells in rows), 0)
        for place, column in enumerate(columns)
    ]
    least = [
        min(length, LONG_LETTERS_MIN) if column.is_long else length
        for column, length in zip(columns, lengths, strict=True)
    ]
    if sum(least) + GAP * (len(columns) - 1) + 2 <= width:
        return _make_table(columns, rows, least)
    header = [Text(column.name, style="bold") for column in columns]
    return Group("", *(line for cells in (header, *rows) for line in _fold(columns, cells, lengths)), "")


def _make_table(columns: Sequence[Column], rows: Sequence[Sequence[Text]], least: Sequence[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, letters in zip(columns, least, strict=True):
        side = "right" if column.is_right else "left"
        is_short = not column.is_long
        table.add_column(column.name, justify=side, no_wrap=is_short, overflow="fold", min_width=letters)
    for cells in rows:
        table.add_row(*cells)
    return table


def _fold(columns: Sequence[Column], cells: Sequence[Text], lengths: Sequence[int]) -> list[RenderableType]:
    """Return a row as lines: short cells side by side, a long one by itself, all but the first indented."""
    lines: list[Text] = []
    is_open = False
    for column, cell, length in zip(columns, cells, lengths, strict=True):
        if column.is_long and cell.plain in ("", ABSENT):
            continue
        padding = "" if column.is_long else " " * (length - cell.cell_len)
        part = Text.assemble(padding, cell) if column.is_right else Text.assemble(cell, padding)
        if is_open and not column.is_long:
            lines[-1].append(" " * (GAP - 1)).append_text(part)
        else:
            lines.append(Text(overflow="fold").append_text(part))
        is_open = not column.is_long
    for line in lines:
        line.rstrip()
    return [
        Padding(line, (0, 0, 0, INDENT), expand=False) if place else line for place, line in enumerate(lines)
    ]
