"""``fakesieve submit``: videos become jobs. Local files are uploaded first."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.output.names import escape_for_terminal, to_text
from fakesieve.cli.fleet import Intake, Listing, ListingSize, Order, TakenJob, open_fleet
from fakesieve.cli.printing import Json, print_json
from fakesieve.errors import RequestRefused
from fakesieve.jobs.states import Lane
from fakesieve.reasons import Reason
from fakesieve.values.jobs import DEADLINE_S, DEADLINE_S_MAX


def submit(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE|s3://BUCKET/KEY|s3://BUCKET/PREFIX/]...", show_default=False),
    ] = None,
    *,
    manifest: Annotated[
        str | None, typer.Option(help="CSV or JSONL file of objects, local or s3://; becomes one batch.")
    ] = None,
    is_again: Annotated[
        bool, typer.Option("--again", help="Submit a manifest once more: a new batch with new jobs.")
    ] = False,
    lane: Annotated[Lane | None, typer.Option(help="Default: standard; bulk for lists.")] = None,
    deadline_h: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=DEADLINE_S_MAX / 3600,
            help="Hours after which a job that has not ended expires.",
        ),
    ] = DEADLINE_S / 3600,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[@VERSION]", help="Submit nothing unless new analyses are judged by this policy."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be submitted, and submit nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", "--jsonl", help="Print one JSON object a line.")] = False,
) -> None:
    """Give videos to the fleet; prints a job id for each.

    On a terminal the input stands beside the id; elsewhere the ids stand alone, one a line, as for
    'fakesieve watch $(fakesieve submit clip.mp4)'. The batch of a prefix or manifest is named on stderr.

    The same file may be submitted again: it is then answered from what was found before. The same manifest
    goes on where it was cut off and is otherwise the batch that it was, unless with --again.
    """
    named = inputs or []
    if not named and manifest is None:
        raise typer.BadParameter("name a file, an object or --manifest")
    if is_again and manifest is None:
        raise typer.BadParameter("--again goes with --manifest; all else is submitted anew each time")
    _check_files([each for each in named if not is_address(each)])
    single = Order(lane or Lane.STANDARD, deadline_h * 3600)
    listed = Order(lane or Lane.BULK, deadline_h * 3600)
    with open_fleet() as fleet:
        if policy is not None:
            _check_policy(policy, fleet.intake.find_policy())
        for each in named:
            if is_address(each) and each.endswith("/"):
                listing = Listing(each, is_manifest=False)
                _submit_listing(fleet.intake, listing, listed, dry_run=dry_run, is_json=as_json)
            else:
                _submit_one(fleet.intake, each, single, dry_run=dry_run, is_json=as_json)
        if manifest is not None:
            listing = Listing(manifest, is_manifest=True, is_again=is_again)
            _submit_listing(fleet.intake, listing, listed, dry_run=dry_run, is_json=as_json)


def is_address(given: str) -> bool:
    """Whether an object is meant and not a file."""
    return given.startswith("s3://")


def _check_files(paths: list[str]) -> None:
    """Refuse before anything is submitted what cannot be uploaded."""
    for path in paths:
        if not Path(path).is_file():
            raise RequestRefused(
                Reason.SOURCE_NOT_FOUND, f"{path} is no file", "check the path; objects begin with s3://"
            )


def _check_policy(wanted: str, active: tuple[str, int] | None) -> None:
    """Refuse where another policy is active than the wanted one. ``active``: None is the model's own."""
    if active is not None and wanted in (active[0], f"{active[0]}@{active[1]}"):
        return
    now = "the thresholds of the model" if active is None else f"{active[0]}@{active[1]}"
    raise RequestRefused(
        Reason.STATE_CONFLICT,
        f"new analyses are judged by {now}, not by {wanted}",
        f"apply it first: fakesieve policy apply {wanted}",
    )


def _submit_one(intake: Intake, given: str, order: Order, *, dry_run: bool, is_json: bool) -> None:
    if dry_run:
        _print_count({"input": to_text(given), "would_submit": 1}, is_json=is_json)
        return
    is_object = is_address(given)
    taken = intake.submit_object(given, order) if is_object else intake.submit_file(Path(given), order)
    _print_taken(given, taken, is_json=is_json)


def _submit_listing(intake: Intake, listing: Listing, order: Order, *, dry_run: bool, is_json: bool) -> None:
    if dry_run:
        size: ListingSize = intake.measure_listing(listing, order)
        line: dict[str, Json] = {"input": to_text(listing.name), "would_submit": size.videos}
        _print_count(line | {"size_bytes": size.size_bytes}, is_json=is_json)
        return
    told: str | None = None
    for taken in intake.submit_listing(listing, order):
        # The jobs of a batch come one after another; a long list over the API is several batches.
        if not is_json and taken.batch_id is not None and taken.batch_id != told:
            told = taken.batch_id
            typer.echo(f"batch {told}", err=True)
        _print_taken(taken.source, taken, is_json=is_json)


def _print_count(line: dict[str, Json], *, is_json: bool) -> None:
    if is_json:
        print_json(line)
    else:
        typer.echo(f"would submit {line['would_submit']}  {escape_for_terminal(str(line['input']))}")


def _print_taken(given: str, taken: TakenJob, *, is_json: bool) -> None:
    if not is_json and not sys.stdout.isatty():
        typer.echo(taken.job_id)
        return
    if not is_json:
        known = "  (submitted before)" if taken.is_new is False else ""
        typer.echo(f"{taken.job_id}  {escape_for_terminal(given)}{known}")
        return
    print_json(
        {
            "input": to_text(given),
            "job_id": taken.job_id,
            "is_new": taken.is_new,
            "source": taken.source,
            "batch_id": taken.batch_id,
        }
    )
