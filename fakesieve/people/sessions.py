"""Signing in with a password, and the sessions that follow. The token is the browser's; its hash is kept."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import delete, func, text, update
from sqlalchemy.orm import Session

from fakesieve.database import Database
from fakesieve.people.addresses import count_known_failure, is_known, keep_address
from fakesieve.people.passwords import hash_password, is_outdated, is_password
from fakesieve.records.audit import record_audit
from fakesieve.records.users import AppSession, AppUser
from fakesieve.texts import is_storable
from fakesieve.values.people import UserRole

SESSION_S = 12 * 3600
"""A session ends after this, however busy."""
IDLE_S = 2 * 3600.0
"""A session ends after this without a request."""
FAILURES_MAX = 100
LOCK_S = 900.0
"""After so many wrong passwords in a row an account is shut for so long at addresses that are not known.

Each further one shuts it as long again, so a guesser has 96 tries a day (NIST SP 800-63B allows a hundred in
a row). Where a person has signed in of late they still may: nobody shuts somebody out by guessing. How often
one address may guess is bounded before that, see ``api/limits.py``.
"""
_TOUCH_S = 60.0
_FIELD_LETTERS_MAX = 200
_FIND_LOGIN = text(
    "SELECT user_id, tenant_id, password_hash, is_open, is_locked FROM find_login(:tenant, :email)"
)
_FIND_SESSION = text("SELECT user_id, tenant_id, role, email, name FROM find_app_session(:sha256, :idle_s)")


class _Login(NamedTuple):
    """What is found of an account by its name."""

    user_id: str
    tenant_id: str
    password_hash: str | None
    is_open: bool
    is_locked: bool


# Stands for every name without an account: no password is right, and no row is found or changed.
_NOBODY = _Login("usr_none", "ten_none", None, is_open=True, is_locked=False)


@dataclass(frozen=True)
class NewSession:
    """A session just begun. ``token`` is nowhere else."""

    user_id: str
    tenant_id: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class SignedIn:
    """Whose session it is."""

    user_id: str
    tenant_id: str
    role: UserRole
    email: str
    name: str


def sign_in(
    database: Database, tenant: str, email: str, password: str, address: str | None = None
) -> NewSession | None:
    """Begin a session for whoever knows the password; ``address`` is that of their network.

    None is all that anybody learns of a wrong tenant, address or password, a closed account, or one that
    too many wrong passwords have shut. The hash of the password, which is most of the time, is computed for
    each of them, and for a name without an account the database is asked what it is asked for one with a
    wrong password. What remains is the row in which that one is counted: a write, some milliseconds.
    """
    if not all(is_storable(part) and len(part) <= _FIELD_LETTERS_MAX for part in (tenant, email)):
        return None
    with database.transaction(tenant_id=None) as session:
        asked = {"tenant": tenant, "email": email.strip().lower()}
        row = session.execute(_FIND_LOGIN, asked).one_or_none()
    found = _NOBODY if row is None else _Login(*row)
    is_right = is_password(password, found.password_hash)
    with database.transaction(tenant_id=found.tenant_id) as session:
        is_own = is_known(session, found.user_id, address)
        if not found.is_open or (found.is_locked and not is_own):
            return None
        if not is_right or found.password_hash is None:
            _count_failure(session, found.tenant_id, found.user_id, address if is_own else None)
            return None
        keep_address(session, found.tenant_id, found.user_id, address)
        if is_outdated(found.password_hash):
            _set(session, found.user_id, {"password_hash": hash_password(password)})
        _set(session, found.user_id, {"failures": 0, "locked_until": None})
        token = start_session(session, found.tenant_id, found.user_id)
    return NewSession(found.user_id, found.tenant_id, token)


def start_session(session: Session, tenant_id: str, user_id: str) -> str:
    """Begin a session of a person and return its token; their sessions that are over leave."""
    token = secrets.token_urlsafe(32)
    is_over = AppSession.expire_time < func.now()
    session.execute(delete(AppSession).where(AppSession.user_id == user_id, is_over))
    row = AppSession(token_sha256=_hash(token), tenant_id=tenant_id, user_id=user_id)
    row.expire_time = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, SESSION_S)
    session.add(row)
    session.flush()
    record_audit(session, tenant_id=tenant_id, actor=user_id, action="session.started", subject=user_id)
    return token


def find_session(database: Database, token: str) -> SignedIn | None:
    """Return whose session a token is, and note that it is in use; None when it is over or unknown."""
    with database.transaction(tenant_id=None) as session:
        asked = {"sha256": _hash(token), "idle_s": IDLE_S}
        found = session.execute(_FIND_SESSION, asked).one_or_none()
    if found is None:
        return None
    with database.transaction(tenant_id=found.tenant_id) as session:
        is_stale = AppSession.use_time < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, _TOUCH_S)
        own = AppSession.token_sha256 == _hash(token)
        session.execute(update(AppSession).where(own, is_stale).values(use_time=func.now()))
    return SignedIn(found.user_id, found.tenant_id, UserRole(found.role), found.email, found.name)


def end_session(session: Session, token: str) -> None:
    """End a session of the tenant at hand; one that is over already stays so."""
    session.execute(delete(AppSession).where(AppSession.token_sha256 == _hash(token)))


def _count_failure(session: Session, tenant_id: str, user_id: str, known: str | None) -> None:
    """Count a wrong password: at a known address for that alone, else for all others together."""
    if known is not None:
        if count_known_failure(session, user_id, known, FAILURES_MAX):
            record_audit(
                session, tenant_id=tenant_id, actor=user_id, action="user.address_forgotten", subject=user_id
            )
        return
    failures = session.scalar(
        update(AppUser)
        .where(AppUser.id == user_id)
        .values(failures=AppUser.failures + 1)
        .returning(AppUser.failures)
    )
    if (failures or 0) >= FAILURES_MAX:
        until = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, LOCK_S)
        _set(session, user_id, {"locked_until": until})
        record_audit(session, tenant_id=tenant_id, actor=user_id, action="user.locked", subject=user_id)


def _set(session: Session, user_id: str, values: Mapping[str, object]) -> None:
    session.execute(update(AppUser).where(AppUser.id == user_id).values(dict(values)))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
