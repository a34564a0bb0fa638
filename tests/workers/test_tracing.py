from datetime import UTC, datetime

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fakesieve.ids import IdPrefix, new_id
from fakesieve.jobs.cancel import cancel_job, retry_job
from fakesieve.jobs.claim import claim_shard
from fakesieve.jobs.finish import fail_job
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import Claim, ShardKey
from fakesieve.jobs.states import Lane, WorkKind
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from tests.fakes import MemoryJobStore
from tests.simulation.memory_rows import as_time
from tests.workers.conftest import SteppedClock
from workers.otlp import OtlpTracer
from workers.reconciler import Reconciler
from workers.trace_ids import root_span_id, submit_time_ns, trace_id
from workers.tracing import SilentTracer, open_tracer

DEADLINE = datetime(2027, 1, 2, 3, 4, 5, 678901, UTC)


def make_claim(job_id, kind=WorkKind.SCREEN, index=1):
    source = VideoRef("videos", "a.mp4")
    return Claim(ShardKey(job_id, index), kind, 1, 1, Lane.BULK, "ten_1", source, None, None, DEADLINE)


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
    tracer.end_job(job_id, DEADLINE, {"fakesieve.outcome": "scored"})
    prepare, screen, root = finished()
    assert [span.name for span in (prepare, screen, root)] == ["prepare", "screen", "job"]
    assert {span.context.trace_id for span in finished()} == {trace_id(job_id)}
    assert root.parent is None
    assert {prepare.parent.span_id, screen.parent.span_id} == {root.context.span_id}
    assert root.context.span_id == root_span_id(job_id, DEADLINE)
    assert root.start_time == submit_time_ns(job_id)
    assert root.attributes["fakesieve.outcome"] == "scored"
    assert screen.attributes["fakesieve.lane"] == "bulk"


def test_a_job_that_did_not_succeed_has_its_root_with_its_end(spans):
    tracer, finished = spans
    clock = SteppedClock()
    store = MemoryJobStore(clock)
    source = VideoRef("videos", "a.mp4")
    cancelled, expired, failed = (
        submit_video(store, NewJob("ten_1", source, deadline_s=deadline_s)).job_id
        for deadline_s in (60, 5, 60)
    )
    cancel_job(store, cancelled)
    fail_job(store, failed, Reason.CORRUPT, "seen")
    clock.now += 10.0
    turns = Reconciler(store, JobLimits(), tracer=tracer)
    for _ in range(3):
        turns.take_turn()
    roots = {span.attributes["fakesieve.job"]: span for span in finished()}
    assert len(finished()) == len(roots) == 3
    ends = {
        job_id: (span.attributes["fakesieve.state"], span.attributes["fakesieve.reason"])
        for job_id, span in roots.items()
    }
    assert ends == {
        cancelled: ("cancelled", "CANCELLED_BY_CALLER"),
        expired: ("expired", "DEADLINE_EXCEEDED"),
        failed: ("failed", "CORRUPT"),
    }
    root = roots[cancelled]
    own = root_span_id(cancelled, store.jobs[cancelled].deadline)
    assert (root.name, root.parent, root.context.span_id) == ("job", None, own)
    end_s = store.run(lambda tx: store.jobs[cancelled].end_s)
    assert root.end_time == round(as_time(end_s).timestamp() * 1e9)


def test_each_run_of_a_retried_job_has_a_root_of_its_own_above_its_work(spans):
    tracer, finished = spans
    clock = SteppedClock()
    store = MemoryJobStore(clock)
    job_id = submit_video(store, NewJob("ten_1", VideoRef("videos", "a.mp4"))).job_id
    turns = Reconciler(store, JobLimits(), tracer=tracer)
    for _ in range(2):
        clock.now += 10.0
        claim = claim_shard(store, ShardKey(job_id, 0), "hst_1", 60.0)
        with tracer.trace_work(claim):
            fail_job(store, job_id, Reason.CORRUPT, "seen")
        clock.now += 61.0
        turns.take_turn()
        assert retry_job(store, job_id)
    clock.now += 10.0
    claim = claim_shard(store, ShardKey(job_id, 0), "hst_1", 60.0)
    with tracer.trace_work(claim):
        tracer.end_job(job_id, claim.deadline, {"fakesieve.state": "succeeded"})
    roots = [span for span in finished() if span.name == "job"]
    pieces = [span for span in finished() if span.name == "prepare"]
    assert [span.attributes["fakesieve.state"] for span in roots] == ["failed", "failed", "succeeded"]
    assert len({span.context.span_id for span in roots}) == 3
    assert [span.parent.span_id for span in pieces] == [span.context.span_id for span in roots]
    assert {span.context.trace_id for span in finished()} == {trace_id(job_id)}


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
