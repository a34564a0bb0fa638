"""Fixtures of both job stores: one on a migrated database of the real server, one in memory."""

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from fakesieve.database import Database
from fakesieve.jobs.sql.store import SqlJobStore
from tests.fakes import MemoryJobStore
from tests.job_cases import JobCase

# Moving every time into the past is the same as waiting, and faster.
_TIMES = {
    "job": ("deadline", "create_time", "end_time"),
    "shard": ("lease_until", "create_time", "retry_time", "ring_time", "end_time"),
    "outbox": ("due_time", "create_time"),
    "worker_host": ("beat_time",),
    "batch": ("create_time", "end_time", "places_until"),
}
# In the order of their references; rows below them go with them. TRUNCATE takes ten times as long.
_EMPTIED = ("usage", "job", "batch", "video", "worker_host", "tenant")


@pytest.fixture
def job_database(module_database_of_fleet: Database, module_database_as_owner: Database) -> Database:
    """The database as the fleet sees it, without rows of an earlier test."""
    with module_database_as_owner.transaction(tenant_id=None) as session:
        for table in _EMPTIED:
            session.execute(text(f"DELETE FROM {table}"))
    return module_database_of_fleet


def make_sql_case(database: Database) -> JobCase:
    """A case on Postgres with two new tenants."""
    tenants = (f"ten_{uuid.uuid4().hex[:26]}", f"ten_{uuid.uuid4().hex[:26]}")
    with database.transaction(tenant_id=None) as session:
        for tenant_id in tenants:
            session.execute(text("INSERT INTO tenant (id, name) VALUES (:id, :id)"), {"id": tenant_id})

    def pass_time(span_s: float) -> None:
        with database.transaction(tenant_id=None) as session:
            for table, columns in _TIMES.items():
                moved = ", ".join(f"{name} = {name} - make_interval(secs => :s)" for name in columns)
                session.execute(text(f"UPDATE {table} SET {moved}"), {"s": span_s})

    def list_places(video_id: str) -> list[tuple[str, str | None]]:
        query = text("SELECT key, etag FROM source WHERE video_id = :id ORDER BY key, etag")
        with database.transaction(tenant_id=None) as session:
            return [(row.key, row.etag) for row in session.execute(query, {"id": video_id})]

    return JobCase(SqlJobStore(database), tenants, pass_time, list_places)


def take_back_time(database: Database, span_s: float) -> None:
    """Undo that time has passed, for everything in the database. What has come to pass stays so."""
    with database.transaction(tenant_id=None) as session:
        for table, columns in _TIMES.items():
            back = "{0} = CASE WHEN {0} <= now() THEN least({0} + m.span, now()) ELSE {0} + m.span END"
            moved = ", ".join(back.format(name) for name in columns)
            span = "(SELECT make_interval(secs => :s) AS span) AS m"
            session.execute(text(f"UPDATE {table} SET {moved} FROM {span}"), {"s": span_s})


def make_memory_case() -> JobCase:
    """A case in memory."""
    now = [1_000_000.0]

    def pass_time(span_s: float) -> None:
        now[0] += span_s

    store = MemoryJobStore(lambda: now[0])

    def list_places(video_id: str) -> list[tuple[str, str | None]]:
        own = [place for place, seen in store.sources.items() if seen == video_id]
        return sorted((str(key), etag) for _, _, key, _, etag in own)

    return JobCase(store, ("ten_a", "ten_b"), pass_time, list_places)


@pytest.fixture(params=["memory", "postgres"])
def case(request: pytest.FixtureRequest) -> Iterator[JobCase]:
    """Each of the two stores in turn."""
    if request.param == "memory":
        yield make_memory_case()
    else:
        yield make_sql_case(request.getfixturevalue("job_database"))
