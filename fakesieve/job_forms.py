"""Jobs as JSON: alone, in the document of a result, and with their work."""

from datetime import datetime

from engine.result_forms import JsonObject
from fakesieve.values.job_lines import AttemptLine, JobDetail, JobLine, ShardLine
from fakesieve.values.job_log import LogLine


def form_job(line: JobLine, attempts: int | None = None) -> JsonObject:
    """Return a job as JSON; ``attempts`` stands in it where it is known."""
    known: JsonObject = {} if attempts is None else {"attempts": attempts}
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


def form_error(line: JobLine) -> JsonObject | None:
    """Return why a job has no result, as ``scan`` writes it; None where it has one or may get one."""
    fault = line.fault
    if fault is None:
        return None
    return {
        "reason": fault.reason.value,
        "message": fault.message or fault.reason.value,
        "hint": fault.hint,
    }


def form_detail(job: JobDetail) -> JsonObject:
    """Return a job with its pieces of work and every attempt at them; hosts only where they are told."""
    return {
        **form_job(job.line, job.attempt_count),
        "trace_id": job.line.trace_id,
        "work": [_form_shard(shard) for shard in job.shards],
        "history": [form_attempt(attempt) for attempt in job.attempts],
    }


def _form_shard(shard: ShardLine) -> JsonObject:
    told: JsonObject = {"deliveries": shard.deliveries, "owner": shard.owner}
    return {
        "shard": shard.index,
        "kind": shard.kind.value,
        "state": shard.state.value,
        "attempts": shard.attempts,
        **({} if shard.deliveries is None else told),
    }


def form_attempt(attempt: AttemptLine) -> JsonObject:
    """Return one try at a piece of work as JSON."""
    return {
        "shard": attempt.shard,
        "kind": attempt.kind.value,
        "attempt": attempt.number,
        **({} if attempt.owner is None else {"owner": attempt.owner}),
        "start_time": form_time(attempt.start_time),
        "end_time": form_time(attempt.end_time),
        "end": None if attempt.end is None else attempt.end.value,
        "reason": None if attempt.reason is None else attempt.reason.value,
        "message": attempt.message,
    }


def form_log_line(line: LogLine) -> JsonObject:
    """Return a line of the log of a job as JSON."""
    return {
        "time": form_time(line.time),
        "event": line.event.value,
        "shard": line.shard,
        "kind": None if line.kind is None else line.kind.value,
        "attempt": line.number,
        **({} if line.owner is None else {"owner": line.owner}),
        "reason": None if line.reason is None else line.reason.value,
        "message": line.message,
    }


def form_time(time: datetime | None) -> str | None:
    """Return a time as RFC 3339 in UTC."""
    return None if time is None else time.isoformat().replace("+00:00", "Z")
