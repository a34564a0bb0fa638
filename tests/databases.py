"""Databases for tests: each a copy of one that the migrations have made."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import event

from fakesieve.database import Database, open_database
from fakesieve.embedded.postgres import FLEET_ROLE, OWNER_ROLE, PostgresServer
from fakesieve.records.revision import migrate_database
from tests.waiting import PATIENCE_S


@contextmanager
def fresh_name(postgres: PostgresServer, template: str = "template0") -> Iterator[str]:
    """Name of a database that is removed at the end. It takes 35 ms."""
    name = f"test_{secrets.token_hex(6)}"
    postgres.make_database(name, template=template)
    yield name
    postgres.drop_database(name)


@contextmanager
def opened(
    postgres: PostgresServer, name: str, role: str = FLEET_ROLE, *, is_fleet: bool = False
) -> Iterator[Database]:
    """A database as a role, by default the one that the fleet logs in with.

    A run makes thousands of connections, on a machine that may stand still for longer than a fleet waits for
    one. Processes that tests start wait as they always do.
    """
    database = open_database(postgres.url(role, name), connect_s=round(PATIENCE_S), is_fleet=is_fleet)
    yield database
    database.close()


def wait_long_for_locks(database: Database) -> None:
    """Have all connections, those in the pool too, wait for locks however long their holders stand still.

    For tests in which somebody waits for a lock until it is let go: after the usual five seconds they fail.
    """
    event.listen(database.pool, "connect", _lift_lock_timeout)
    database.pool.dispose()  # what is open already is not told; it is made anew


def _lift_lock_timeout(connection: psycopg.Connection, record: object) -> None:
    del record
    connection.execute("SET lock_timeout = 0")
    connection.commit()


@pytest.fixture(scope="session")
def migrated_database(postgres: PostgresServer) -> str:
    """Name of a database as the migrations make it, to be copied: nothing may be written into it."""
    name = "migrated"
    postgres.make_database(name)
    migrate_database(postgres.url(OWNER_ROLE, name))
    return name


@pytest.fixture
def database_name(postgres: PostgresServer, migrated_database: str) -> Iterator[str]:
    """Name of a database of this test alone: all tables, no rows."""
    with fresh_name(postgres, migrated_database) as name:
        yield name


@pytest.fixture
def database(postgres: PostgresServer, database_name: str) -> Iterator[Database]:
    """The database of this test."""
    with opened(postgres, database_name) as found:
        yield found


@pytest.fixture(scope="module")
def module_database_name(postgres: PostgresServer, migrated_database: str) -> Iterator[str]:
    """Name of a database of this module: its tests leave behind what they found, or rows in it."""
    with fresh_name(postgres, migrated_database) as name:
        yield name


@pytest.fixture(scope="module")
def module_database(postgres: PostgresServer, module_database_name: str) -> Iterator[Database]:
    """The database of this module."""
    with opened(postgres, module_database_name) as found:
        yield found


@pytest.fixture(scope="module")
def module_database_of_fleet(postgres: PostgresServer, module_database_name: str) -> Iterator[Database]:
    """The database of this module, opened as a process of the fleet opens it."""
    with opened(postgres, module_database_name, is_fleet=True) as found:
        yield found


@pytest.fixture(scope="module")
def module_database_as_owner(postgres: PostgresServer, module_database_name: str) -> Iterator[Database]:
    """The database of this module, as the role that owns the tables."""
    with opened(postgres, module_database_name, OWNER_ROLE) as found:
        yield found
