"""``fakesieve users``: the people who sign in to the pages of a tenant."""

import sys
from typing import Annotated

import typer

from fakesieve.cli.place import open_all_tenants
from fakesieve.cli.printing import print_json
from fakesieve.errors import RequestRefused
from fakesieve.people.accounts import (
    change_password,
    change_role,
    create_user,
    disable_user,
    find_tenant,
    find_user,
    list_users,
)
from fakesieve.reasons import Reason
from fakesieve.records.tenants import ensure_tenant
from fakesieve.values.people import UserRole

_ACTOR = "command"

users = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="Make, list and close the accounts of people."
)
_TENANT = Annotated[str, typer.Option(help="Name of the organisation; one of this name is made if need be.")]
_KNOWN = Annotated[str, typer.Option("--tenant", help="Name of the organisation.")]
_EMAIL = Annotated[str, typer.Argument(help="The person's address of e-mail.")]


@users.command()
def create(
    email: _EMAIL,
    *,
    tenant: _TENANT,
    name: Annotated[str, typer.Option(help="How the person is called.")],
    role: Annotated[UserRole, typer.Option(help="What they may do.")] = UserRole.REVIEWER,
    by_provider: Annotated[
        bool, typer.Option("--by-provider", help="No password: they sign in at the identity provider.")
    ] = False,
) -> None:
    """Make an account. The password is asked for, or read from standard input where that is no terminal."""
    password = None if by_provider else _read_password()
    with open_all_tenants() as database, database.transaction(tenant_id=None) as session:
        owner = ensure_tenant(session, tenant)
        made = create_user(session, owner, email=email, name=name, role=role, password=password, actor=_ACTOR)
    typer.echo(made)


@users.command()
def ls(
    *,
    tenant: _KNOWN,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the accounts of an organisation."""
    with open_all_tenants() as database, database.transaction(tenant_id=None) as session:
        people = list_users(session, find_tenant(session, tenant))
    for person in people:
        state = "disabled" if person.is_disabled else "active"
        if as_json:
            print_json({"id": person.id, "email": person.email, "role": person.role, "state": state})
        else:
            typer.echo(f"{person.email}  {person.role}  {state}  {person.id}")


@users.command()
def disable(email: _EMAIL, *, tenant: _KNOWN) -> None:
    """Close an account and end its sessions. A new password opens it again."""
    with open_all_tenants() as database, database.transaction(tenant_id=None) as session:
        disable_user(session, find_tenant(session, tenant), email, actor=_ACTOR)
    typer.echo(f"{email} is disabled")


@users.command()
def password(email: _EMAIL, *, tenant: _KNOWN) -> None:
    """Give an account another password and end its sessions."""
    chosen = _read_password()
    with open_all_tenants() as database, database.transaction(tenant_id=None) as session:
        change_password(session, find_tenant(session, tenant), email, chosen, actor=_ACTOR)
    typer.echo(f"{email} has a new password")


@users.command()
def role(
    email: _EMAIL,
    role: Annotated[UserRole, typer.Argument(help="What they may do from now on.")],
    *,
    tenant: _KNOWN,
) -> None:
    """Let a person do more or less, from their next request on."""
    with open_all_tenants() as database, database.transaction(tenant_id=None) as session:
        owner = find_tenant(session, tenant)
        change_role(session, owner, find_user(session, owner, email), role, actor=_ACTOR)
    typer.echo(f"{email} is {role} now")


def _read_password() -> str:
    """Ask for a password twice, or take the first line of standard input; never from the arguments."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    given: str = typer.prompt("Password", hide_input=True, err=True)
    again: str = typer.prompt("Again", hide_input=True, err=True)
    if given != again:
        raise RequestRefused(Reason.INVALID_REQUEST, "the two passwords differ", "type them again")
    return given
