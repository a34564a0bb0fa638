"""A job's trace from submit to verdict, as a collector gets it from the host that did the work."""

import time
from dataclasses import replace

import pytest

from fakesieve.jobs.rows import HostBeat
from fakesieve.jobs.states import JobState
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.settings import read_settings
from tests.collectors import collecting
from tests.workers.conftest import BUCKET, draw_face
from workers.otlp import OtlpTracer
from workers.trace_ids import root_span_id, trace_id
from workers.tracing import open_tracer


@pytest.fixture
def collector():
    with collecting() as found:
        yield found


@pytest.fixture
def tracer(collector, monkeypatch):
    """The tracer of a host whose settings name the collector."""
    for name, value in {
        "DATABASE_URL": "postgresql://",
        "BROKER_URL": "redis://",
        "BUCKET": BUCKET,
        "OTLP_ENDPOINT": collector.endpoint,
    }.items():
        monkeypatch.setenv(f"FAKESIEVE_{name}", value)
    made = open_tracer(read_settings().otlp_endpoint)
    assert isinstance(made, OtlpTracer)
    yield made
    made.close()


def find_root(fleet, job_id):
    return root_span_id(job_id, fleet.store.run(lambda tx: tx.read_job(job_id)).deadline)


def test_job_is_one_trace_from_its_submission_to_its_verdict(fleet, tracer, collector, tmp_path):
    host = replace(fleet, place=replace(fleet.place, tracer=tracer))
    ref = fleet.objects.upload(draw_face(tmp_path / "clip.mp4", frames=50), BUCKET, "clip.mp4").ref
    times_ns = {}
    fleet.store.run(lambda tx: tx.beat_host(HostBeat("hst_test", 2)))
    for _ in ("screened", "reused"):
        begun_ns = time.time_ns()
        job_id = submit_video(fleet.store, NewJob("ten_1", ref)).job_id
        submitted_ns = time.time_ns()
        host.answer_all()
        assert fleet.store.run(lambda tx, job_id=job_id: tx.read_job(job_id)).state is JobState.SUCCEEDED
        times_ns[job_id] = (begun_ns, submitted_ns, time.time_ns())
    tracer.close()  # which sends what waits
    screened, reused = times_ns
    for job_id, (begun_ns, submitted_ns, ended_ns) in times_ns.items():
        root, *pieces = collector.spans(trace_id(job_id))
        assert {span.service for span in (root, *pieces)} == {"fakesieve"}
        assert (root.name, root.span_id, root.parent_id) == ("job", find_root(fleet, job_id), 0)
        assert {span.parent_id for span in pieces} == {root.span_id}
        # An id tells the millisecond of its submission.
        assert begun_ns - 1_000_000 <= root.start_ns <= submitted_ns
        # The end is written within the piece of work that brings it about, the last one.
        assert pieces[-1].start_ns < root.end_ns <= pieces[-1].end_ns <= ended_ns
        assert root.attributes["fakesieve.state"] == "succeeded"
    (record,) = fleet.store.records
    root, *pieces = collector.spans(trace_id(screened))
    assert [span.name for span in pieces] == ["prepare", "screen", "screen", "screen", "score"]
    assert [span.attributes["fakesieve.shard"] for span in pieces[:-1]] == [0, 1, 2, 3]
    assert root.attributes["fakesieve.outcome"] == record.outcome.value
    assert root.attributes["fakesieve.inference_s"] > 0
    root, *pieces = collector.spans(trace_id(reused))
    assert [span.name for span in pieces] == ["prepare"]
    assert root.attributes["fakesieve.reused"] == "true"
