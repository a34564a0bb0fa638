"""``fakesieve keys``: make, list, rotate and revoke the keys of tenants, and say what tenants may name."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from fakesieve.cli.key_options import (
    NAME,
    OVERLAP_H,
    DaysOption,
    JsonOption,
    KeyId,
    NameOption,
    OverlapOption,
    ScopeOption,
    choose_end,
    choose_scopes,
    print_key,
)
from fakesieve.cli.place import not_found
from fakesieve.cli.printing import Json, print_json
from fakesieve.database import Database, open_database
from fakesieve.records.revision import check_revision
from fakesieve.records.tenants import (
    ApiKey,
    add_places,
    create_key,
    ensure_tenant,
    list_keys,
    revoke_key,
    rotate_key,
)
from fakesieve.settings import read_settings

_LISTED_MAX = 1000

keys = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Make, list, rotate and revoke keys of tenants.",
)


@keys.command()
def create(
    *,
    tenant: Annotated[str, typer.Option(help="Whose key it is; a tenant of this name is made if need be.")],
    name: NameOption = NAME,
    scope: ScopeOption = None,
    place: Annotated[
        list[str] | None,
        typer.Option(help="s3://BUCKET/FOLDER/ whose objects the tenant may name over the API; is kept."),
    ] = None,
    days: DaysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a new key, which is shown this once: the database keeps its hash."""
    scopes = choose_scopes(scope)
    with _open_fleet() as database, database.transaction(tenant_id=None) as session:
        owner = ensure_tenant(session, tenant)
        try:
            add_places(session, owner, place or [])
        except ValueError as fault:
            raise typer.BadParameter(str(fault)) from fault
        made = create_key(session, owner, name, scopes, choose_end(days))
    print_key(made.id, owner, made.secret, as_json=as_json)


@keys.command(name="list")
def list_(
    *,
    tenant: Annotated[str, typer.Option(help="Whose keys.")],
    as_json: JsonOption = False,
) -> None:
    """Print the keys of a tenant, newest first, without their secrets."""
    with _open_fleet() as database:
        with database.transaction(tenant_id=None) as session:
            owner = ensure_tenant(session, tenant)
        with database.transaction(tenant_id=owner) as session:
            rows = list_keys(session, None, _LISTED_MAX)
    for row in rows:
        if as_json:
            print_json(_describe(row))
        else:
            typer.echo(f"{row.id}  {row.shown}...  {_tell_state(row)}  {row.name}  {' '.join(row.scopes)}")


@keys.command()
def rotate(
    key_id: KeyId,
    *,
    overlap_h: OverlapOption = OVERLAP_H,
    as_json: JsonOption = False,
) -> None:
    """Print a new key with the scopes of another one, which ends after the overlap."""
    with _open_fleet() as database, database.transaction(tenant_id=None) as session:
        made = rotate_key(session, key_id, timedelta(hours=overlap_h))
        if made is None:
            raise not_found("key in force", key_id)
        row = session.get_one(ApiKey, made.id)
    print_key(made.id, row.tenant_id, made.secret, as_json=as_json)


@keys.command()
def revoke(key_id: KeyId) -> None:
    """End a key at once."""
    with _open_fleet() as database, database.transaction(tenant_id=None) as session:
        if not revoke_key(session, key_id):
            raise not_found("key in force", key_id)
    typer.echo(f"{key_id} is revoked")


def _tell_state(row: ApiKey) -> str:
    if row.revoke_time is not None:
        return "revoked"
    if row.expire_time is None:
        return "active"
    return "expired" if row.expire_time <= datetime.now(UTC) else f"until {row.expire_time:%Y-%m-%d %H:%M}Z"


def _describe(row: ApiKey) -> dict[str, Json]:
    return {
        "id": row.id,
        "shown": row.shown,
        "name": row.name,
        "state": _tell_state(row),
        "scopes": list(row.scopes),
        "next_key_id": row.next_key_id,
    }


@contextmanager
def _open_fleet() -> Generator[Database]:
    """Open the database of the environment for all tenants, and close it after the block."""
    database = open_database(read_settings().database_url.get_secret_value(), connections_max=1)
    try:
        check_revision(database)
        yield database
    finally:
        database.close()
