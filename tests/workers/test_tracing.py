from datetime import UTC, datetime

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fakesieve.ids import IdPrefix, new_id
from fakesieve.jobs.rows import Claim, ShardKey
from fakesieve.jobs.states import Lane, WorkKind
from fakesieve.objects import VideoRef
from workers.otlp import OtlpTracer
from workers.tracing import SilentTracer, open_tracer, root_span_id, submit_time_ns, trace_id


def make_claim(job_id, kind=WorkKind.SCREEN, index=1):
    source, deadline = VideoRef("videos", "a.mp4"), datetime.now(UTC)
    return Claim(ShardKey(job_id, index), kind, 1, 1, Lane.BULK, "ten_1", source, None, None, deadline)


@pytest.fixture
def spans():
    exporter = InMemorySpanExporter()
    tracer = OtlpTracer(SimpleSpanProcessor(exporter))
    yield tracer, exporter.get_finished_spans
    tracer.close()


def test_spans_of_two_hosts_meet_under_the_root_of_their_job(spans):
    tracer, finished = spans
    job_id = new_id(IdPrefix.JOB)
    with tracer.trace_work(make_claim(job_id, WorkKind.PREPARE, 0)):
        pass
    with tracer.trace_work(make_claim(job_id)):
        pass
    tracer.end_job(job_id, {"fakesieve.outcome": "scored"})
    prepare, screen, root = finished()
    assert [span.name for span in (prepare, screen, root)] == ["prepare", "screen", "job"]
    assert {span.context.trace_id for span in finished()} == {trace_id(job_id)}
    assert root.parent is None
    assert prepare.parent.span_id == screen.parent.span_id == root.context.span_id == root_span_id(job_id)
    assert root.start_time == submit_time_ns(job_id)
    assert root.attributes["fakesieve.outcome"] == "scored"
    assert screen.attributes["fakesieve.lane"] == "bulk"


def test_error_of_a_piece_of_work_is_noted_and_goes_on(spans):
    tracer, finished = spans
    with pytest.raises(ZeroDivisionError), tracer.trace_work(make_claim(new_id(IdPrefix.JOB))):
        raise ZeroDivisionError
    assert not finished()[0].status.is_ok


def test_job_is_traced_from_the_time_in_its_id():
    before = datetime.now(UTC).timestamp()
    submitted_s = submit_time_ns(new_id(IdPrefix.JOB)) / 1e9
    assert before - 0.001 <= submitted_s <= datetime.now(UTC).timestamp()


def test_nothing_is_traced_without_an_endpoint():
    assert isinstance(open_tracer(None), SilentTracer)
    with open_tracer(None).trace_work(make_claim(new_id(IdPrefix.JOB))):
        pass
