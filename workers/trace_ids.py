"""What all hosts know of a job's trace without a word between them: it follows from the job's id.

The trace id *is* the job's UUID. A job that is retried runs again, and each of its runs has a root span of
its own, whose id is a digest of the job's id and of the deadline: a retry sets a new one, and nothing else
does. A root span begins with the time in the job's id, which is when the job was submitted.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime

from fakesieve.ids import IdPrefix, parse_id

Attributes = Mapping[str, str | int | float]


def trace_id(job_id: str) -> int:
    """Return the trace of a job: the 128 bits of its id."""
    return parse_id(job_id, IdPrefix.JOB).int


def root_span_id(job_id: str, deadline: datetime) -> int:
    """Return the id of the root span of a job's run, 64 bits that are never all zero."""
    run = f"{job_id} {round(deadline.timestamp() * 1e6)}"
    return int.from_bytes(hashlib.sha256(run.encode()).digest()[:8], "big") or 1


def submit_time_ns(job_id: str) -> int:
    """Return when a job was submitted, in nanoseconds since 1970: the first 48 bits of its UUIDv7 are ms."""
    return (trace_id(job_id) >> 80) * 1_000_000
