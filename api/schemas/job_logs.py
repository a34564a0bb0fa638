"""What became of a job, on the wire."""

from typing import Literal

from api.schemas.shape import Answer, Time
from fakesieve.jobs.states import WorkKind
from fakesieve.reasons import Reason
from fakesieve.values.job_log import LogEvent


class LogLineOut(Answer):
    """One thing that became of a job; ``shard`` is null for the job as a whole."""

    time: Time
    event: LogEvent
    shard: int | None
    kind: WorkKind | None
    attempt: int | None
    reason: Reason | None
    message: str | None


class JobLogOut(Answer):
    """What the records know of a job, in order of time; the time of what is due may lie ahead."""

    object: Literal["job_log"] = "job_log"
    job_id: str
    trace_id: str
    data: list[LogLineOut]
