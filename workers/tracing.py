"""Traces of jobs from submit to verdict, sent to an OTLP collector if one is named.

A doorbell carries no trace context and needs none: all ids follow from that of the job
(``workers/trace_ids.py``), so that spans of all hosts meet in one trace. The host that scores a job writes
its root span; of a job that failed, expired or was cancelled the reconciler does, which alone sees all of
those ends.
"""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from fakesieve.jobs.rows import Claim
from workers.trace_ids import Attributes


class Tracer(Protocol):
    """Records what was done for a job, and how long it took."""

    @contextmanager
    def trace_work(self, claim: Claim) -> Generator[None]:
        """Record the block as one piece of work; an error that leaves it is noted."""
        ...

    def end_job(
        self, job_id: str, deadline: datetime, attributes: Attributes, end_time: datetime | None = None
    ) -> None:
        """Record that the run of a job with this deadline has ended, now unless a time is given."""
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

    def end_job(
        self, job_id: str, deadline: datetime, attributes: Attributes, end_time: datetime | None = None
    ) -> None:
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
