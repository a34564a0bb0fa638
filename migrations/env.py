"""What Alembic runs: connects as the owner of the tables and migrates, one process at a time."""

import os

from alembic import context
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from fakesieve.records.registry import METADATA

OWNER_URL = "FAKESIEVE_OWNER_DATABASE_URL"
# Whoever waits for a lock stops all who come after it; better to fail and try again.
LOCK_TIMEOUT_MS = 4000
_ONE_AT_A_TIME = 7_317_220_541  # key of an advisory lock, any number that nobody else takes


def migrate_online(connection: Connection) -> None:
    """Run the steps, each in a transaction of its own."""
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ONE_AT_A_TIME})
    lock_timeout_ms = int(context.config.attributes.get("lock_timeout_ms", LOCK_TIMEOUT_MS))
    connection.execute(text(f"SET lock_timeout = {lock_timeout_ms}"))
    # Row-level security holds for the owner too; a step that moves rows must see those of all tenants.
    connection.execute(text("SET fakesieve.tenant_id = '*'"))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        transaction_per_migration=True,
        compare_server_default=True,
        include_name=_is_ours,
    )
    with context.begin_transaction():
        context.run_migrations()


def _is_ours(name: str | None, kind: str, parents: object) -> bool:
    """Leave out the partitions, which are made as time goes on."""
    del parents
    return not (kind == "table" and name is not None and name.startswith("frame_score_"))


def _connect() -> None:
    given = context.config.attributes.get("connection")
    if isinstance(given, Connection):
        migrate_online(given)
        return
    url = make_url(os.environ[OWNER_URL]).set(drivername="postgresql+psycopg")
    with create_engine(url, poolclass=NullPool).connect() as connection:
        migrate_online(connection)


if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql",
        target_metadata=METADATA,
        transaction_per_migration=True,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
        context.run_migrations()
else:
    _connect()
