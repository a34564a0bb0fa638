"""``fakesieve jobs``: what was asked for, how far it is, and ways to stop it or try again."""

from typing import Annotated

import typer

from engine.output.names import escape_for_terminal
from fakesieve.cli.fleet import Fleet, open_fleet
from fakesieve.cli.job_columns import (
    ATTEMPT_COLUMNS,
    JOB_COLUMNS,
    JOB_FILE_COLUMNS,
    LOG_COLUMNS,
    describe_job,
    tell_progress,
)
from fakesieve.cli.lists import LIMIT, AsCsv, AsJson, Form, Limit, read_form, show_list
from fakesieve.cli.printing import end_list, print_json
from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix
from fakesieve.job_forms import form_attempt, form_detail, form_job, form_log_line
from fakesieve.jobs.states import RETRY_STATES, JobState
from fakesieve.reasons import Reason
from fakesieve.values.job_lines import JobDetail

jobs = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="List, show, cancel and retry jobs.",
)

Ids = Annotated[list[str], typer.Argument(metavar="JOB_ID...", show_default=False)]
JobOrBatchIds = Annotated[list[str], typer.Argument(metavar="JOB_ID|BATCH_ID...", show_default=False)]


@jobs.command("ls")
def list_(
    *,
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only jobs of this batch.")] = None,
    limit: Limit = LIMIT,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List jobs, newest first."""
    form = read_form(as_json=as_json, as_csv=as_csv)
    columns = JOB_FILE_COLUMNS if form is Form.CSV else JOB_COLUMNS
    with open_fleet() as fleet:
        count = show_list(fleet.jobs.list_jobs(state, batch, limit), columns, form, write=form_job)
    end_list(count, is_narrowed=state is not None or batch is not None)


@jobs.command()
def show(ids: Ids, *, as_json: AsJson = False) -> None:
    """Show jobs with their pieces of work and every attempt at them."""
    with open_fleet() as fleet:
        for job in fleet.jobs.load_jobs(ids):
            if as_json:
                print_json(form_detail(job))
            else:
                _print_detail(job)


@jobs.command()
def logs(
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID", show_default=False)],
    *,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show what the records know of a job, in order of time: its states, every try, and what waits."""
    form = read_form(as_json=as_json, as_csv=as_csv)
    with open_fleet() as fleet:
        show_list(fleet.jobs.load_log(job_id), LOG_COLUMNS, form, write=form_log_line)


@jobs.command()
def cancel(
    ids: JobOrBatchIds,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many jobs would be stopped, and stop none.")
    ] = False,
) -> None:
    """Stop jobs, or all jobs of a batch. What has ended stays.

    Workers look every half second, and stop at the next step of what they do.
    """
    with open_fleet() as fleet:
        for each in ids:
            if _is_batch(each):
                live = fleet.jobs.cancel_batch(each, dry_run=dry_run)
                done = "would be cancelled, {} jobs are live" if dry_run else "cancelled, {} jobs were live"
                typer.echo(f"{each}  {done.format(live)}")
            else:
                typer.echo(f"{each}  {_cancel_job(fleet, each, dry_run=dry_run)}")


def _is_batch(name: str) -> bool:
    return name.startswith(f"{IdPrefix.BATCH}_")


def _cancel_job(fleet: Fleet, job_id: str, *, dry_run: bool) -> str:
    """Stop a job, or only look at it; returns what was done."""
    if dry_run:
        (job,) = fleet.jobs.load_jobs([job_id])
        end = job.line.state if job.line.state.is_terminal else None
    else:
        end = fleet.jobs.cancel_job(job_id)
    if end is not None:
        return f"had ended: {end.value}"
    return "would be cancelled" if dry_run else "cancelled"


@jobs.command()
def retry(
    ids: JobOrBatchIds,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say which jobs would be started, and start none.")
    ] = False,
) -> None:
    """Start failed, cancelled or expired jobs again from the beginning, or all such jobs of a batch.

    Raises RequestRefused for jobs in another state, after the others were started.
    """
    refused: list[str] = []
    done = "would be queued again" if dry_run else "queued again"
    with open_fleet() as fleet:
        found = fleet.jobs.load_jobs([each for each in ids if not _is_batch(each)])
        states = {job.line.id: job.line.state for job in found}
        for each in ids:
            if _is_batch(each):
                typer.echo(f"{each}  {fleet.jobs.retry_batch(each, dry_run=dry_run)} jobs {done}")
            elif states[each] in RETRY_STATES if dry_run else fleet.jobs.retry_job(each):
                typer.echo(f"{each}  {done}")
            else:
                refused.append(f"{each} is {states[each].value}")
    if refused:
        raise RequestRefused(
            Reason.INVALID_REQUEST,
            "; ".join(refused),
            "only failed, cancelled and expired jobs are retried; submit the video again for another job",
        )


def _print_detail(job: JobDetail) -> None:
    line = job.line
    typer.echo(f"{line.id}  {line.state.value}  {line.lane.value}  {tell_progress(line)} shards")
    for name, value in describe_job(line):
        typer.echo(f"  {name:<9} {escape_for_terminal(value)}")
    if job.attempts:
        show_list(job.attempts, ATTEMPT_COLUMNS, Form.TABLE, write=form_attempt)
