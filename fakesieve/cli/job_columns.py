"""Jobs and tries at their work as columns of a list, and as lines for a person."""

from datetime import UTC

from rich.text import Text

from fakesieve.cli.lists import Columns
from fakesieve.job_forms import form_time
from fakesieve.jobs.states import JobState
from fakesieve.values.job_lines import AttemptLine, JobLine
from fakesieve.values.job_log import LogLine

_STYLES = {
    JobState.QUEUED: "dim",
    JobState.RUNNING: "cyan",
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
    JobState.EXPIRED: "yellow",
}


def tell_end(line: JobLine) -> str:
    """Return the source of a job, and why it failed if it did."""
    note = "" if line.fault is None else f"  {line.fault.reason}: {line.fault.message or line.fault.hint}"
    return line.source.uri + note


def tell_progress(line: JobLine) -> str:
    """Return how many of its shards are screened; a dash before it was planned."""
    return f"{line.n_done}/{line.n_shards}" if line.n_shards else "–"


def describe_job(line: JobLine) -> list[tuple[str, str]]:
    """Return what is known of a job, each by its name; not escaped."""
    reused = " (reused)" if line.reused_analysis else ""
    known = {
        "source": line.source.uri,
        "batch": line.batch_id,
        "name": line.external_id,
        "created": form_time(line.create_time),
        "started": form_time(line.start_time),
        "ended": form_time(line.end_time),
        "deadline": form_time(line.deadline),
        "video": line.video_id,
        "analysis": line.analysis_id and line.analysis_id + reused,
        "trace": line.trace_id,
    }
    told = [(name, value) for name, value in known.items() if value is not None]
    return told + describe_fault(line)


def describe_fault(line: JobLine) -> list[tuple[str, str]]:
    """Return why a job has no result and what to do, each by its name; nothing where it has one."""
    if line.fault is None:
        return []
    return [("error", f"{line.fault.reason}: {line.fault.message or ''}"), ("hint", line.fault.hint)]


def _tell_seconds(attempt: AttemptLine) -> str | None:
    if attempt.end_time is None:
        return None
    return f"{(attempt.end_time - attempt.start_time).total_seconds():.1f}"


def _tell_note(attempt: AttemptLine | LogLine) -> str:
    return " ".join(part for part in (attempt.reason and attempt.reason.value, attempt.message) if part)


def _tell_moment(line: LogLine) -> str:
    return f"{line.time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]


JOB_COLUMNS: Columns[JobLine] = {
    "job": lambda line: line.id,
    "state": lambda line: Text(line.state.value, style=_STYLES[line.state]),
    "done": tell_progress,
    "lane": lambda line: line.lane,
    "created": lambda line: line.create_time,
    "video": tell_end,
}
JOB_FILE_COLUMNS: Columns[JobLine] = {
    "id": lambda line: line.id,
    "state": lambda line: line.state,
    "lane": lambda line: line.lane,
    "source": lambda line: line.source.uri,
    "external_id": lambda line: line.external_id,
    "batch_id": lambda line: line.batch_id,
    "video_id": lambda line: line.video_id,
    "analysis_id": lambda line: line.analysis_id,
    "reused_analysis": lambda line: line.reused_analysis,
    "shards_total": lambda line: line.n_shards,
    "shards_done": lambda line: line.n_done,
    "create_time": lambda line: line.create_time,
    "start_time": lambda line: line.start_time,
    "end_time": lambda line: line.end_time,
    "deadline": lambda line: line.deadline,
    "error_reason": lambda line: line.fault and line.fault.reason,
    "error_message": lambda line: line.fault and line.fault.message,
}
"""For programs: the fields of a job's JSON, each in a column of its own."""
ATTEMPT_COLUMNS: Columns[AttemptLine] = {
    "shard": lambda each: each.shard,
    "kind": lambda each: each.kind,
    "attempt": lambda each: each.number,
    "seconds": _tell_seconds,
    "end": lambda each: "runs" if each.end is None else each.end,
    "note": _tell_note,
}
LOG_COLUMNS: Columns[LogLine] = {
    "time": _tell_moment,
    "event": lambda line: line.event,
    "shard": lambda line: line.shard,
    "kind": lambda line: line.kind,
    "attempt": lambda line: line.number,
    "host": lambda line: line.owner,
    "note": _tell_note,
}
