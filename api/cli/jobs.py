"""``fakesieve jobs`` over the API: what was asked for, how far it is, and ways to stop it or try again."""

from typing import Annotated

import typer

from api.calls.sender import ApiProblem
from api.cli.connect import open_client
from api.cli.job_forms import JOB_COLUMNS, form_detail, form_job, tell_progress
from api.cli.shown import LIMIT, AsCsv, AsJson, Columns, Form, Limit, read_form, show_list, tell
from api.client import Client
from api.schemas.jobs import AttemptOut, JobOut
from engine.output.names import escape_for_terminal
from fakesieve.cli.printing import end_list, print_json
from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix
from fakesieve.jobs.states import JobState
from fakesieve.reasons import Reason

jobs = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="List, show, cancel and retry jobs.",
)

Ids = Annotated[list[str], typer.Argument(metavar="JOB_ID...", show_default=False)]


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
    with open_client() as client:
        found = client.jobs.iter(state, batch, page_size=min(limit, 1000))
        count = show_list(found, JOB_COLUMNS, form, limit=limit, write=form_job)
    end_list(count, is_narrowed=state is not None or batch is not None)


@jobs.command()
def show(ids: Ids, *, as_json: AsJson = False) -> None:
    """Show jobs with their pieces of work and every attempt at them."""
    with open_client() as client:
        for job in [client.jobs.get(each, view="full") for each in ids]:
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
    with open_client() as client:
        for each in ids:
            if each.startswith(f"{IdPrefix.BATCH}_"):
                counts = client.batch(each).counts
                live = counts.queued + counts.running
                if not dry_run and live:
                    client.batches.cancel(each)
                done = "would be cancelled, {} jobs are live" if dry_run else "cancelled, {} jobs were live"
                typer.echo(f"{each}  {done.format(live)}")
            elif dry_run:
                state = client.job(each).state
                typer.echo(
                    f"{each}  " + (f"had ended: {state}" if state.is_terminal else "would be cancelled")
                )
            else:
                typer.echo(f"{each}  {_cancel(client, each)}")


def _cancel(client: Client, job_id: str) -> str:
    try:
        client.cancel(job_id)
    except ApiProblem as problem:
        if problem.reason is not Reason.STATE_CONFLICT:
            raise
        return f"had ended: {client.job(job_id).state.value}"
    return "cancelled"


@jobs.command()
def retry(ids: Ids) -> None:
    """Start failed, cancelled or expired jobs again from the beginning.

    Raises RequestRefused for jobs in another state, after the others were started.
    """
    refused: list[str] = []
    with open_client() as client:
        for each in ids:
            try:
                client.retry(each)
            except ApiProblem as problem:
                if problem.reason is not Reason.STATE_CONFLICT:
                    raise
                refused.append(problem.seen)
            else:
                typer.echo(f"{each}  queued again")
    if refused:
        raise RequestRefused(
            Reason.INVALID_REQUEST,
            "; ".join(refused),
            "only failed, cancelled and expired jobs are retried; submit the video again for another job",
        )


def _print_detail(job: JobOut) -> None:
    typer.echo(f"{job.id}  {job.state.value}  {job.lane.value}  {tell_progress(job)} shards")
    reused = " (reused)" if job.reused_analysis else ""
    for name, value in (
        ("source", job.source.uri),
        ("batch", job.batch_id),
        ("name", job.external_id),
        ("created", job.create_time),
        ("started", job.start_time),
        ("ended", job.end_time),
        ("deadline", job.deadline),
        ("video", job.video_id),
        ("analysis", job.analysis_id and job.analysis_id + reused),
    ):
        if value is not None:
            typer.echo(f"  {name:<9} {tell(value)}")
    if job.error is not None:
        typer.echo(f"  error     {job.error.reason}: {escape_for_terminal(job.error.message or '')}")
        typer.echo(f"  hint      {escape_for_terminal(job.error.hint)}")
    if job.work is not None and job.work.attempts:
        show_list(job.work.attempts, _ATTEMPTS, Form.TABLE)


def _tell_seconds(attempt: AttemptOut) -> str | None:
    if attempt.end_time is None:
        return None
    return f"{(attempt.end_time - attempt.start_time).total_seconds():.1f}"


_ATTEMPTS: Columns[AttemptOut] = {
    "shard": lambda each: each.shard,
    "kind": lambda each: each.kind,
    "attempt": lambda each: each.number,
    "seconds": _tell_seconds,
    "end": lambda each: "runs" if each.end is None else each.end,
    "note": lambda each: " ".join(part for part in (each.reason and each.reason.value, each.message) if part),
}
