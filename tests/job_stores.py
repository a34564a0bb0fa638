"""Fixtures of both job stores: one on a migrated database of the real server, one in memory."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from fakesieve.database import Database, open_database
from fakesieve.embedded.postgres import OWNER_ROLE, PostgresServer
from fakesieve.jobs.sql.store import SqlJobStore
from tests.fakes import MemoryJobStore
from tests.job_cases import JobCase
from tests.servers import postgres, servers_folder  # noqa: F401 - fixtures

# Moving every time into the past is the same as waiting, and faster.
_TIMES = {
    "job": ("deadline", "create_time", "end_time"),
    "shard": ("lease_until", "retry_time", "ring_time"),
    "outbox": ("due_time", "create_time"),
    "worker_host": ("beat_time",),
    "batch": ("end_time",),
}


def _owner(url: str) -> Engine:
    return create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)


@pytest.fixture(scope="session")
def job_database_url(postgres: PostgresServer) -> Iterator[tuple[str, str]]:  # noqa: F811 - a fixture
    """Addresses of a migrated database, for the fleet and for the owner of the tables."""
    name = "jobs"
    postgres.make_database(name)
    owner_url = postgres.url(OWNER_ROLE, name)
    config = Config(toml_file=str(Path(__file__).parents[1] / "pyproject.toml"))
    with _owner(owner_url).connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    yield postgres.url(database=name), owner_url
    postgres.drop_database(name)


@pytest.fixture
def job_database(job_database_url: tuple[str, str]) -> Iterator[Database]:
    """The database as the fleet sees it, without rows of an earlier test."""
    url, owner_url = job_database_url
    with _owner(owner_url).begin() as connection:
        connection.execute(text("TRUNCATE tenant, batch, job, worker_host, usage CASCADE"))
    database = open_database(url)
    yield database
    database.close()


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

    return JobCase(SqlJobStore(database), tenants, pass_time)


def make_memory_case() -> JobCase:
    """A case in memory."""
    now = [1_000_000.0]

    def pass_time(span_s: float) -> None:
        now[0] += span_s

    return JobCase(MemoryJobStore(lambda: now[0]), ("ten_a", "ten_b"), pass_time)


@pytest.fixture(params=["memory", "postgres"])
def case(request: pytest.FixtureRequest) -> Iterator[JobCase]:
    """Each of the two stores in turn."""
    if request.param == "memory":
        yield make_memory_case()
    else:
        yield make_sql_case(request.getfixturevalue("job_database"))
