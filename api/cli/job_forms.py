"""Jobs from the API as commands print them: the same JSON as over the database, and lines for people."""

from datetime import datetime

from api.cli.shown import Columns
from api.schemas.jobs import AttemptOut, JobOut
from fakesieve.cli.printing import Json


def form_job(job: JobOut) -> dict[str, Json]:
    """Return a job as JSON."""
    error = job.error
    return {
        "id": job.id,
        "state": job.state.value,
        **({} if job.work is None else {"attempts": len(job.work.attempts)}),
        "lane": job.lane.value,
        "source": job.source.uri,
        "external_id": job.external_id,
        "batch_id": job.batch_id,
        "video_id": job.video_id,
        "analysis_id": job.analysis_id,
        "reused_analysis": job.reused_analysis,
        "shards": {"total": job.progress.total, "done": job.progress.done},
        "create_time": form_time(job.create_time),
        "start_time": form_time(job.start_time),
        "end_time": form_time(job.end_time),
        "deadline": form_time(job.deadline),
        "error": None
        if error is None
        else {
            "reason": error.reason.value,
            "message": error.message or error.reason.value,
            "hint": error.hint,
        },
    }


def form_detail(job: JobOut) -> dict[str, Json]:
    """Return a job with its pieces of work and every attempt at them; hosts are not told over the API."""
    if job.work is None:
        return form_job(job)
    return {
        **form_job(job),
        "work": [
            {
                "shard": each.index,
                "kind": each.kind.value,
                "state": each.state.value,
                "attempts": each.attempts,
            }
            for each in job.work.shards
        ],
        "history": [_form_attempt(each) for each in job.work.attempts],
    }


def _form_attempt(attempt: AttemptOut) -> dict[str, Json]:
    return {
        "shard": attempt.shard,
        "kind": attempt.kind.value,
        "attempt": attempt.number,
        "start_time": form_time(attempt.start_time),
        "end_time": form_time(attempt.end_time),
        "end": None if attempt.end is None else attempt.end.value,
        "reason": None if attempt.reason is None else attempt.reason.value,
        "message": attempt.message,
    }


def form_time(time: datetime | None) -> str | None:
    """Return a time as RFC 3339 in UTC."""
    return None if time is None else time.isoformat().replace("+00:00", "Z")


def tell_end(job: JobOut) -> str:
    """Return the source of a job, and why it failed if it did."""
    error = job.error
    return job.source.uri + ("" if error is None else f"  {error.reason}: {error.message or error.hint}")


def tell_progress(job: JobOut) -> str:
    """Return how many of its shards are screened; a dash before it was planned."""
    return f"{job.progress.done}/{job.progress.total}" if job.progress.total else "–"


JOB_COLUMNS: Columns[JobOut] = {
    "job": lambda job: job.id,
    "state": lambda job: job.state,
    "done": tell_progress,
    "lane": lambda job: job.lane,
    "created": lambda job: job.create_time,
    "video": tell_end,
}
