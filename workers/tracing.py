"""Traces of jobs from submit to verdict, sent to an OTLP collector if one is named.

A doorbell carries no trace context and needs none: the trace id *is* the job's UUID and the root span's id a
digest of it, so that spans of all hosts meet in one trace. The root span begins with the time in the id,
which is when the job was submitted. The host that scores a job writes it; of a job that failed, expired or
was cancelled the reconciler does, which alone sees all of those ends.
"""

import hashlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from fakesieve.ids import IdPrefix, parse_id
from fakesieve.jobs.rows import Claim

Attributes = Mapping[str, str | int | float]


class Tracer(Protocol):
    """Records what was done for a job, and how long it took."""

    @contextmanager
    def trace_work(self, claim: Claim) -> Generator[None]:
        """Record the block as one piece of work; an error that leaves it is noted."""
        ...

    def end_job(self, job_id: str, attributes: Attributes, end_time: datetime | None = None) -> None:
        """Record that a job has ended, now unless a time is given."""
        ...

    def close(self) -> None:
        """Send what is still to be sent."""
        ...


class SilentTracer:
    """Records nothing."""

    @contextmanager
    def trace_work(self, claim: Claim) -> Generator[None]:
        """Do nothing around the block."""
        del claim
        yield

    def end_job(self, job_id: str, attributes: Attributes, end_time: datetime | None = None) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def open_tracer(endpoint: str | None) -> Tracer:
    """Return a tracer that sends to an OTLP endpoint such as ``http://collector:4318/v1/traces``."""
    if endpoint is None:
        return SilentTracer()
    # Lazy: 40 modules that a host without a collector does not need.
    from workers.otlp import OtlpTracer

    return OtlpTracer.open(endpoint)


def trace_id(job_id: str) -> int:
    """Return the trace of a job: the 128 bits of its id."""
    return parse_id(job_id, IdPrefix.JOB).int


def root_span_id(job_id: str) -> int:
    """Return the id of a job's root span, 64 bits that are never all zero."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:8], "big") or 1


def submit_time_ns(job_id: str) -> int:
    """Return when a job was submitted, in nanoseconds since 1970: the first 48 bits of its UUIDv7 are ms."""
    return (trace_id(job_id) >> 80) * 1_000_000
