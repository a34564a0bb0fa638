"""What ``fakesieve keys`` takes and prints, over the database and over the API alike."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from fakesieve.cli.printing import print_json
from fakesieve.scopes import DEFAULT_SCOPES, read_scopes
from fakesieve.values.keys import OVERLAP_S, OVERLAP_S_MAX

_OVERLAP_H_MAX = OVERLAP_S_MAX / 3600
KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="As create --json and list print it.")]
NameOption = Annotated[str, typer.Option(help="What the key is for, to tell it from others.")]
ScopeOption = Annotated[
    list[str] | None,
    typer.Option(help="A right, may be repeated; 'all' for every one. Default: jobs and results."),
]
DaysOption = Annotated[
    int | None, typer.Option(min=1, help="Days until it expires; absent is never.", show_default=False)
]
OverlapOption = Annotated[
    float,
    typer.Option(
        min=0, max=_OVERLAP_H_MAX, help="Hours in which the old key still works beside the new one."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, with the id beside the key.")]
NAME, OVERLAP_H = "command line", OVERLAP_S / 3600


def choose_scopes(given: Sequence[str] | None) -> frozenset[str]:
    """Return the rights of a new key. Raises typer.BadParameter for one that is none."""
    try:
        return read_scopes(given) if given else DEFAULT_SCOPES
    except ValueError as fault:
        raise typer.BadParameter(str(fault)) from fault


def choose_end(days: int | None) -> datetime | None:
    """Return when a new key expires; None is never."""
    return None if days is None else datetime.now(UTC) + timedelta(days=days)


def print_key(key_id: str, tenant_id: str, secret: str, *, as_json: bool) -> None:
    """Print a key that was just made: its secret is told this once."""
    if as_json:
        print_json({"id": key_id, "tenant": tenant_id, "key": secret})
    else:
        typer.echo(secret)
