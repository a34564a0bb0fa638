"""What the bench of the console looks at: one tenant with many analyses, two models, and a 3-hour video."""

import json
import math
import os
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
import psycopg

from bench.database.facts import Patterns, draw_facts
from bench.database.fill import Filler, list_columns, note_patterns
from bench.database.prepare import SERVER, WHOLE_EVERY, new_job
from bench.database.templates import Runner, Screened, screen_clips
from engine.policy import PRESETS, decide
from engine.results import Coverage, FaceRegion, FrameScore, Outcome, TimeSeries, TrackScore, VideoScore
from fakesieve.database import Database, open_database
from fakesieve.embedded.postgres import APP_ROLE, OWNER_ROLE, PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.objects import VideoRef
from fakesieve.people.accounts import create_user
from fakesieve.records.analyses import AnalysisRecord, TrackMaps, store_analysis
from fakesieve.records.model_lists import set_alias
from fakesieve.records.models import ModelFacts, ensure_model
from fakesieve.records.revision import migrate_database
from fakesieve.records.tenants import add_places, ensure_tenant
from fakesieve.records.videos import record_source, upsert_video
from fakesieve.reviews.fill import fill_queue
from fakesieve.reviews.queues import create_queue
from fakesieve.values.models import ModelAlias
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import QueueDraft, QueueRule
from fakesieve.values.webhooks import EndpointDraft
from fakesieve.webhooks.addresses import AddressRules
from fakesieve.webhooks.endpoints import create_endpoint

TENANT, EMAIL, PASSWORD = "newsroom", "admin@newsroom.example", "correct horse battery"
BUCKET, SECOND_US = "videos", 1_000_000
LONG_S, STEP_US, FACES, GRID = 3 * 3600, 500_000, 3, 19
ACTS, DELIVERIES = 20_000, 5_000
SECOND = ModelFacts("second-model", "cd" * 32, "onnxruntime-cpu", "f32")
DONE = "filled.json"


@dataclass(frozen=True)
class Filled:
    """What the pages are asked for."""

    tenant: str
    analyses: int
    pairs: int
    acts: int
    deliveries: int
    short_id: str
    long_id: str
    queue_id: str
    webhook_id: str
    model_id: str
    job_id: str
    video_id: str
    batch_id: str


def fill(folder: Path, server: PostgresServer, objects: SeaweedServer, work: Path, analyses: int) -> Filled:
    """Fill the database of a running server, or take what is there."""
    done = folder / DONE
    migrate_database(server.url(OWNER_ROLE))
    if done.exists():
        # A database that was kept may be older than what is asked of it now: the batch is looked up.
        with server.connect() as connection:
            noted = json.loads(done.read_text(encoding="ascii")) | {"batch_id": _find_batch(connection)}
        return Filled(**noted)
    _tune(server)
    store = S3Objects(S3Options(objects.endpoint, objects.access_key, objects.secret_key))
    store.make_bucket(BUCKET)
    with closing(open_database(server.url())) as database, server.connect() as connection:
        with database.transaction(tenant_id=None) as session:
            tenant_id = ensure_tenant(session, TENANT)
            add_places(session, tenant_id, [f"s3://{BUCKET}/"])
        screened = screen_clips(work)
        job_ids = _copy_jobs(connection, database, screened, tenant_id, analyses)
        pairs = _judge_again(connection, database, tenant_id)
        found = _add_rest(connection, database, tenant_id)
        long_id = _store_long(folder, database, store, tenant_id)
        connection.execute("VACUUM (ANALYZE)")
        short_id, video_id = connection.execute(
            "SELECT analysis_id, video_id FROM job WHERE id = %s", (job_ids[0],)
        ).fetchone()  # fmt: skip
        count = connection.execute("SELECT count(*) FROM analysis").fetchone()[0]
        batch_id = _find_batch(connection)
    made = Filled(
        TENANT, count - pairs, pairs, ACTS, DELIVERIES, short_id, long_id, *found, job_id=job_ids[0],
        video_id=video_id, batch_id=batch_id,
    )  # fmt: skip
    done.write_text(json.dumps(vars(made)) + "\n", encoding="ascii")
    return made


def _find_batch(connection: psycopg.Connection) -> str:
    """Return the id of the batch with the most jobs. Raises ValueError where there is none."""
    found = connection.execute(
        "SELECT batch_id FROM job WHERE batch_id IS NOT NULL GROUP BY batch_id ORDER BY count(*) DESC LIMIT 1"
    ).fetchone()
    if found is None:
        raise ValueError("no job is in a batch: ask for more analyses")
    return found[0]


def _tune(server: PostgresServer) -> None:
    with server.connect("postgres") as connection:
        for name, value in SERVER.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
    server.stop()
    server.start()


def _copy_jobs(
    connection: psycopg.Connection,
    database: Database,
    screened: list[Screened],
    tenant_id: str,
    analyses: int,
) -> list[str]:
    connection.execute("SELECT make_frame_score_partitions((now() - interval '70 days')::date, 4)")
    runner = Runner(SqlJobStore(database))
    jobs = [runner.run(each, new_job(tenant_id, f"pattern-{n}")) for n, each in enumerate(screened)]
    jobs.append(runner.reject(new_job(tenant_id, "pattern-failed")))
    policy, last = screened[0].by.policy, len(jobs) - 1
    note_patterns(connection, jobs, policy.low, policy.high)
    patterns = Patterns(range(last - 1), last - 1, last, policy.low, policy.high)
    facts = draw_facts(analyses, [tenant_id], patterns, datetime.now(UTC), whole_every=WHOLE_EVERY)
    for done in Filler(connection).add(facts):
        print(f"{done:,} of {analyses:,} jobs", file=sys.stderr, flush=True)
    connection.execute("DROP SCHEMA pattern CASCADE")
    return jobs


_NOISE = "('x' || left(md5(s.analysis_id), 4))::bit(16)::int / 65536.0 - 0.5"
_OTHER = f"CASE WHEN s.score IS NOT NULL THEN least(1, greatest(0, s.score + ({_NOISE}) / 4)) END"
_VERDICT = (
    f"CASE WHEN s.score IS NULL THEN NULL WHEN {_OTHER} < p.low THEN 'no_manipulation_found'"
    f" WHEN {_OTHER} < p.high THEN 'inconclusive' ELSE 'likely_manipulated' END"
)


def _judge_again(connection: psycopg.Connection, database: Database, tenant_id: str) -> int:
    """Copy the analyses as another model's, whose scores are a little off; return how many."""
    with database.transaction(tenant_id=tenant_id) as session:
        second = ensure_model(session, SECOND)
        first = connection.execute("SELECT model_id FROM analysis LIMIT 1").fetchone()[0]
        set_alias(session, tenant_id, ModelAlias.CHAMPION, first, actor="bench")
        set_alias(session, tenant_id, ModelAlias.CHALLENGER, second, actor="bench")
    new_id = "left(s.analysis_id, -1) || '1'"
    changes = {
        "analysis": {
            "id": new_id, "model_id": f"'{second}'", "pipeline_fingerprint": "'second'", "score_raw": _OTHER,
            "score_calibrated": "NULL", "score_low": "NULL", "score_high": "NULL",
        },
        "verdict": {"analysis_id": new_id, "value": _VERDICT, "score_used": _OTHER},
        "standing": {
            "analysis_id": new_id, "verdict": _VERDICT, "score": _OTHER, "score_raw": _OTHER,
            "score_calibrated": "NULL", "score_low": "NULL", "score_high": "NULL",
            "model_id": f"'{second}'", "pipeline_fingerprint": "'second'",
        },
    }  # fmt: skip
    count = 0
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        for table, values in changes.items():
            columns = list_columns(connection, table)
            chosen = ", ".join(values.get(name, f't."{name}"') for name in columns)
            key = "id" if table == "analysis" else "analysis_id"
            names = ", ".join(f'"{name}"' for name in columns)
            count = connection.execute(
                f"INSERT INTO {table} ({names}) SELECT {chosen} FROM {table} t"
                f" JOIN standing s ON s.analysis_id = t.{key} JOIN policy p ON p.id = s.policy_id"
                " WHERE s.analysis_id LIKE '%00'".encode()
            ).rowcount
    return count


def _add_rest(connection: psycopg.Connection, database: Database, tenant_id: str) -> tuple[str, str, str]:
    """Make an admin, a queue with items, a webhook with a log, and acts; return three ids for addresses."""
    with database.transaction(tenant_id=tenant_id) as session:
        create_user(
            session, tenant_id, email=EMAIL, name="Ada", role=UserRole.ADMIN, password=PASSWORD, actor="bench"
        )
        queue = create_queue(
            session, tenant_id, QueueDraft("flagged", QueueRule(score_min=0.5)), actor="bench"
        )
        draft = EndpointDraft("https://hooks.example.com/fakesieve")
        hook = create_endpoint(session, tenant_id, "bench", draft, AddressRules.allow(()))
        ids = (queue.id, hook.endpoint.id, ensure_model(session, SECOND))
    with database.transaction(tenant_id=tenant_id) as session:
        fill_queue(session, queue)
    connection.execute(
        "INSERT INTO event (id, tenant_id, type, data, publish_time)"
        " SELECT 'evt_' || lpad(n::text, 26, '0'), %s, 'job.succeeded', '{}', now()"
        " FROM generate_series(1, %s) n",
        (tenant_id, DELIVERIES),
    )
    connection.execute(
        "INSERT INTO webhook_delivery (id, tenant_id, endpoint_id, event_id, state, attempts, tries_left,"
        " end_time, create_time) SELECT 'dlv_' || lpad(n::text, 26, '0'), %s, %s,"
        " 'evt_' || lpad(n::text, 26, '0'), 'succeeded', 1, 7, now(), now() - n * interval '1 minute'"
        " FROM generate_series(1, %s) n",
        (tenant_id, ids[1], DELIVERIES),
    )
    connection.execute(
        "INSERT INTO audit_log (tenant_id, actor, action, subject, details) SELECT %s, 'usr_bench',"
        " 'analysis.viewed', analysis_id, '{}' FROM standing LIMIT %s",
        (tenant_id, ACTS),
    )
    return ids


def _store_long(folder: Path, database: Database, store: S3Objects, tenant_id: str) -> str:
    """Store an analysis of a 3-hour video with three faces all the time, and a video of that length."""
    clip = folder / "long.mp4"
    _draw_long(clip)
    store.upload(clip, BUCKET, "videos/long.mp4", content_type="video/mp4")
    media = {"kind": "video", "container": "mp4", "codec": "h264", "width": 160, "height": 90,
             "duration_us": LONG_S * SECOND_US, "warnings": []}  # fmt: skip
    score = _make_long_score()
    maps = tuple(_make_maps(track) for track in score.tracks)
    policy = PRESETS["balanced"]
    with database.transaction(tenant_id=tenant_id) as session:
        video_id = upsert_video(
            session, tenant_id=tenant_id, sha256="ef" * 32, size_bytes=clip.stat().st_size, media=media
        )
        record_source(
            session, tenant_id=tenant_id, video_id=video_id, ref=VideoRef(BUCKET, "videos/long.mp4")
        )
        record = AnalysisRecord(
            tenant_id, video_id, "long", SECOND, score, policy, decide(score, policy), maps
        )
        return store_analysis(session, record)[0]


def _make_long_score() -> VideoScore:
    rng = np.random.default_rng(1)
    tracks = tuple(_make_long_track(ordinal, rng) for ordinal in range(FACES))
    times = tuple(frame.pts_us for frame in tracks[0].frames)
    samples = len(times)
    highest = tuple(max(track.frames[place].score or 0.0 for track in tracks) for place in range(samples))
    total_us = LONG_S * SECOND_US
    coverage = Coverage(
        frames_in_video=LONG_S * 25, frames_sampled=samples, frames_decoded=samples, frames_with_face=samples,
        faces_detected=FACES * samples, faces_scored=FACES * samples, faces_rejected=(),
        scored_us=total_us, total_us=total_us,
    )  # fmt: skip
    series = TimeSeries(times, highest, (0,) * samples, ())
    raw = max(track.score or 0.0 for track in tracks)
    return VideoScore(Outcome.SCORED, raw, None, None, tracks, (), coverage, peak_track=0, time_series=series)


def _make_long_track(ordinal: int, rng: np.random.Generator) -> TrackScore:
    times = range(0, LONG_S * SECOND_US, STEP_US)
    wave = [0.3 + 0.2 * math.sin(place / 300 + ordinal) for place in range(len(times))]
    noise = rng.normal(0, 0.05, len(times))
    scores = np.clip(np.array(wave) + noise, 0.01, 0.99).tolist()
    frames = tuple(
        FrameScore(pts_us, (0.1 + 0.3 * ordinal, 0.3, 0.2, 0.4), score, 0.5, 0.1, None, 0.99)
        for pts_us, score in zip(times, scores, strict=True)
    )
    shares = tuple((region, 0.1) for region in FaceRegion)
    return TrackScore(
        ordinal, 0, LONG_S * SECOND_US, Outcome.SCORED, max(scores), frames, (0,), shares, (), 0.5
    )


def _make_maps(track: TrackScore) -> TrackMaps:
    rng = np.random.default_rng(track.ordinal)
    count = len(track.frames)
    base = rng.integers(0, 90, (GRID, GRID))
    cells = (base[None] + rng.integers(0, 12, (count, GRID, GRID))).astype(np.uint8)
    shares = rng.integers(0, 255, (count, len(FaceRegion))).astype(np.uint8)
    matrix = (0.1, 0.0, 16.0 + 48 * track.ordinal, 0.0, 0.1, 27.0)
    times = tuple(frame.pts_us for frame in track.frames)
    packed, regions = zlib.compress(cells.tobytes(), 6), zlib.compress(shares.tobytes(), 6)
    return TrackMaps(track.ordinal, times, GRID, 304, (matrix,) * count, packed, regions)


def _draw_long(path: Path) -> None:
    """Encode three hours at one frame a second, small enough to be no matter."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as out:
        stream = out.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "40", "g": "10"}
        picture = np.zeros((90, 160, 3), np.uint8)
        for second in range(LONG_S):
            picture[:] = (second // 60) % 200
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))


@contextmanager
def serve(server: PostgresServer, objects: SeaweedServer) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run ``fakesieve serve`` as an installation does; give its address and its process."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    settings = {
        "DATABASE_URL": server.url(APP_ROLE),
        "BROKER_URL": "redis://localhost:1/0",
        "BUCKET": BUCKET,
        "S3_ENDPOINT": objects.endpoint,
        "S3_ACCESS_KEY": objects.access_key,
        "S3_SECRET_KEY": objects.secret_key,
        "TOKEN_KEY": "a key of the bench",
        "API_PORT": str(port),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "fakesieve", "serve"],
        env=os.environ | {f"FAKESIEVE_{name}": value for name, value in settings.items()},
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_for(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the server does not answer")
