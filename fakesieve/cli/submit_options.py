"""What ``fakesieve submit`` takes, over the database and over the API alike."""

from pathlib import Path
from typing import Annotated

import typer

from fakesieve.errors import RequestRefused
from fakesieve.jobs.states import Lane
from fakesieve.reasons import Reason

Inputs = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE|s3://BUCKET/KEY|s3://BUCKET/PREFIX/]...", show_default=False),
]
ManifestOption = Annotated[
    str | None, typer.Option(help="CSV or JSONL file of objects, local or s3://; becomes one batch.")
]
LaneOption = Annotated[Lane | None, typer.Option(help="Default: standard; bulk for lists.")]
DeadlineH = Annotated[
    float, typer.Option(min=0.001, help="Hours after which a job that has not ended expires.")
]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[@VERSION]", help="Submit nothing unless new analyses are judged by this policy."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count what would be submitted, and submit nothing.")]
AsJson = Annotated[bool, typer.Option("--json", "--jsonl", help="Print one JSON object a line.")]


def is_address(given: str) -> bool:
    """Whether an object is meant and not a file."""
    return given.startswith("s3://")


def check_files(paths: list[str]) -> None:
    """Refuse before anything is submitted what cannot be uploaded."""
    for path in paths:
        if not Path(path).is_file():
            raise RequestRefused(
                Reason.SOURCE_NOT_FOUND, f"{path} is no file", "check the path; objects begin with s3://"
            )


def refuse_policy(wanted: str, active: tuple[str, int] | None) -> None:
    """Refuse where another policy is active than the wanted one. ``active``: None is the model's own."""
    if active is not None and wanted in (active[0], f"{active[0]}@{active[1]}"):
        return
    now = "the thresholds of the model" if active is None else f"{active[0]}@{active[1]}"
    raise RequestRefused(
        Reason.STATE_CONFLICT,
        f"new analyses are judged by {now}, not by {wanted}",
        f"apply it first: fakesieve policy apply {wanted}",
    )
