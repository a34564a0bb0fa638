"""Which revision a database has, which one this release needs, and how it gets there."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from fakesieve.database import CONNECT_S, Database, parse_url, translate_errors
from fakesieve.errors import RequestRefused, SetupRefused
from fakesieve.reasons import Reason
from fakesieve.records.partitions import make_partitions

HEAD = "head"
_MISSING_RIGHT, _MISSING_ROLE, _NOT_BACK = "42501", "42704", "55000"


@dataclass(frozen=True)
class Migrated:
    """What a migration did. A revision is None where the database was, or is now, empty."""

    before: str | None
    after: str | None


def check_revision(database: Database) -> None:
    """Raise SetupRefused where the database lacks migrations that this release needs.

    A revision that this release does not know is a newer one, beside which this release still runs: from
    0021 on ``tools/check_migrations.py`` refuses a step that takes what the release before it needs. Of those
    before, 0004, 0006, 0009 and 0015 do, and need the processes of older releases to be ended first.
    """
    revisions = list_revisions()
    with database.transaction(tenant_id=None) as session:
        # Asked for by name, as a look at a table that is missing would undo the transaction.
        is_empty = session.scalar(text("SELECT to_regclass('alembic_version') IS NULL"))
        found = None if is_empty else session.scalar(text("SELECT version_num FROM alembic_version"))
    if found is None or found in revisions[:-1]:
        seen = f"the database is at revision {found or 'none'}, this release needs {revisions[-1]}"
        raise SetupRefused(Reason.MIGRATIONS_BEHIND, seen)


def plan_migration(url: str, target: str = HEAD) -> Migrated:
    """Return what ``migrate_database`` would do, and do nothing. Raises as it does."""
    with _connect(url) as connection:
        before = _find_revision(connection)
    _is_back(before, target)  # refuses what cannot be
    after = {HEAD: list_revisions()[-1], "base": None}.get(target, target)
    return Migrated(before, after)


def list_revisions() -> list[str]:
    """Return the revisions that this release knows, oldest first."""
    return [script.revision for script in _read_scripts().walk_revisions()][::-1]


def migrate_database(url: str, target: str = HEAD, *, lock_timeout_ms: int = 4000) -> Migrated:
    """Bring a database to a revision, forward or back, and make partitions for a year.

    Args:
        url: of the role that owns the tables.
        target: a revision, ``head`` for the newest or ``base`` for an empty database.
        lock_timeout_ms: how long to wait for a table that others use; whoever comes after waits behind us.

    Raises:
        RequestRefused: this release knows no such revision.
        SetupRefused: the role may not alter tables, the role of the fleet is missing on the server, or the
            way back would bring deleted videos to light.
        Unavailable: no answer, or others kept a table locked for too long; it may be tried again.
    """
    with _connect(url) as connection:
        before = _find_revision(connection)
        config = _configure(connection, lock_timeout_ms)
        is_back = _is_back(before, target)
        (command.downgrade if is_back else command.upgrade)(config, target)
        after = _find_revision(connection)
        if after == list_revisions()[-1]:
            with Session(connection) as session:
                make_partitions(session)
                session.commit()
    return Migrated(before, after)


def _is_back(before: str | None, target: str) -> bool:
    """Return whether the target lies before the present revision."""
    order = [None, *list_revisions()]
    place = {HEAD: len(order) - 1, "base": 0}.get(target)
    if place is None:
        if target not in order:
            raise RequestRefused(
                Reason.INVALID_REQUEST, f"no revision {target!r}", f"known: {', '.join(list_revisions())}"
            )
        place = order.index(target)
    # An unknown revision is a newer one, and the way back from it is known to the newer release alone.
    if before not in order:
        raise RequestRefused(
            Reason.INVALID_REQUEST,
            f"the database is at revision {before}, which this release does not know",
            "migrate with the release that made it",
        )
    return place < order.index(before)


@contextmanager
def _connect(url: str) -> Generator[Connection]:
    pool = create_engine(parse_url(url), poolclass=NullPool, connect_args={"connect_timeout": CONNECT_S})
    try:
        with translate_errors(), pool.connect() as connection:
            yield connection
    except DBAPIError as error:
        code = getattr(error.orig, "sqlstate", None)
        if code == _MISSING_RIGHT:
            hint = "use the URL of the role that owns the database: --database-url"
        elif code == _NOT_BACK:
            hint = "let the purge of deleted videos end and lift the holds first, or stay at this release"
        elif code == _MISSING_ROLE:
            hint = "create the roles fakesieve_fleet and fakesieve_app: CREATE ROLE ... LOGIN PASSWORD ..."
        else:
            raise
        raise SetupRefused(Reason.MIGRATIONS_BEHIND, str(error.orig).splitlines()[0], hint) from error


def _find_revision(connection: Connection) -> str | None:
    found = MigrationContext.configure(connection).get_current_revision()
    connection.commit()
    return found


def _read_scripts() -> ScriptDirectory:
    return ScriptDirectory(_find_folder())


def _find_folder() -> str:
    spec = find_spec("migrations")  # a folder of scripts; it is found, not imported
    if spec is None or not spec.submodule_search_locations:
        raise SetupRefused(Reason.INTERNAL, "the migrations are not installed", "install fakesieve again")
    return spec.submodule_search_locations[0]


def _configure(connection: Connection, lock_timeout_ms: int) -> Config:
    config = Config()
    config.set_main_option("script_location", _find_folder().replace("%", "%%"))
    config.attributes.update(connection=connection, lock_timeout_ms=lock_timeout_ms)
    return config
