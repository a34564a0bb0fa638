"""What a tenant may use, changed by whoever runs the fleet, with a line in the tenant's audit log."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fakesieve.errors import RequestRefused
from fakesieve.places import parse_place
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.tenants import Tenant

MS_PER_HOUR = 3_600_000
WEIGHT_MAX = 1_000.0


@dataclass(frozen=True)
class TenantChange:
    """What is to be different. None leaves a thing as it is; a limit of 0 takes the limit away."""

    jobs_max: int | None = None
    month_hours: float | None = None
    weight: float | None = None
    is_active: bool | None = None
    more_places: tuple[str, ...] = ()
    fewer_places: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.jobs_max or 0) < 0 or (self.month_hours or 0) < 0:
            raise ValueError("a limit is a number from 0, which takes it away")
        if self.weight is not None and not 0 < self.weight <= WEIGHT_MAX:
            raise ValueError(f"a weight is over 0 and at most {WEIGHT_MAX:g}")
        for place in self.more_places:
            parse_place(place)


def change_tenant(session: Session, name: str, change: TenantChange, *, actor: str) -> Tenant:
    """Change what a tenant may use, for its next request and its next job on, and return it.

    Raises RequestRefused (NOT_FOUND) for an unknown tenant, or for a place to remove that it does not have.
    """
    tenant = find_named(session, name)
    details = dict[str, object]()
    if change.jobs_max is not None:
        tenant.jobs_max = details["jobs_max"] = change.jobs_max or None
    if change.month_hours is not None:
        tenant.month_ms_max = details["month_ms_max"] = round(change.month_hours * MS_PER_HOUR) or None
    if change.weight is not None:
        tenant.weight = details["weight"] = change.weight
    if change.is_active is not None:
        tenant.is_active = details["is_active"] = change.is_active
    places = _change_places(tenant.places, change)
    if places != tenant.places:
        details["places"] = {"before": len(tenant.places), "after": len(places)}
        tenant.places = places
    session.flush()
    if details:
        owner = {"tenant_id": tenant.id, "actor": actor, "subject": tenant.id}
        record_audit(session, **owner, action="tenant.changed", details=details)
    return tenant


def find_named(session: Session, name: str) -> Tenant:
    """Return the tenant of a name, locked. Raises RequestRefused (NOT_FOUND)."""
    tenant = session.scalar(select(Tenant).where(Tenant.name == name).with_for_update())
    if tenant is None:
        hint = "fakesieve tenants ls shows them; 'keys create --tenant' makes one"
        raise RequestRefused(Reason.NOT_FOUND, f"there is no tenant {name!r}", hint)
    return tenant


def list_tenants(session: Session) -> Sequence[Tenant]:
    """Return all tenants by their names."""
    return session.scalars(select(Tenant).order_by(Tenant.name)).all()


def _change_places(places: Sequence[str], change: TenantChange) -> list[str]:
    missing = [place for place in change.fewer_places if place not in places]
    if missing:
        raise RequestRefused(Reason.NOT_FOUND, f"{missing[0]} is none of the tenant's places")
    kept = [place for place in places if place not in change.fewer_places]
    return [*kept, *(place for place in change.more_places if place not in kept)]
