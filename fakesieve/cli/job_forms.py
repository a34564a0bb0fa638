"""Jobs as JSON and as lines for a terminal."""

from rich.text import Text

from engine.output.names import escape_for_terminal
from fakesieve.cli.printing import Json, make_table, print_table
from fakesieve.jobs.states import JobState
from fakesieve.records.job_lists import AttemptLine, JobDetail, JobLine
from fakesieve.result_documents import form_job, form_time

_STYLES = {
    JobState.QUEUED: "dim",
    JobState.RUNNING: "cyan",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
    JobState.EXPIRED: "yellow",
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


JOB_CELLS = ("job", "state", "done", "lane", "created", "video")


def list_cells(line: JobLine) -> list[str]:
    """Return a job as cells of CSV, those of ``JOB_CELLS``."""
    created = form_time(line.create_time) or ""
    return [line.id, line.state, describe_progress(line), line.lane, created, describe_end(line)]


def describe_end(line: JobLine) -> str:
    """Return the source of a job, and why it failed if it did."""
    note = "" if line.fault is None else f"  {line.fault.reason}: {line.fault.message or line.fault.hint}"
    return line.source.uri + note


def describe_progress(line: JobLine) -> str:
    """Return how many of its shards are screened; a dash before it was planned."""
    return f"{line.n_done}/{line.n_shards}" if line.n_shards else "–"
