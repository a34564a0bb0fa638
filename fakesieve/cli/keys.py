"""``fakesieve keys``: make, list, rotate and revoke the keys of tenants, and say what tenants may name."""

from datetime import UTC, datetime
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
from fakesieve.cli.place import open_all_tenants
from fakesieve.cli.printing import Json, print_json
from fakesieve.key_changes import KeyDraft, create_tenant_key, end_key, find_key, renew_key
from fakesieve.people.accounts import find_tenant
from fakesieve.records.tenants import ApiKey, add_places, ensure_tenant, list_keys
from fakesieve.scopes import Scope

_LISTED_MAX = 1000
_ACTOR = "command"

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
    with open_all_tenants() as database, database.transaction(tenant_id=None) as session:
        owner = ensure_tenant(session, tenant)
        try:
            add_places(session, owner, place or [])
            draft = KeyDraft(name, frozenset(map(Scope, scopes)), choose_end(days))
        except ValueError as fault:
            raise typer.BadParameter(str(fault)) from fault
        made = create_tenant_key(session, owner, draft, actor=_ACTOR)
    print_key(made.id, owner, made.secret, as_json=as_json)


@keys.command(name="list")
def list_(
    *,
    tenant: Annotated[str, typer.Option(help="Whose keys.")],
    as_json: JsonOption = False,
) -> None:
    """Print the keys of a tenant, newest first, without their secrets."""
    with open_all_tenants() as database:
        with database.transaction(tenant_id=None) as session:
            owner = find_tenant(session, tenant)
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
    with open_all_tenants() as database, database.transaction(tenant_id=None) as session:
        owner = find_key(session, key_id).tenant_id
        made = renew_key(session, owner, key_id, actor=_ACTOR, overlap_s=round(overlap_h * 3600))
    print_key(made.id, owner, made.secret, as_json=as_json)


@keys.command()
def revoke(key_id: KeyId) -> None:
    """End a key at once."""
    with open_all_tenants() as database, database.transaction(tenant_id=None) as session:
        end_key(session, find_key(session, key_id).tenant_id, key_id, actor=_ACTOR)
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
