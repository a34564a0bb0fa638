"""What ``fakesieve results`` takes, over the database and over the API alike."""

from pathlib import Path
from typing import Annotated

import typer

from engine.results import Outcome, VerdictValue

ResultId = Annotated[str, typer.Argument(metavar="JOB_ID|ANALYSIS_ID", show_default=False)]
OutcomeOption = Annotated[Outcome | None, typer.Option(help="Only results of this outcome.")]
VerdictOption = Annotated[VerdictValue | None, typer.Option(help="Only results with this verdict.")]
BatchOption = Annotated[str | None, typer.Option(help="Only results of this batch.")]
OrderOption = Annotated[str | None, typer.Option(help="Order of analyses, as 'score desc'.")]


def check_out(path: Path | None) -> Path | None:
    """Return a file of this machine. Raises BadParameter for an address of the object store."""
    if path is not None and path.parts[:1] == ("s3:",):
        raise typer.BadParameter(
            "it is a file of this machine; over the API 'fakesieve results export --store' writes into the"
            " fleet's object store and prints a link"
        )
    return path


OutOption = Annotated[Path | None, typer.Option(help="File to write; without it stdout.", callback=check_out)]


def make_results() -> typer.Typer:
    """Return the command, still without its parts."""
    return typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        help="List, show and export what was found.",
    )
