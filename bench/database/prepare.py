"""Makes the database that is asked: a million jobs that have ended, and a backlog that waits."""

import itertools
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from bench.database.facts import TENANTS, Fact, Patterns, draw_facts
from bench.database.fill import Filler, note_patterns
from bench.database.templates import OWNER, TAKER, Runner, Screened
from fakesieve.database import Database, open_database
from fakesieve.embedded.postgres import OWNER_ROLE, PostgresServer
from fakesieve.jobs.claim import claim_shard
from fakesieve.jobs.fan_out import fan_out
from fakesieve.jobs.rows import ShardKey
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import Lane
from fakesieve.jobs.submit import NewBatch, NewJob, submit_batch, submit_video
from fakesieve.objects import VideoRef
from fakesieve.records.revision import migrate_database
from fakesieve.records.tenants import ensure_tenant

# As on a small database server; the rest of the memory is the system's cache.
SERVER = {"shared_buffers": "2GB", "max_wal_size": "4GB", "checkpoint_timeout": "15min"}
_LONG_S = 400 * 86_400.0
_LIVE_BATCH_JOBS = 20
_EXPIRED_LEASES = 100
# One of so many analyses has its wide rows too: faces in frames, maps, evidence. With all it is 58 GB.
WHOLE_EVERY = 10
DONE = "filled.json"
# The heads of the clips are genuine; spans that stand out are made for the videos whose score is high.
_FORGED_MOUTHS = """
INSERT INTO segment (tenant_id, analysis_id, position, kind, ordinal, start_us, end_us,
                     score_max, score_mean, regions)
SELECT tenant_id, id, 200 + span, 'suspicious', peak_track, 4000000 * span, 4000000 * span + 1500000,
       score_raw, score_raw, ARRAY['mouth']
FROM analysis CROSS JOIN generate_series(0, 1) AS span WHERE score_raw >= %s
"""
_NOTE_MOUTHS = """
UPDATE standing SET suspicious_count = suspicious_count + 2, span_regions = ARRAY['mouth']
WHERE score_raw >= %s
"""


@dataclass(frozen=True)
class Filled:
    """How the tables were filled."""

    analyses: int
    whole: int  # of them with all their rows
    waiting: int
    fill_s: float
    clean_s: float
    load_at_fill: float


def prepare(folder: Path, screened: Sequence[Screened], analyses: int, waiting: int) -> Filled:
    """Fill a new database, or take the one that is there; the server does not run afterwards."""
    done = folder / DONE
    if done.exists():
        with PostgresServer(folder / "postgres") as server:
            migrate_database(server.url(OWNER_ROLE))
        return Filled(**json.loads(done.read_text(encoding="ascii")))
    with PostgresServer(folder / "postgres", is_durable=False) as server:
        with server.connect("postgres") as connection:
            for name, value in SERVER.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        server.stop()
        server.start()
        migrate_database(server.url(OWNER_ROLE))
        begun, load = time.monotonic(), _read_load()
        with closing(open_database(server.url())) as database, server.connect() as connection:
            _fill(connection, database, screened, analyses, waiting)
            filled = time.monotonic()
            connection.execute("DROP SCHEMA pattern CASCADE")
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")
        made = Filled(
            analyses, -(-analyses // WHOLE_EVERY), waiting, filled - begun, time.monotonic() - filled, load
        )
    done.write_text(json.dumps(vars(made)) + "\n", encoding="ascii")
    return made


def _read_load() -> float:
    return float(Path("/proc/loadavg").read_text(encoding="ascii").split()[0])


def _fill(
    connection: psycopg.Connection,
    database: Database,
    screened: Sequence[Screened],
    analyses: int,
    waiting: int,
) -> None:
    tenant_ids = make_tenants(database)
    # Past months have no partitions of their own in a new database.
    connection.execute("SELECT make_frame_score_partitions((now() - interval '70 days')::date, 4)")
    store = SqlJobStore(database)
    runner = Runner(store)
    end = datetime.now(UTC)
    jobs = [runner.run(each, new_job(tenant_ids[0], f"pattern-{n}")) for n, each in enumerate(screened)]
    jobs.append(runner.reject(new_job(tenant_ids[0], "pattern-failed")))
    policy = screened[0].by.policy
    note_patterns(connection, jobs, policy.low, policy.high)
    last = len(jobs) - 1
    patterns = Patterns(range(last - 1), last - 1, last, policy.low, policy.high)
    facts = draw_facts(analyses, tenant_ids, patterns, end, whole_every=WHOLE_EVERY)
    for done in Filler(connection).add(facts):
        print(f"{done:,} of {analyses:,} jobs", file=sys.stderr, flush=True)
    for statement in (_FORGED_MOUTHS, _NOTE_MOUTHS):
        connection.execute(statement, (policy.high,))
    _add_backlog(connection, store, screened[0], tenant_ids, waiting)


def make_tenants(database: Database) -> list[str]:
    """Return the ids of the tenants, the busiest first."""
    with database.transaction(tenant_id=None) as session:
        return [ensure_tenant(session, f"tenant-{number:02}") for number in range(TENANTS)]


def new_job(tenant_id: str, name: str, lane: Lane = Lane.STANDARD) -> NewJob:
    """Return a job for an object that nobody looks at."""
    ref = VideoRef("videos", f"videos/{name}.mp4", None, name, 400_000)
    return NewJob(tenant_id, ref, lane, deadline_s=_LONG_S)


def _add_backlog(
    connection: psycopg.Connection,
    store: SqlJobStore,
    screened: Screened,
    tenant_ids: Sequence[str],
    count: int,
) -> None:
    """Add jobs that wait, in lists of twenty, and some whose first shard is being screened."""
    queued = []
    for lane in Lane:
        batch = NewBatch(tenant_ids[0], "backlog", lane)
        queued += submit_batch(store, batch, [new_job(tenant_ids[0], f"wait-{lane}", lane)]).jobs
    running = submit_video(store, new_job(tenant_ids[0], "runs")).job_id
    prepare_claim = claim_shard(store, ShardKey(running, 0), OWNER, 60)
    fan_out(store, prepare_claim, screened.copy("runs").prepared, taker=TAKER)
    note_patterns(connection, [*(job.job_id for job in queued), running], 0.3, 0.7)
    end = datetime.now(UTC)
    for _ in Filler(connection).add(_draw_backlog(count, tenant_ids, len(queued), end)):
        pass
    connection.execute(
        "UPDATE batch SET state = 'running', end_time = NULL"
        " WHERE id IN (SELECT batch_id FROM job WHERE end_time IS NULL)"
    )
    connection.execute("UPDATE shard SET lease_until = now() + interval '1 year' WHERE state = 'leased'")
    connection.execute(
        "UPDATE shard SET lease_until = now() - interval '1 s' WHERE (job_id, index) IN"
        " (SELECT job_id, index FROM shard WHERE state = 'leased' LIMIT %s)",
        (_EXPIRED_LEASES,),
    )


def _draw_backlog(count: int, tenant_ids: Sequence[str], running: int, end: datetime) -> list[Fact]:
    patterns = Patterns((0, 1, 1, 2, 2, 2, 2), running, running, 0.3, 0.7)
    facts = list(draw_facts(count, tenant_ids, patterns, end))
    begin = end - timedelta(hours=2)
    live = list[Fact]()
    for number, (owner, group) in enumerate(itertools.groupby(sorted(facts, key=_owner), _owner)):
        del number, owner
        for place, fact in enumerate(group):
            if place % _LIVE_BATCH_JOBS == 0:
                batch_id = f"bat_{fact.base}"
            step = timedelta(hours=2) * (place / count)
            live.append(replace(fact, time=begin + step, level=None, batch_id=batch_id))
    return live


def _owner(fact: Fact) -> str:
    return fact.tenant_id
