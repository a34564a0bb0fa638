"""Keys of a tenant, made, rotated and revoked by somebody whose name goes into the audit log."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.tenants import ApiKey, NewKey, create_key, load_key, revoke_key, rotate_key
from fakesieve.scopes import Scope
from fakesieve.texts import is_storable
from fakesieve.values.keys import NAME_LETTERS_MAX, OVERLAP_S, OVERLAP_S_MAX


@dataclass(frozen=True)
class KeyDraft:
    """A key to be made. Without an end it works until it is revoked."""

    name: str
    scopes: frozenset[Scope]
    expire_time: datetime | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= NAME_LETTERS_MAX or not is_storable(self.name):
            raise ValueError(f"a key has a name of 1 to {NAME_LETTERS_MAX} letters, and no NUL")
        if not self.scopes:
            raise ValueError("a key has at least one scope")
        if self.expire_time is not None and self.expire_time.tzinfo is None:
            raise ValueError("the end of a key needs a time zone")


def create_tenant_key(session: Session, tenant_id: str, draft: KeyDraft, *, actor: str) -> NewKey:
    """Make a key; its secret is in the answer and nowhere else. Raises RequestRefused (INVALID_REQUEST)."""
    if draft.expire_time is not None and draft.expire_time <= datetime.now(UTC):
        raise RequestRefused(Reason.INVALID_REQUEST, "/expire_time: it lies in the past")
    scopes = frozenset(scope.value for scope in draft.scopes)
    made = create_key(session, tenant_id, draft.name, scopes, draft.expire_time)
    _audit(session, tenant_id, actor, "key.created", made.id, {"scopes": sorted(scopes)})
    return made


def renew_key(
    session: Session, tenant_id: str, key_id: str, *, actor: str, overlap_s: int = OVERLAP_S
) -> NewKey:
    """Make a key that takes over from another, which works beside it until the overlap has passed.

    Raises RequestRefused: NOT_FOUND, or STATE_CONFLICT for a key that works no more; ValueError for an
    overlap over thirty days.
    """
    if not 0 <= overlap_s <= OVERLAP_S_MAX:
        raise ValueError("two keys work side by side for at most thirty days")
    find_key(session, key_id)
    made = rotate_key(session, key_id, timedelta(seconds=overlap_s))
    if made is None:
        raise RequestRefused(Reason.STATE_CONFLICT, f"{key_id} is revoked or expired")
    _audit(session, tenant_id, actor, "key.rotated", key_id, {"next_key_id": made.id})
    return made


def end_key(session: Session, tenant_id: str, key_id: str, *, actor: str) -> ApiKey:
    """End a key at once. Raises RequestRefused: NOT_FOUND, or STATE_CONFLICT for one that is revoked."""
    found = find_key(session, key_id)
    if not revoke_key(session, key_id):
        raise RequestRefused(Reason.STATE_CONFLICT, f"{key_id} is revoked already")
    session.refresh(found)
    _audit(session, tenant_id, actor, "key.revoked", key_id, {})
    return found


def find_key(session: Session, key_id: str) -> ApiKey:
    """Return a key of the tenant at hand. Raises RequestRefused (NOT_FOUND)."""
    found = load_key(session, key_id)
    if found is None:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no key {key_id}")
    return found


def _audit(
    session: Session, tenant_id: str, actor: str, action: str, key_id: str, details: Mapping[str, object]
) -> None:
    record_audit(session, tenant_id=tenant_id, actor=actor, action=action, subject=key_id, details=details)
