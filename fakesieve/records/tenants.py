"""Tenants and their API keys. A key is shown once; the database holds its hash alone."""

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import CheckConstraint, Index, func, literal, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column
from sqlalchemy.types import Text

from fakesieve.database import PLAN_EACH, PLAN_ONCE, TENANT_VARIABLE, VIEWER_VARIABLE, name_scene
from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.places import parse_place
from fakesieve.reasons import Reason
from fakesieve.records.table import Base, CreateTime, Id, TenantOwned, public_id, tenant_key
from fakesieve.values.tenant_names import LETTERS_MAX, check_tenant_name, fold_tenant_name

KEY_MARK = "fsk_"
_KEY_BYTES = 32
_OLDER_MAX = 100
_SHOWN_LETTERS = len(KEY_MARK) + 6
_LOCK_NAMES = text("SELECT pg_advisory_xact_lock(hashtextextended('names of tenants', 0))")
_FIND_KEY = text("SELECT key_id, of_tenant, key_scopes FROM find_api_key(:sha256)")
# Of a key that is not right there is no row, and nothing is set.
_ENTER = text(
    "SELECT key_id, of_tenant, key_scopes, set_config(:tenant, of_tenant, true),"
    " set_config(:viewer, key_id, true), set_config('plan_cache_mode', :plans, true)"
    " FROM find_api_key(:sha256)"
).bindparams(tenant=TENANT_VARIABLE, viewer=VIEWER_VARIABLE)


class Tenant(CreateTime, Base):
    """Whom rows belong to. ``weight`` is the share of the workers that the tenant has beside others."""

    __tablename__ = "tenant"
    __table_args__ = (
        CheckConstraint("weight > 0", name="weight"),
        CheckConstraint("jobs_max > 0", name="jobs_max"),
        CheckConstraint("month_ms_max > 0", name="month_ms_max"),
    )

    id: Mapped[Id] = public_id(IdPrefix.TENANT)
    name: Mapped[str] = mapped_column(unique=True)
    weight: Mapped[float] = mapped_column(server_default=text("1"))
    jobs_max: Mapped[int | None]  # live jobs at most; null is without a limit
    month_ms_max: Mapped[int | None]  # video time billed in a month of UTC at most; null is without a limit
    # Addresses s3://bucket/prefix that the tenant may name objects of. Its own uploads need none.
    places: Mapped[list[str]] = mapped_column(ARRAY(Text()), server_default=text("'{}'"))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))


class ApiKey(TenantOwned, CreateTime, Base):
    """A right to act for a tenant. ``shown`` is the beginning of the key, to tell keys apart.

    ``next_key_id`` is the key that took over when this one was rotated.
    """

    __tablename__ = "api_key"
    __table_args__ = (
        tenant_key(),
        CheckConstraint("length(key_sha256) = 64", name="key_sha256"),
        Index(None, "tenant_id"),
    )

    id: Mapped[Id] = public_id(IdPrefix.API_KEY)
    name: Mapped[str]
    shown: Mapped[str]
    key_sha256: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    expire_time: Mapped[datetime | None]
    revoke_time: Mapped[datetime | None]
    next_key_id: Mapped[Id | None]


@dataclass(frozen=True)
class NewKey:
    """A key just made. ``secret`` is nowhere else; it does not show in the representation."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Caller:
    """Who a key belongs to and what it may do."""

    key_id: str
    tenant_id: str
    scopes: frozenset[str]


def ensure_tenant(session: Session, name: str) -> str:
    """Return the id of the tenant of this name, which is made if there is none.

    Raises RequestRefused: INVALID_REQUEST for a name that no tenant can have, STATE_CONFLICT for one that
    people would take for another tenant's. Tenants that there are keep their names.
    """
    wanted = select(Tenant.id).where(Tenant.name == name)
    found = session.scalar(wanted)
    if found is not None:
        return found
    session.execute(_LOCK_NAMES)  # two that are alike must not be made side by side
    _check_name(session, name)
    made = session.scalar(insert(Tenant).values(name=name).on_conflict_do_nothing().returning(Tenant.id))
    return made or session.scalars(wanted).one()


def _check_name(session: Session, name: str) -> None:
    try:
        check_tenant_name(name)
    except ValueError as fault:
        seen = f"{fault}; this is {name[:LETTERS_MAX]!a}"
        raise RequestRefused(Reason.INVALID_REQUEST, seen, "choose another name") from fault
    folded = fold_tenant_name(name)
    for other in session.scalars(select(Tenant.name)):
        if other != name and fold_tenant_name(other) == folded:
            seen = f"the name {name!a} looks like that of the tenant {other!a}"
            raise RequestRefused(
                Reason.STATE_CONFLICT, seen, "use that name, or one that nobody takes for it"
            )


def create_key(
    session: Session,
    tenant_id: str,
    name: str,
    scopes: frozenset[str],
    expire_time: datetime | None = None,
) -> NewKey:
    """Make a key of 256 random bits for a tenant."""
    secret = KEY_MARK + secrets.token_hex(_KEY_BYTES)
    key = ApiKey(
        id=new_id(IdPrefix.API_KEY),
        tenant_id=tenant_id,
        name=name,
        shown=secret[:_SHOWN_LETTERS],
        key_sha256=hash_key(secret),
        scopes=sorted(scopes),
        expire_time=expire_time,
    )
    session.add(key)
    session.flush()
    return NewKey(key.id, secret)


def find_caller(session: Session, secret: str) -> Caller | None:
    """Return who a key belongs to; None for a key that is unknown, revoked, expired or of a closed tenant.

    It asks a function of the database, which may look at all keys, as the tenant is what it finds out.
    """
    found = session.execute(_FIND_KEY, {"sha256": hash_key(secret)}).one_or_none()
    return None if found is None else Caller(found.key_id, found.of_tenant, frozenset(found.key_scopes))


def enter_with_key(session: Session, sha256: str, *, is_along_keys: bool = False) -> Caller | None:
    """Return who the key with this hash belongs to, as :func:`find_caller`, and begin to act for them.

    The transaction sees the rows of their tenant from then on, and the key is its viewer: one question less
    than to ask first and to name both afterwards. Without such a key it goes on to see no rows.
    ``is_along_keys`` is as in ``Database.transaction``.
    """
    asked = {"sha256": sha256, "plans": PLAN_ONCE if is_along_keys else PLAN_EACH}
    found = session.execute(_ENTER, asked).one_or_none()
    if found is None:
        return None
    name_scene(session, found.of_tenant, found.key_id)
    return Caller(found.key_id, found.of_tenant, frozenset(found.key_scopes))


def rotate_key(session: Session, key_id: str, overlap: timedelta) -> NewKey | None:
    """Make a key like another one, which ends after the overlap; None where there is none in force.

    The old key ends no later than it would have, and the new one has its scopes and the length of its life.
    """
    old = session.scalars(select(ApiKey).where(ApiKey.id == key_id).with_for_update()).one_or_none()
    now = session.execute(select(func.now())).scalar_one()
    if old is None or old.revoke_time is not None or (old.expire_time and old.expire_time <= now):
        return None
    life = None if old.expire_time is None else old.expire_time - old.create_time
    made = create_key(
        session, old.tenant_id, old.name, frozenset(old.scopes), None if life is None else now + life
    )
    end = now + overlap
    old.expire_time = end if old.expire_time is None else min(end, old.expire_time)
    old.next_key_id = made.id
    session.flush()
    return made


def list_older_keys(session: Session, key_id: str) -> list[str]:
    """Return the ids of the keys that a key has taken over from, the latest first."""
    older = select(ApiKey.id, literal(1).label("age")).where(ApiKey.next_key_id == key_id).cte(recursive=True)
    before = aliased(ApiKey)
    older = older.union_all(
        select(before.id, older.c.age + 1).where(before.next_key_id == older.c.id, older.c.age < _OLDER_MAX)
    )
    return list(session.scalars(select(older.c.id).order_by(older.c.age)))


def list_keys(session: Session, before: tuple[datetime, str] | None, limit: int) -> list[ApiKey]:
    """Return the keys of the tenant at hand, newest first, those that have ended too."""
    wanted = select(ApiKey).order_by(ApiKey.create_time.desc(), ApiKey.id.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(tuple_(ApiKey.create_time, ApiKey.id) < before)
    return list(session.scalars(wanted))


def load_key(session: Session, key_id: str) -> ApiKey | None:
    """Return a key of the tenant at hand."""
    return session.get(ApiKey, key_id)


def name_keys(session: Session, key_ids: Collection[str]) -> Mapping[str, str]:
    """Return the names of those keys that the tenant at hand has, also of those that have ended."""
    rows = session.execute(select(ApiKey.id, ApiKey.name).where(ApiKey.id.in_(key_ids)))
    return {row.id: row.name for row in rows}


def revoke_key(session: Session, key_id: str) -> bool:
    """End a key at once; False when there is none of this id or it has ended already."""
    changed = session.scalar(
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.revoke_time.is_(None))
        .values(revoke_time=func.now())
        .returning(ApiKey.id)
    )
    return changed is not None


def hash_key(secret: str) -> str:
    """Return the sha256 of a key in hexadecimal; 256 random bits need no slower hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True)
class Quota:
    """What a tenant may use and has used. Null is without a limit; the month is one of UTC."""

    tenant_id: str
    places: tuple[str, ...]
    jobs_max: int | None
    jobs_live: int
    month_ms_max: int | None
    month_ms: int


_QUOTA = text(
    "SELECT tenant.id, places, jobs_max, month_ms_max,"
    " (SELECT count(*) FROM job WHERE tenant_id = tenant.id AND state IN ('queued', 'running')) AS jobs_live,"
    " (SELECT coalesce(sum(duration_ms), 0) FROM usage WHERE tenant_id = tenant.id"
    "  AND create_time >= date_trunc('month', now(), 'UTC')) AS month_ms"
    " FROM tenant WHERE tenant.id = :tenant_id"
)


def load_quota(session: Session, tenant_id: str) -> Quota:
    """Return what the tenant at hand may use and has used."""
    row = session.execute(_QUOTA, {"tenant_id": tenant_id}).one()
    return Quota(
        row.id, tuple(row.places), row.jobs_max, int(row.jobs_live), row.month_ms_max, int(row.month_ms)
    )


def load_places(session: Session, tenant_id: str) -> tuple[str, ...]:
    """Return the places that the tenant at hand may name objects of."""
    return tuple(session.scalars(select(Tenant.places).where(Tenant.id == tenant_id)).one())


def add_places(session: Session, tenant_id: str, places: Sequence[str]) -> None:
    """Let a tenant name objects under more places, as ``fakesieve/places.py`` reads them.

    Raises ``ValueError`` for one that is none.
    """
    for place in places:
        parse_place(place)
    tenant = session.scalars(select(Tenant).where(Tenant.id == tenant_id)).one()
    tenant.places = [*tenant.places, *(place for place in places if place not in tenant.places)]
    session.flush()
