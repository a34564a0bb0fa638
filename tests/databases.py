"""Databases for tests: each a copy of one that the migrations have made."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fakesieve.database import Database, open_database
from fakesieve.embedded.postgres import FLEET_ROLE, OWNER_ROLE, PostgresServer
from fakesieve.records.revision import migrate_database


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
    """A database as a role, by default the one that the fleet logs in with."""
    database = open_database(postgres.url(role, name), is_fleet=is_fleet)
    yield database
    database.close()


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
