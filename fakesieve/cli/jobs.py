"""``fakesieve jobs``: what was asked for, how far it is, and ways to stop it or try again."""

from typing import Annotated

import typer

from engine.output.names import escape_for_terminal
from fakesieve.cli.job_forms import JOB_CELLS, describe_progress, form_detail, list_cells, print_jobs
from fakesieve.cli.place import Place, not_found, open_place
from fakesieve.cli.printing import end_list, make_table, print_csv, print_json, print_table
from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix
from fakesieve.jobs.cancel import cancel_batch, cancel_job, retry_job
from fakesieve.jobs.states import JobState
from fakesieve.reasons import Reason
from fakesieve.records.job_lists import (
    PAGE_MAX,
    JobDetail,
    find_batch_jobs,
    find_jobs,
    list_jobs,
    load_job,
)
from fakesieve.result_documents import form_job, form_time

jobs = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="List, show, cancel and retry jobs.",
)

Ids = Annotated[list[str], typer.Argument(metavar="JOB_ID...", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", "--jsonl", help="Print JSON, one object a line.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")]


@jobs.command("ls")
def list_(
    *,
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only jobs of this batch.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, newest first.")] = 50,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List jobs, newest first."""
    if as_json and as_csv:
        raise typer.BadParameter("take --json or --csv, not both")
    with open_place() as place, place.database.transaction(tenant_id=place.tenant_id) as session:
        lines = list_jobs(session, state=state, batch_id=batch, limit=limit)
    if as_csv:
        print_csv(JOB_CELLS, map(list_cells, lines))
    elif as_json:
        for line in lines:
            print_json(form_job(line))
    else:
        print_jobs(lines)
    end_list(len(lines), is_narrowed=state is not None or batch is not None)


@jobs.command()
def show(ids: Ids, *, as_json: AsJson = False) -> None:
    """Show jobs with their pieces of work and every attempt at them."""
    with open_place() as place:
        for job in _load_all(place, ids):
            if as_json:
                print_json(form_detail(job))
            else:
                _print_detail(job)


@jobs.command()
def cancel(
    ids: Annotated[list[str], typer.Argument(metavar="JOB_ID|BATCH_ID...", show_default=False)],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many jobs would be stopped, and stop none.")
    ] = False,
) -> None:
    """Stop jobs, or all jobs of a batch: workers drop them within one heartbeat. What has ended stays."""
    with open_place() as place:
        for each in ids:
            if each.startswith(f"{IdPrefix.BATCH}_"):
                typer.echo(f"{each}  {_cancel_batch(place, each, dry_run=dry_run)}")
                continue
            (job,) = _load_all(place, [each])
            is_live = not job.line.state.is_terminal if dry_run else cancel_job(place.store, each)
            done = "would be cancelled" if dry_run else "cancelled"
            typer.echo(f"{each}  " + (done if is_live else f"had ended: {job.line.state.value}"))


@jobs.command()
def retry(ids: Ids) -> None:
    """Start failed, cancelled or expired jobs again from the beginning.

    Raises RequestRefused for jobs in another state, after the others were started.
    """
    refused: list[str] = []
    with open_place() as place:
        for job in _load_all(place, ids):
            if retry_job(place.store, job.line.id):
                typer.echo(f"{job.line.id}  queued again")
            else:
                refused.append(f"{job.line.id} is {job.line.state.value}")
    if refused:
        raise RequestRefused(
            Reason.INVALID_REQUEST,
            "; ".join(refused),
            "only failed, cancelled and expired jobs are retried; submit the video again for another job",
        )


def _load_all(place: Place, ids: list[str]) -> list[JobDetail]:
    """Return all jobs, or raise RequestRefused for the first that the tenant does not have."""
    found: list[JobDetail] = []
    with place.database.transaction(tenant_id=place.tenant_id) as session:
        for each in ids:
            job = load_job(session, each)
            if job is None:
                raise not_found("job", each)
            found.append(job)
    return found


def _cancel_batch(place: Place, batch_id: str, *, dry_run: bool) -> str:
    """Cancel a batch, or count what that would stop; returns what was done."""
    with place.database.transaction(tenant_id=place.tenant_id) as session:
        ids = find_batch_jobs(session, batch_id)
        if not ids:
            raise not_found("batch", batch_id)
        live = sum(not line.state.is_terminal for line in find_jobs(session, ids)) if dry_run else 0
    if dry_run:
        return f"would be cancelled, {live} jobs are live"
    return f"cancelled, {cancel_batch(place.store, batch_id)} jobs were live"


def _print_detail(job: JobDetail) -> None:
    line = job.line
    typer.echo(f"{line.id}  {line.state.value}  {line.lane.value}  {describe_progress(line)} shards")
    typer.echo(f"  source    {escape_for_terminal(line.source.uri)}")
    for name, value in (
        ("batch", line.batch_id),
        ("name", None if line.external_id is None else escape_for_terminal(line.external_id)),
        ("created", form_time(line.create_time)),
        ("started", form_time(line.start_time)),
        ("ended", form_time(line.end_time)),
        ("deadline", form_time(line.deadline)),
        ("video", line.video_id),
        ("analysis", line.analysis_id and line.analysis_id + (" (reused)" if line.reused_analysis else "")),
    ):
        if value is not None:
            typer.echo(f"  {name:<9} {value}")
    if line.fault is not None:
        typer.echo(f"  error     {line.fault.reason}: {escape_for_terminal(line.fault.message or '')}")
        typer.echo(f"  hint      {escape_for_terminal(line.fault.hint)}")
    _print_attempts(job)


def _print_attempts(job: JobDetail) -> None:
    if not job.attempts:
        return
    table = make_table("shard", "kind", "attempt", "seconds", "end", "note")
    for each in job.attempts:
        spent = None if each.end_time is None else (each.end_time - each.start_time).total_seconds()
        note = " ".join(part for part in (each.reason and each.reason.value, each.message) if part)
        table.add_row(
            str(each.shard),
            each.kind.value,
            str(each.number),
            "–" if spent is None else f"{spent:.1f}",
            "runs" if each.end is None else each.end.value,
            escape_for_terminal(note),
        )
    print_table(table)
