"""What all hosts know of a job's trace without a word between them: it follows from the job's id.

The trace id *is* the job's UUID and the root span's id a digest of it. The root span begins with the time in
the id, which is when the job was submitted.
"""

import hashlib
from collections.abc import Mapping

from fakesieve.ids import IdPrefix, parse_id

Attributes = Mapping[str, str | int | float]


def trace_id(job_id: str) -> int:
    """Return the trace of a job: the 128 bits of its id."""
    return parse_id(job_id, IdPrefix.JOB).int


def root_span_id(job_id: str) -> int:
    """Return the id of a job's root span, 64 bits that are never all zero."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:8], "big") or 1


def submit_time_ns(job_id: str) -> int:
    """Return when a job was submitted, in nanoseconds since 1970: the first 48 bits of its UUIDv7 are ms."""
    return (trace_id(job_id) >> 80) * 1_000_000
