"""``fakesieve keys`` over the API: keys of the caller's own tenant."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from api.cli.connect import open_client
from api.cli.shown import AsCsv, AsJson, Columns, read_form, show_list
from api.schemas.keys import KeyOut
from fakesieve.cli.printing import print_json
from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason
from fakesieve.scopes import DEFAULT_SCOPES, Scope, read_scopes

keys = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Make, list, rotate and revoke keys of your tenant.",
)
KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, with the id beside the key.")]


@keys.command()
def create(
    *,
    name: Annotated[str, typer.Option(help="What the key is for, to tell it from others.")] = "command line",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="A right, may be repeated; 'all' for every one. Default: jobs and results."),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="Days until it expires; absent is never.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print a new key, which is shown this once. It has only rights that the key in use has."""
    try:
        scopes = [Scope(each) for each in sorted(read_scopes(scope or sorted(DEFAULT_SCOPES)))]
    except ValueError as fault:
        raise typer.BadParameter(str(fault)) from fault
    expire_time = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with open_client() as client:
        tenant_id = client.whoami().tenant_id
        _print_new(client.keys.create(name, scopes, expire_time), tenant_id, as_json=as_json)


@keys.command("list")
def list_(*, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Print the keys of your tenant, newest first, without their secrets."""
    form = read_form(as_json=as_json, as_csv=as_csv)
    with open_client() as client:
        show_list(client.keys.iter(), _COLUMNS, form)


@keys.command()
def rotate(
    key_id: KeyId,
    *,
    overlap_h: Annotated[
        float, typer.Option(min=0, help="Hours in which the old key still works beside the new one.")
    ] = 24.0,
    as_json: JsonOption = False,
) -> None:
    """Print a new key with the scopes of another one, which ends after the overlap."""
    with open_client() as client:
        tenant_id = client.whoami().tenant_id
        _print_new(client.keys.rotate(key_id, round(overlap_h * 3600)), tenant_id, as_json=as_json)


@keys.command()
def revoke(key_id: KeyId) -> None:
    """End a key at once."""
    with open_client() as client:
        client.keys.revoke(key_id)
    typer.echo(f"{key_id} is revoked")


def _print_new(made: KeyOut, tenant_id: str, *, as_json: bool) -> None:
    """Print a key. Raises Unavailable where the answer got lost: a secret is told once and never again."""
    if made.secret is None:
        seen = f"{made.id} was made, and its secret got lost on the way"
        raise Unavailable(Reason.INTERNAL, seen, f"fakesieve keys rotate {made.id} --overlap-h 0")
    if as_json:
        print_json({"id": made.id, "tenant": tenant_id, "key": made.secret})
    else:
        typer.echo(made.secret)


def _tell_state(key: KeyOut) -> str:
    if key.revoke_time is not None:
        return "revoked"
    return "active" if key.is_active else "expired"


_COLUMNS: Columns[KeyOut] = {
    "key": lambda each: each.id,
    "shown": lambda each: f"{each.shown}...",
    "state": _tell_state,
    "until": lambda each: each.expire_time,
    "name": lambda each: each.name,
    "scopes": lambda each: " ".join(each.scopes),
}
