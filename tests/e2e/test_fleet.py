"""A whole fleet: real servers, a relay, a reconciler and worker hosts as processes, killed and stopped."""

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from engine.bundle import load_bundle
from engine.policy import choose_policy
from engine.sandbox.handle import Sandbox
from engine.screen import ScanSettings, open_tools, scan_video
from fakesieve.database import open_database
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.embedded.valkey import ValkeyServer
from fakesieve.jobs.states import JobState, ShardState
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.reasons import Reason
from fakesieve.records.analyses import load_analysis
from tests.chaos.points import Points
from tests.collectors import Collector, SeenSpan, collecting
from tests.e2e.fleet import FleetProcesses, find_descendants, find_inference, still_running
from tests.tolerance import FLEET_SCORE
from tests.waiting import PATIENCE_S
from tests.workers.conftest import draw_face
from workers.trace_ids import root_span_id, trace_id

LEASE_S = 40  # a busy machine may pause a host for ten seconds, which must not cost it its lease here


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Where the processes of this fleet send their traces."""
    with collecting() as found:
        yield found


@pytest.fixture(scope="module")
def all_points(tmp_path_factory: pytest.TempPathFactory) -> Points:
    """Where the processes of this fleet look for what is armed."""
    return Points(tmp_path_factory.mktemp("points"))


@pytest.fixture
def points(all_points: Points) -> Iterator[Points]:
    """By them a worker is held in the middle of a video, however slow the test is. It is let go after it."""
    yield all_points
    for point in ("decoding", "predicting"):
        all_points.release(point)


@pytest.fixture(scope="module")
def fleet(
    postgres: PostgresServer,
    migrated_database: str,
    valkey: ValkeyServer,
    s3: SeaweedServer,
    collector: Collector,
    all_points: Points,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[FleetProcesses]:
    """A database, a broker's numbered part and a bucket of our own; a relay and a reconciler."""
    name, bucket = f"fleet_{secrets.token_hex(6)}", f"fleet-{secrets.token_hex(6)}"
    postgres.make_database(name, template=migrated_database)
    database = open_database(postgres.url(database=name))
    objects = S3Objects(S3Options(s3.endpoint, s3.access_key, s3.secret_key))
    objects.make_bucket(bucket)
    environment = all_points.environment | {
        "FAKESIEVE_DATABASE_URL": postgres.url(database=name),
        "FAKESIEVE_BROKER_URL": valkey.url.removesuffix("/0") + "/7",
        "FAKESIEVE_S3_ENDPOINT": s3.endpoint,
        "FAKESIEVE_S3_ACCESS_KEY": s3.access_key,
        "FAKESIEVE_S3_SECRET_KEY": s3.secret_key,
        "FAKESIEVE_BUCKET": bucket,
        "FAKESIEVE_SCRATCH_DIR": str(tmp_path_factory.mktemp("scratch")),
        "FAKESIEVE_SCRATCH_FREE_BYTES_MIN": "1",
        "FAKESIEVE_SLOTS": "2",
        "FAKESIEVE_ENGINE": "onnxruntime",
        "FAKESIEVE_LEASE_S": str(LEASE_S),
        "FAKESIEVE_RECONCILE_S": "0.5",
        "FAKESIEVE_RELAY_S": "0.05",
        "FAKESIEVE_DOORBELL_WAIT_S": "5",
        "FAKESIEVE_DRAIN_S": "0.2",
        "FAKESIEVE_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",  # ms between two exports; 5000 unless told
    }
    made = FleetProcesses(environment, database, objects, bucket, tmp_path_factory.mktemp("logs"))
    try:
        made.start("relay")
        made.start("reconciler")
        yield made
    finally:
        made.stop()
        database.close()
        postgres.drop_database(name)


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of one face, 60 samples: several groups of them."""
    return draw_face(tmp_path_factory.mktemp("long") / "long.mp4", seed=5, frames=240, rate=4)


def catch(fleet: FleetProcesses, points: Points, clip: Path) -> str:
    """Submit a video and return its job once a worker is held in the middle of it."""
    points.arm("decoding", "hold")
    job_id = fleet.submit(clip)
    fleet.wait(lambda: points.find_met("decoding"))
    return job_id


def count_rows(fleet: FleetProcesses, job_id: str) -> tuple[int, int]:
    """How many analyses of the job's video there are, and how many verdicts of those."""
    with fleet.database.transaction(tenant_id=None) as session:
        counts = session.execute(
            text(
                "SELECT count(DISTINCT a.id), count(v.analysis_id)"
                " FROM job j JOIN analysis a USING (video_id)"
                " LEFT JOIN verdict v ON v.analysis_id = a.id WHERE j.id = :job"
            ),
            {"job": job_id},
        ).one()
    return counts[0], counts[1]


def wait_traced(fleet: FleetProcesses, collector: Collector, job_id: str, *names: str) -> SeenSpan:
    """Wait until a trace has its root and pieces of work of these names below it; return the root."""

    root_id = root_span_id(job_id, fleet.read(job_id).deadline)

    def list_pieces() -> list[str]:
        return [span.name for span in collector.spans(trace_id(job_id)) if span.parent_id == root_id]

    def find_roots() -> list[SeenSpan]:
        return [span for span in collector.spans(trace_id(job_id)) if span.name == "job"]

    fleet.wait(lambda: find_roots() and list_pieces() == list(names))
    (root,) = find_roots()
    assert (root.span_id, root.parent_id) == (root_id, 0)
    return root


def test_submitted_clip_ends_with_the_verdict_of_a_scan(
    fleet: FleetProcesses, collector: Collector, tmp_path: Path
) -> None:
    clip = draw_face(tmp_path / "short.mp4", seed=1)
    fleet.ensure_worker()
    job = fleet.wait_ended(fleet.submit(clip))
    assert (job.state, job.n_shards, job.n_done) == (JobState.SUCCEEDED, 1, 1), job
    with fleet.database.transaction(tenant_id=None) as session:
        record = load_analysis(session, job.analysis_id)
    bundle = load_bundle()
    policy = choose_policy(bundle.name, bundle.thresholds)
    with Sandbox.start() as sandbox:
        tools = open_tools(bundle, sandbox, engine="onnxruntime", threads=1)
        scanned = scan_video(clip, tools, ScanSettings(policy=policy))
    assert record.fingerprint == scanned.fingerprint
    assert record.verdict.value is scanned.verdict.value
    assert record.score.raw == pytest.approx(scanned.score.raw, abs=FLEET_SCORE)
    assert record.score.calibrated == pytest.approx(scanned.score.calibrated, abs=FLEET_SCORE)
    frames = [frame.score for track in record.score.tracks for frame in track.frames]
    expected = [frame.score for track in scanned.score.tracks for frame in track.frames]
    assert frames == pytest.approx(expected, abs=FLEET_SCORE)
    assert count_rows(fleet, job.id) == (1, 1)

    again = fleet.wait_ended(fleet.submit(clip, "the-same-again.mp4"))
    assert (again.state, again.reused_analysis) == (JobState.SUCCEEDED, True)

    (tmp_path / "notes.mp4").write_text("no video " * 100)
    refused = fleet.wait_ended(fleet.submit(tmp_path / "notes.mp4"))
    assert (refused.state, refused.reason) == (JobState.FAILED, Reason.NOT_VIDEO)

    # Worker and reconciler send their spans to where the setting says.
    root = wait_traced(fleet, collector, job.id, "prepare", "screen")
    assert root.attributes["fakesieve.outcome"] == record.outcome.value
    assert wait_traced(fleet, collector, again.id, "prepare").attributes["fakesieve.reused"] == "true"
    root = wait_traced(fleet, collector, refused.id, "prepare")
    assert root.attributes["fakesieve.reason"] == "NOT_VIDEO"


def test_killed_worker_costs_an_attempt_and_no_record(
    fleet: FleetProcesses, points: Points, long_clip: Path
) -> None:
    worker = fleet.ensure_worker()
    job_id = catch(fleet, points, long_clip)
    children = find_descendants(worker)
    assert len(children) >= 2  # the sandbox and the inference process at least
    fleet.kill(worker)
    assert fleet.read(job_id).state is JobState.RUNNING
    fleet.wait(lambda: not still_running(children))

    points.release("decoding")
    points.arm("decoding", "hold")
    other = fleet.ensure_worker()
    # It ends the leases of the dead one.
    fleet.wait(lambda: any("host.buried" in log.read_text() for log in fleet.logs.iterdir()))
    fleet.wait(lambda: points.find_met("decoding"))
    assert fleet.read_shard(job_id, 1).fence == 2
    points.arm("predicting", "hold")
    points.release("decoding")
    fleet.wait(lambda: points.find_met("predicting"))
    (inference,) = points.find_met("predicting")
    assert inference == find_inference(other)
    os.kill(inference, signal.SIGKILL)  # costs neither the shard nor an attempt
    job = fleet.wait_ended(job_id)
    assert (job.state, job.n_done) == (JobState.SUCCEEDED, 1), fleet.read_logs()
    assert count_rows(fleet, job_id) == (1, 1)
    assert fleet.read_shard(job_id, 1).attempts == 2, fleet.read_logs()
    # It had crops of this job, which were sent once more.
    lines = [line for log in fleet.logs.iterdir() for line in log.read_text().splitlines()]
    assert [line for line in lines if "inference.ended" in line and f"{job_id}/1" in line], fleet.read_logs()


def test_stopped_worker_gives_back_and_costs_no_attempt(
    fleet: FleetProcesses, points: Points, tmp_path: Path
) -> None:
    clip = draw_face(tmp_path / "drained.mp4", seed=9, frames=240, rate=4)
    worker = fleet.ensure_worker()
    job_id = catch(fleet, points, clip)
    children = find_descendants(worker)
    worker.send_signal(signal.SIGTERM)
    # It has told its work to end at its next step.
    fleet.wait(lambda: any("host.giving_back" in log.read_text() for log in fleet.logs.iterdir()))
    points.release("decoding")
    assert worker.wait(PATIENCE_S) == 0, fleet.read_logs()
    shard = fleet.read_shard(job_id, 1)
    assert (shard.state, shard.attempts, shard.deliveries) == (ShardState.PENDING, 0, 1), fleet.read_logs()
    fleet.wait(lambda: not still_running(children))
    assert not list(Path(fleet.environment["FAKESIEVE_SCRATCH_DIR"]).iterdir())

    fleet.ensure_worker()
    job = fleet.wait_ended(job_id)
    assert job.state is JobState.SUCCEEDED
    assert fleet.read_shard(job_id, 1).attempts == 1
    assert count_rows(fleet, job_id) == (1, 1)


def test_worker_refuses_to_start_where_the_database_is_empty(
    fleet: FleetProcesses, postgres: PostgresServer
) -> None:
    name = f"empty_{secrets.token_hex(6)}"
    postgres.make_database(name)
    try:
        worker = fleet.start("worker", FAKESIEVE_DATABASE_URL=postgres.url(database=name))
        assert worker.wait(PATIENCE_S) == 78
    finally:
        postgres.drop_database(name)
    assert "fakesieve migrate" in fleet.read_logs()
