"""What commands over a fleet work with: its database, its objects, and whose rows they are."""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fakesieve.database import Database, open_database
from fakesieve.errors import RequestRefused, SetupRefused
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.object_stores.select import PROMPT, open_objects
from fakesieve.objects import ObjectStore
from fakesieve.reasons import Reason
from fakesieve.records.revision import check_revision
from fakesieve.records.tenants import Tenant, find_caller
from fakesieve.settings import Settings, read_settings


@dataclass(frozen=True)
class Place:
    """A fleet as one tenant sees it."""

    settings: Settings
    database: Database
    tenant_id: str

    @property
    def store(self) -> SqlJobStore:
        """The jobs of the tenant."""
        return SqlJobStore(self.database, self.tenant_id)

    def begin(self) -> AbstractContextManager[Session]:
        """Begin a transaction on the rows of the tenant, which the block commits."""
        return self.database.transaction(tenant_id=self.tenant_id)

    def open_objects(self) -> ObjectStore:
        """Return the object store; nothing is connected to yet."""
        return open_objects(self.settings, retry=PROMPT)


@contextmanager
def open_place() -> Generator[Place]:
    """Open what the environment names, and close it after the block.

    Raises SetupRefused where variables are missing or the key is none, Unavailable without a database.
    """
    settings = read_settings()
    database = open_database(settings.database_url.get_secret_value(), connections_max=2)
    try:
        yield Place(settings, database, _find_tenant(database, settings))
    finally:
        database.close()


@contextmanager
def open_all_tenants() -> Generator[Database]:
    """Open the database of the environment for whoever runs the fleet, and close it after the block.

    Raises SetupRefused where variables are missing or the database lacks migrations, Unavailable
    without one.
    """
    database = open_database(read_settings().database_url.get_secret_value(), connections_max=1)
    try:
        check_revision(database)
        yield database
    finally:
        database.close()


def _find_tenant(database: Database, settings: Settings) -> str:
    with database.transaction(tenant_id=None) as session:
        if settings.api_key is None:
            first = session.scalar(select(Tenant.id).order_by(Tenant.id).limit(1))
            if first is not None:
                return first
            raise SetupRefused(
                Reason.INVALID_SETTINGS,
                "FAKESIEVE_API_KEY is not set and the database has no tenant",
                "load the environment of a fleet: source D/env, as 'fakesieve up' has printed",
            )
        caller = find_caller(session, settings.api_key.get_secret_value())
    if caller is None:
        raise SetupRefused(
            Reason.UNAUTHENTICATED,
            "FAKESIEVE_API_KEY is unknown, revoked or expired",
            "load the environment of a fleet again: source D/env; or ask for a new key",
        )
    return caller.tenant_id


def not_found(what: str, name: str) -> RequestRefused:
    """The error for an id that the tenant does not have."""
    return RequestRefused(Reason.NOT_FOUND, f"there is no {what} {name}")
