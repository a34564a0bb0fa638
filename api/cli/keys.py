"""``fakesieve keys`` over the API: keys of the caller's own tenant."""

import typer

from api.cli.connect import open_client
from api.cli.shown import show_answers
from api.schemas.keys import KeyOut
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
from fakesieve.cli.lists import AsCsv, AsJson, Columns, read_form
from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason
from fakesieve.scopes import Scope

keys = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Make, list, rotate and revoke keys of your tenant.",
)


@keys.command()
def create(
    *,
    name: NameOption = NAME,
    scope: ScopeOption = None,
    days: DaysOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a new key, which is shown this once. It has only rights that the key in use has."""
    scopes = [Scope(each) for each in sorted(choose_scopes(scope))]
    with open_client() as client:
        made = client.keys.create(name, scopes, choose_end(days))
        _print_new(made, client.whoami().tenant_id, as_json=as_json)


@keys.command("list")
def list_(*, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Print the keys of your tenant, newest first, without their secrets."""
    form = read_form(as_json=as_json, as_csv=as_csv)
    with open_client() as client:
        show_answers(client.keys.iter(), _COLUMNS, form)


@keys.command()
def rotate(
    key_id: KeyId,
    *,
    overlap_h: OverlapOption = OVERLAP_H,
    as_json: JsonOption = False,
) -> None:
    """Print a new key with the scopes of another one, which ends after the overlap."""
    with open_client() as client:
        made = client.keys.rotate(key_id, round(overlap_h * 3600))
        _print_new(made, client.whoami().tenant_id, as_json=as_json)


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
    print_key(made.id, tenant_id, made.secret, as_json=as_json)


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
