"""``fakesieve keys``: make and revoke the keys with which tenants act."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from fakesieve.cli.place import not_found, print_json
from fakesieve.database import Database, open_database
from fakesieve.records.revision import check_revision
from fakesieve.records.tenants import create_key, ensure_tenant, revoke_key
from fakesieve.settings import read_settings

SCOPES = ("jobs:write", "results:read")

keys = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="Make and revoke the keys of tenants."
)


@keys.command()
def create(
    *,
    tenant: Annotated[str, typer.Option(help="Whose key it is; a tenant of this name is made if need be.")],
    name: Annotated[str, typer.Option(help="What the key is for, to tell it from others.")] = "command line",
    days: Annotated[
        int | None, typer.Option(min=1, help="Days until it expires; absent is never.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the id beside the key, as JSON.")] = False,
) -> None:
    """Print a new key, which is shown this once: the database keeps its hash."""
    expire_time = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with _open_fleet() as database, database.transaction(tenant_id=None) as session:
        owner = ensure_tenant(session, tenant)
        made = create_key(session, owner, name, frozenset(SCOPES), expire_time)
    if as_json:
        print_json({"id": made.id, "tenant": owner, "key": made.secret})
    else:
        typer.echo(made.secret)


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as create --json has printed it.")],
) -> None:
    """End a key at once."""
    with _open_fleet() as database, database.transaction(tenant_id=None) as session:
        if not revoke_key(session, key_id):
            raise not_found("key in force", key_id)
    typer.echo(f"{key_id} is revoked")


@contextmanager
def _open_fleet() -> Generator[Database]:
    """Open the database of the environment for all tenants, and close it after the block."""
    database = open_database(read_settings().database_url.get_secret_value(), connections_max=1)
    try:
        check_revision(database)
        yield database
    finally:
        database.close()
