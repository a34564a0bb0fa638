"""Jobs as JSON and as lines for a terminal."""

from datetime import datetime

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.output.names import escape_for_terminal
from fakesieve.cli.place import Json
from fakesieve.jobs.states import JobState
from fakesieve.records.job_lists import AttemptLine, JobDetail, JobLine

_STYLES = {
    JobState.QUEUED: "dim",
    JobState.RUNNING: "cyan",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
    JobState.EXPIRED: "yellow",
}


def form_job(line: JobLine, attempts: int | None = None) -> dict[str, Json]:
    """Return a job as JSON; ``attempts`` stands in it where it is known."""
    known: dict[str, Json] = {} if attempts is None else {"attempts": attempts}
    return {
        "id": line.id,
        "state": line.state.value,
        **known,
        "lane": line.lane.value,
        "source": line.source.uri,
        "external_id": line.external_id,
        "batch_id": line.batch_id,
        "video_id": line.video_id,
        "analysis_id": line.analysis_id,
        "reused_analysis": line.reused_analysis,
        "shards": {"total": line.n_shards, "done": line.n_done},
        "create_time": form_time(line.create_time),
        "start_time": form_time(line.start_time),
        "end_time": form_time(line.end_time),
        "deadline": form_time(line.deadline),
        "error": form_error(line),
    }


def form_detail(job: JobDetail) -> dict[str, Json]:
    """Return a job with its pieces of work and every attempt at them as JSON."""
    return {
        **form_job(job.line, job.attempt_count),
        "work": [
            {
                "shard": shard.index,
                "kind": shard.kind.value,
                "state": shard.state.value,
                "attempts": shard.attempts,
                "deliveries": shard.deliveries,
                "owner": shard.owner,
            }
            for shard in job.shards
        ],
        "history": [_form_attempt(attempt) for attempt in job.attempts],
    }


def _form_attempt(attempt: AttemptLine) -> dict[str, Json]:
    return {
        "shard": attempt.shard,
        "kind": attempt.kind.value,
        "attempt": attempt.number,
        "owner": attempt.owner,
        "start_time": form_time(attempt.start_time),
        "end_time": form_time(attempt.end_time),
        "end": None if attempt.end is None else attempt.end.value,
        "reason": None if attempt.reason is None else attempt.reason.value,
        "message": attempt.message,
    }


def form_error(line: JobLine) -> dict[str, Json] | None:
    """Return why a job has no result, as ``scan`` writes it; None where it has one or may get one."""
    fault = line.fault
    if fault is None:
        return None
    return {
        "reason": fault.reason.value,
        "message": fault.message or fault.reason.value,
        "hint": fault.hint,
    }


def form_time(time: datetime | None) -> str | None:
    """Return a time as RFC 3339 in UTC."""
    return None if time is None else time.isoformat().replace("+00:00", "Z")


def print_jobs(lines: list[JobLine]) -> None:
    """Print jobs as a table for people."""
    table = make_table("job", "state", "done", "lane", "created", "video")
    for line in lines:
        table.add_row(
            line.id,
            Text(line.state.value, style=_STYLES[line.state]),
            describe_progress(line),
            line.lane.value,
            f"{line.create_time:%Y-%m-%d %H:%M:%S}",
            Text(escape_for_terminal(describe_end(line))),
        )
    print_table(table)


def describe_end(line: JobLine) -> str:
    """Return the source of a job, and why it failed if it did."""
    note = "" if line.fault is None else f"  {line.fault.reason}: {line.fault.message or line.fault.hint}"
    return line.source.uri + note


def describe_progress(line: JobLine) -> str:
    """Return how many of its shards are screened; a dash before it was planned."""
    return f"{line.n_done}/{line.n_shards}" if line.n_shards else "–"


def make_table(*columns: str) -> Table:
    """Return an empty table whose cells stay on one line, the last one excepted."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns[:-1]:
        table.add_column(name, no_wrap=True)
    table.add_column(columns[-1], overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print a table on stdout; into a file or pipe it goes without folding."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=400)
    console.print(table)
