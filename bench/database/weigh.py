"""What tables and indexes weigh, and how fast the real functions write."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import psycopg

from bench.database.facts import new_base
from bench.database.prepare import new_job
from bench.database.templates import Runner, Screened, Steps
from fakesieve.database import Database
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.records.analyses import store_analysis
from fakesieve.records.videos import upsert_video


@dataclass(frozen=True)
class TableSize:
    """One table with its partitions. Bytes of the heap and what is kept beside it, and of all its indexes."""

    name: str
    rows: int
    table_bytes: int
    index_bytes: int
    indexes: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class WriteRate:
    """How much was written by so many writers at once."""

    name: str
    writers: int
    count: int
    seconds: float
    rows: int

    @property
    def per_second(self) -> float:
        """Analyses or jobs a second."""
        return self.count / self.seconds


def read_sizes(connection: psycopg.Connection) -> list[TableSize]:
    """Return the tables that have rows, the largest first."""
    parts = connection.execute(
        "SELECT coalesce(i.inhparent, c.oid)::regclass::text AS name, sum(greatest(c.reltuples, 0))::bigint,"
        " sum(pg_table_size(c.oid))::bigint, sum(pg_indexes_size(c.oid))::bigint"
        " FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid"
        " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace GROUP BY 1 ORDER BY 3 DESC"
    ).fetchall()
    indexes = connection.execute(
        "SELECT coalesce(t.inhparent, x.indrelid)::regclass::text,"
        " coalesce(p.inhparent, x.indexrelid)::regclass::text,"
        " sum(pg_relation_size(x.indexrelid))::bigint FROM pg_index x"
        " JOIN pg_class c ON c.oid = x.indexrelid AND c.relkind = 'i'"
        " LEFT JOIN pg_inherits t ON t.inhrelid = x.indrelid"
        " LEFT JOIN pg_inherits p ON p.inhrelid = x.indexrelid"
        " WHERE c.relnamespace = 'public'::regnamespace GROUP BY 1, 2 ORDER BY 3 DESC"
    ).fetchall()
    return [
        TableSize(
            name, rows, table, index, tuple((each, size) for owner, each, size in indexes if owner == name)
        )
        for name, rows, table, index in parts
        if rows > 0
    ]


def read_kept_bytes(connection: psycopg.Connection) -> float:
    """Return the mean size of the evidence in the row of a shard that has some: not that of an only one."""
    found = connection.execute(
        "SELECT avg(octet_length(evidence)) FROM shard WHERE evidence IS NOT NULL"
    ).fetchone()
    return float(found[0]) if found and found[0] is not None else 0.0


def measure_evidence(screened: Sequence[Screened]) -> float:
    """Return the mean size of the evidence of a shard."""
    return fmean(len(each.result.to_bytes()) for each in screened)


def count_rows(screened: Screened) -> int:
    """Return how many rows one analysis is: itself, its verdict, tracks, faces in frames, spans and maps."""
    record = screened.score("ten", "vid", [screened.result])
    frames = sum(len(track.frames) for track in record.score.tracks)
    return 2 + len(record.score.tracks) + frames + len(record.score.segments) + len(record.maps)


def write_analyses(
    database: Database, screened: Sequence[Screened], tenant_id: str, writers: int, seconds: float
) -> WriteRate:
    """Store analyses one to a transaction, as the end of a job does, from some threads at once."""
    rows = [count_rows(each) for each in screened]
    written = [0] * writers
    total = [0] * writers
    end = time.perf_counter() + seconds

    def write(place: int) -> None:
        while time.perf_counter() < end:
            number = written[place] % len(screened)
            each = screened[number].copy(new_base())
            with database.transaction(tenant_id=tenant_id) as session:
                video_id = upsert_video(
                    session,
                    tenant_id=tenant_id,
                    sha256=each.prepared.sha256,
                    size_bytes=each.prepared.size_bytes,
                    media=each.prepared.media,
                )
                store_analysis(session, each.score(tenant_id, video_id, [each.result]))
            written[place] += 1
            total[place] += rows[number]

    spent = run_threads(write, writers)
    return WriteRate("store_analysis", writers, sum(written), spent, sum(total))


def run_jobs(
    database: Database, screened: Sequence[Screened], tenant_id: str, writers: int, seconds: float
) -> tuple[WriteRate, Steps]:
    """Take jobs from submission to end, with everything but pixels and messages, and time each step."""
    steps, done = Steps(), [0] * writers
    end = time.perf_counter() + seconds

    def work(place: int) -> None:
        runner = Runner(SqlJobStore(database), steps if place == 0 else Steps())
        while time.perf_counter() < end:
            base = new_base()
            runner.run(screened[done[place] % len(screened)].copy(base), new_job(tenant_id, base))
            done[place] += 1

    spent = run_threads(work, writers)
    return WriteRate("whole job", writers, sum(done), spent, 0), steps


def run_threads(work: Callable[[int], None], count: int) -> float:
    """Run ``work(place)`` in threads and return the seconds that all of them took."""
    threads = [threading.Thread(target=work, args=(place,)) for place in range(count)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun
