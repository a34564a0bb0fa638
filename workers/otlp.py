"""Spans of the fleet through OpenTelemetry's SDK; see ``workers/tracing.py``."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Self

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from fakesieve.jobs.rows import Claim
from workers.trace_ids import Attributes, root_span_id, submit_time_ns, trace_id

_EXPORT_TIMEOUT_S = 5


class _PlannedIds(RandomIdGenerator):
    """Random ids, but for a root span, whose ids follow from its job and the run of it."""

    def __init__(self) -> None:
        super().__init__()
        self._planned = threading.local()

    @contextmanager
    def plan(self, job_id: str, deadline: datetime) -> Generator[None]:
        """Give the ids of a run's root span to what is begun in the block."""
        self._planned.ids = (trace_id(job_id), root_span_id(job_id, deadline))
        try:
            yield
        finally:
            self._planned.ids = None

    def generate_trace_id(self) -> int:
        ids: tuple[int, int] | None = getattr(self._planned, "ids", None)
        return super().generate_trace_id() if ids is None else ids[0]

    def generate_span_id(self) -> int:
        ids: tuple[int, int] | None = getattr(self._planned, "ids", None)
        return super().generate_span_id() if ids is None else ids[1]


class OtlpTracer:
    """Records spans and hands them to a processor, which sends them in batches from its own thread."""

    def __init__(self, processor: SpanProcessor) -> None:
        self._ids = _PlannedIds()
        resource = Resource.create({"service.name": "fakesieve"})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("fakesieve.workers")

    @classmethod
    def open(cls, endpoint: str) -> Self:
        """Make a tracer that sends over HTTP to an OTLP endpoint. One that is down costs spans only."""
        return cls(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_TIMEOUT_S)))

    @contextmanager
    def trace_work(self, claim: Claim) -> Generator[None]:
        """Record the block as a span below the root of the job's run."""
        job_id = claim.key.job_id
        root = SpanContext(
            trace_id(job_id),
            root_span_id(job_id, claim.deadline),
            is_remote=True,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
        )
        context = set_span_in_context(NonRecordingSpan(root))
        attributes: Attributes = {
            "fakesieve.job": job_id,
            "fakesieve.shard": claim.key.index,
            "fakesieve.attempt": claim.attempt,
            "fakesieve.lane": claim.lane.value,
        }
        with self._tracer.start_as_current_span(claim.kind.value, context, attributes=attributes):
            yield

    def end_job(
        self, job_id: str, deadline: datetime, attributes: Attributes, end_time: datetime | None = None
    ) -> None:
        """Record the root span of a run, from the submission to the end, which is now unless a time is given.

        It has no parent, though the piece of work that ends a job is still being recorded.
        """
        with self._ids.plan(job_id, deadline):
            span = self._tracer.start_span(
                "job",
                Context(),
                attributes={"fakesieve.job": job_id, **attributes},
                start_time=submit_time_ns(job_id),
            )
        span.end(time.time_ns() if end_time is None else round(end_time.timestamp() * 1e9))

    def close(self) -> None:
        """Send what waits and end the thread."""
        self._provider.shutdown()
