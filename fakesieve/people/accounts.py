"""The people of a tenant: made, listed, closed, and how pages look to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.people.passwords import hash_password
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.tenants import Tenant
from fakesieve.records.users import AppSession, AppUser, KnownAddress
from fakesieve.texts import is_storable
from fakesieve.values.people import UserRole

LETTERS_MAX = 200


@dataclass(frozen=True)
class Account:
    """A person as lists show them."""

    id: str
    email: str
    name: str
    role: UserRole
    is_disabled: bool
    locked_until: datetime | None
    create_time: datetime


@dataclass(frozen=True)
class Preferences:
    """How a review looks and sounds and whether its keys act, until the person changes it for a while."""

    is_blurred: bool = False
    is_grey: bool = False
    is_muted: bool = True
    has_keys: bool = True


def create_user(
    session: Session,
    tenant_id: str,
    *,
    email: str,
    name: str,
    role: UserRole,
    password: str | None,
    actor: str,
) -> str:
    """Make an account and return its id. Without a password it waits for its person's identity provider.

    Raises RequestRefused: INVALID_REQUEST for an address or a password that will not do, STATE_CONFLICT
    where the tenant has an account of this address.
    """
    address = read_email(email)
    if not 1 <= len(name) <= LETTERS_MAX or not name.isprintable():
        raise RequestRefused(Reason.INVALID_REQUEST, f"a name has 1 to {LETTERS_MAX} printable letters")
    row = insert(AppUser).values(
        id=new_id(IdPrefix.USER),
        tenant_id=tenant_id,
        email=address,
        name=name,
        role=role,
        password_hash=None if password is None else hash_password(password),
        preferences={},
    )
    free = row.on_conflict_do_nothing(index_elements=["tenant_id", "email"])
    made = session.scalar(free.returning(AppUser.id))
    if made is None:
        raise RequestRefused(Reason.STATE_CONFLICT, f"there is an account of {address}")
    record_audit(
        session, tenant_id=tenant_id, actor=actor, action="user.created", subject=made, details={"role": role}
    )
    return made


def find_tenant(session: Session, name: str) -> str:
    """Return the id of a tenant by its name, for commands of the fleet. Raises RequestRefused (NOT_FOUND)."""
    found = session.scalar(select(Tenant.id).where(Tenant.name == name))
    if found is None:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no organisation named {name!r}")
    return found


def list_users(session: Session, tenant_id: str) -> list[Account]:
    """Return the accounts of a tenant by their address."""
    rows = session.scalars(select(AppUser).where(AppUser.tenant_id == tenant_id).order_by(AppUser.email))
    return [
        Account(row.id, row.email, row.name, row.role, row.is_disabled, row.locked_until, row.create_time)
        for row in rows
    ]


def disable_user(session: Session, tenant_id: str, email: str, *, actor: str) -> str:
    """Close an account and end its sessions. Raises RequestRefused (NOT_FOUND)."""
    user_id = find_user(session, tenant_id, email)
    session.execute(update(AppUser).where(AppUser.id == user_id).values(is_disabled=True))
    _end_sessions(session, user_id)
    record_audit(session, tenant_id=tenant_id, actor=actor, action="user.disabled", subject=user_id)
    return user_id


def change_role(session: Session, tenant_id: str, user_id: str, role: UserRole, *, actor: str) -> None:
    """Let a person do more or less from their next request on.

    Raises RequestRefused: NOT_FOUND, or STATE_CONFLICT where the tenant would be left without an admin.
    """
    own = (AppUser.tenant_id == tenant_id) & ~AppUser.is_disabled
    admins = session.scalars(select(AppUser.id).where(own, AppUser.role == UserRole.ADMIN).with_for_update())
    others = set(admins) - {user_id}
    before = session.scalar(
        select(AppUser.role).where(AppUser.tenant_id == tenant_id, AppUser.id == user_id).with_for_update()
    )
    if before is None:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no account {user_id}")
    if before is UserRole.ADMIN and role is not before and not others:
        seen = "that is the last admin of the organisation"
        raise RequestRefused(Reason.STATE_CONFLICT, seen, "make somebody else one first")
    session.execute(update(AppUser).where(AppUser.id == user_id).values(role=role))
    act = {"actor": actor, "action": "user.role_changed", "subject": user_id}
    record_audit(session, tenant_id=tenant_id, **act, details={"before": before, "role": role})


def find_user(session: Session, tenant_id: str, email: str) -> str:
    """Return the id of an account by its address of e-mail. Raises RequestRefused (NOT_FOUND)."""
    address = email.strip().lower()
    wanted = select(AppUser.id).where(AppUser.tenant_id == tenant_id, AppUser.email == address)
    found = session.scalar(wanted) if is_storable(address) else None
    if found is None:
        raise RequestRefused(Reason.NOT_FOUND, "the tenant has no account of this address")
    return found


def change_password(session: Session, tenant_id: str, email: str, password: str, *, actor: str) -> str:
    """Give an account another password, open it again and end its sessions. Raises RequestRefused.

    From where its person signed in of late they still come in while somebody guesses: whoever gives another
    password because of that must not shut them out by it.
    """
    user_id = find_user(session, tenant_id, email)
    values = {"password_hash": hash_password(password), "failures": 0, "locked_until": None}
    session.execute(update(AppUser).where(AppUser.id == user_id).values(is_disabled=False, **values))
    _end_sessions(session, user_id)
    session.execute(update(KnownAddress).where(KnownAddress.user_id == user_id).values(failures=0))
    record_audit(session, tenant_id=tenant_id, actor=actor, action="user.password_changed", subject=user_id)
    return user_id


def load_preferences(session: Session, user_id: str) -> Preferences:
    """Return how pages look to a person; whatever is not kept has its first value."""
    kept = session.scalar(select(AppUser.preferences).where(AppUser.id == user_id)) or {}
    first = Preferences()
    return Preferences(
        is_blurred=_read_flag(kept, "is_blurred", fallback=first.is_blurred),
        is_grey=_read_flag(kept, "is_grey", fallback=first.is_grey),
        is_muted=_read_flag(kept, "is_muted", fallback=first.is_muted),
        has_keys=_read_flag(kept, "has_keys", fallback=first.has_keys),
    )


def store_preferences(session: Session, user_id: str, preferences: Preferences) -> None:
    """Keep how pages look to a person."""
    kept = {
        "is_blurred": preferences.is_blurred,
        "is_grey": preferences.is_grey,
        "is_muted": preferences.is_muted,
        "has_keys": preferences.has_keys,
    }
    session.execute(update(AppUser).where(AppUser.id == user_id).values(preferences=kept))


def name_people(session: Session, user_ids: set[str]) -> Mapping[str, str]:
    """Return the names of those people that the tenant at hand has."""
    rows = session.execute(select(AppUser.id, AppUser.name).where(AppUser.id.in_(user_ids)))
    return {row.id: row.name for row in rows}


def read_email(email: str) -> str:
    """Return an address as it is kept. Raises RequestRefused (INVALID_REQUEST) for what is none."""
    address = email.strip().lower()
    user, _, domain = address.rpartition("@")
    if not user or not domain or len(address) > LETTERS_MAX or not address.isprintable() or " " in address:
        raise RequestRefused(Reason.INVALID_REQUEST, "that is no address of e-mail", "write it as name@host")
    return address


def _end_sessions(session: Session, user_id: str) -> None:
    session.execute(delete(AppSession).where(AppSession.user_id == user_id))


def _read_flag(kept: Mapping[str, object], name: str, *, fallback: bool) -> bool:
    value = kept.get(name)
    return value if isinstance(value, bool) else fallback
