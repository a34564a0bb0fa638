"""``fakesieve tenants``: who the fleet works for, and how much of it each may use."""

from typing import Annotated

import typer

from fakesieve.cli.place import open_all_tenants
from fakesieve.cli.printing import Json, print_json
from fakesieve.records.tenants import Quota, Tenant, load_quota
from fakesieve.tenant_changes import MS_PER_HOUR, TenantChange, change_tenant, find_named, list_tenants
from fakesieve.texts import escape_line

_ACTOR = "command"

tenants = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="List tenants, and say what each may use."
)
_NAME = Annotated[str, typer.Argument(help="Name of the tenant.")]
_JSON = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@tenants.command()
def ls(*, as_json: _JSON = False) -> None:
    """List all tenants."""
    with open_all_tenants() as database, database.transaction(tenant_id=None) as session:
        lines = [(tenant, load_quota(session, tenant.id)) for tenant in list_tenants(session)]
    for tenant, quota in lines:
        _print(tenant, quota, as_json=as_json)


@tenants.command()
def show(name: _NAME, *, as_json: _JSON = False) -> None:
    """Show what a tenant may use and has used."""
    with open_all_tenants() as database, database.transaction(tenant_id=None) as session:
        tenant = find_named(session, name)
        quota = load_quota(session, tenant.id)
    _print(tenant, quota, as_json=as_json)


@tenants.command("set")
def change(
    name: _NAME,
    *,
    jobs_max: Annotated[int | None, typer.Option(min=0, help="Live jobs at most; 0 is no limit.")] = None,
    month_hours: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1e9,
            help="Hours of video billed in a month at most; 0 is no limit.",
        ),
    ] = None,
    weight: Annotated[
        float | None, typer.Option(help="Share of the workers beside other tenants; 1 at first.")
    ] = None,
    active: Annotated[
        bool | None, typer.Option("--active/--closed", help="Closed: its keys and people are not let in.")
    ] = None,
    place: Annotated[
        list[str] | None, typer.Option(help="s3://BUCKET/FOLDER/ whose objects it may name from now on.")
    ] = None,
    no_place: Annotated[list[str] | None, typer.Option(help="A place that it may name no more.")] = None,
    as_json: _JSON = False,
) -> None:
    """Change what a tenant may use. What is not named stays as it is."""
    try:
        wanted = TenantChange(
            jobs_max, month_hours, weight, active, tuple(place or ()), tuple(no_place or ())
        )
    except ValueError as fault:
        raise typer.BadParameter(str(fault)) from fault
    with open_all_tenants() as database, database.transaction(tenant_id=None) as session:
        tenant = change_tenant(session, name, wanted, actor=_ACTOR)
        quota = load_quota(session, tenant.id)
    _print(tenant, quota, as_json=as_json)


def _print(tenant: Tenant, quota: Quota, *, as_json: bool) -> None:
    document = _describe(tenant, quota)
    if as_json:
        print_json(document)
        return
    jobs = "no limit" if tenant.jobs_max is None else str(tenant.jobs_max)
    hours = "no limit" if tenant.month_ms_max is None else f"{tenant.month_ms_max / MS_PER_HOUR:g}"
    state = "active" if tenant.is_active else "closed"
    used = f"{quota.month_ms / MS_PER_HOUR:.1f}"
    typer.echo(f"{escape_line(tenant.name)}  {state}  weight {tenant.weight:g}  {tenant.id}")
    typer.echo(f"  live jobs {quota.jobs_live} of {jobs}, hours this month {used} of {hours}")
    for place in tenant.places:
        typer.echo(f"  may name {place}")


def _describe(tenant: Tenant, quota: Quota) -> dict[str, Json]:
    return {
        "id": tenant.id,
        "name": tenant.name,
        "is_active": tenant.is_active,
        "weight": tenant.weight,
        "jobs_max": tenant.jobs_max,
        "jobs_live": quota.jobs_live,
        "month_ms_max": tenant.month_ms_max,
        "month_ms": quota.month_ms,
        "places": list(tenant.places),
    }
