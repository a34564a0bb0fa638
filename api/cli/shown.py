"""How commands over the API print its answers."""

from collections.abc import Iterable, Mapping
from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel

from fakesieve.cli.lists import LIMIT_MAX, Columns, Form, show_list, tell
from fakesieve.cli.printing import Json, print_json

Shape = TypeVar("Shape", bound=BaseModel)
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


def show_answers(
    found: Iterable[Shape], columns: Columns[Shape], form: Form, *, limit: int = LIMIT_MAX
) -> int:
    """Print up to ``limit`` answers as they come, as JSON whole; returns how many there were."""
    return show_list(found, columns, form, write=show_whole, limit=limit)


def show_whole(found: BaseModel) -> dict[str, Json]:
    """Return an answer as JSON."""
    return found.model_dump(mode="json")


def show_one(found: BaseModel, lines: Mapping[str, object], *, as_json: bool) -> None:
    """Print one thing: whole as JSON, or these lines of it for people, those without a value left out."""
    if as_json:
        print_json(show_whole(found))
        return
    width = max(map(len, lines))
    for name, value in lines.items():
        if value is not None:
            typer.echo(f"{name:<{width}}  {tell(value)}")
