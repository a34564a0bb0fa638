"""Signing in by an identity provider: whose account it is, and what its claims let a person do.

An account is known by the issuer and the subject that it gave, never by an address of e-mail: addresses are
given to others in time.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from fakesieve.database import Database
from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.people.accounts import read_email
from fakesieve.people.sessions import NewSession, start_session
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.users import AppUser
from fakesieve.values.people import UserRole

NAME_LETTERS_MAX = 200
_FIND_TENANT = text("SELECT find_open_tenant(:name)")
_RANKS = {role: rank for rank, role in enumerate(UserRole)}


@dataclass(frozen=True)
class Identity:
    """Who has signed in at the provider. ``groups`` are the values of the claim that roles come from."""

    issuer: str
    subject: str
    email: str | None
    is_verified: bool
    name: str | None
    groups: frozenset[str]

    def __post_init__(self) -> None:
        if not self.issuer or not self.subject:
            raise ValueError("an identity has an issuer and a subject")


@dataclass(frozen=True)
class RoleRules:
    """Which role a group gives; who is in none has ``default``, and without one no access.

    Without ``by_group`` the provider says nothing of roles: an account keeps the role that it was given.
    """

    by_group: Mapping[str, UserRole]
    default: UserRole | None = None

    def choose(self, groups: Collection[str]) -> UserRole | None:
        """Return the highest role that the groups give; None for no access."""
        given = [role for group, role in self.by_group.items() if group in groups]
        return max(given, key=_RANKS.__getitem__, default=self.default)


def sign_in_by_provider(database: Database, tenant: str, identity: Identity, rules: RoleRules) -> NewSession:
    """Begin a session for who has signed in at the provider of a tenant.

    An account that is not there yet is made, or linked where an admin has made it without a password for
    this verified address. The role follows the claims each time. Raises RequestRefused (UNAUTHENTICATED) for
    a closed tenant or account, a person without a role, and an address that a local account has.
    """
    role = rules.choose(identity.groups)
    if rules.by_group and role is None:
        raise _refuse("your groups give no access here", "ask whoever manages your groups for access")
    with database.transaction(tenant_id=None) as session:
        tenant_id = session.scalar(_FIND_TENANT, {"name": tenant})
    if tenant_id is None:
        raise _refuse(f"the organisation {tenant!r} is closed or unknown", "ask whoever runs this service")
    with database.transaction(tenant_id=tenant_id) as session:
        user = _find_linked(session, identity) or _link(session, identity)
        if user is None:
            user = _make(session, tenant_id, identity, role or rules.default)
        if user.is_disabled:
            raise _refuse("your account here is closed", "ask an admin of your organisation")
        if rules.by_group and role is not None and user.role is not role:
            user.role = role
            session.flush()
            _note(session, user, "user.role_changed", {"role": role})
        token = start_session(session, tenant_id, user.id)
    return NewSession(user.id, tenant_id, token)


def _find_linked(session: Session, identity: Identity) -> AppUser | None:
    wanted = select(AppUser).where(
        AppUser.oidc_issuer == identity.issuer, AppUser.oidc_subject == identity.subject
    )
    return session.scalars(wanted.with_for_update()).one_or_none()


def _link(session: Session, identity: Identity) -> AppUser | None:
    """Return the account that waits for this person, now theirs; None where there is none of the address.

    Raises RequestRefused where the address has an account that is somebody's already.
    """
    if identity.email is None:
        return None
    wanted = select(AppUser).where(AppUser.email == read_email(identity.email)).with_for_update()
    user = session.scalars(wanted).one_or_none()
    if user is None:
        return None
    if user.password_hash is not None or user.oidc_subject is not None:
        raise _refuse(
            "your address has another account here, which this sign-in does not open",
            "sign in with its password, or ask an admin to close it",
        )
    if not identity.is_verified:
        raise _refuse("your provider has not verified your address", "confirm it there, then come back")
    user.oidc_issuer, user.oidc_subject = identity.issuer, identity.subject
    session.flush()
    _note(session, user, "user.linked", {})
    return user


def _make(session: Session, tenant_id: str, identity: Identity, role: UserRole | None) -> AppUser:
    """Make the account of a person. Raises RequestRefused."""
    if role is None:
        raise _refuse("you have no account here", "ask an admin of your organisation to make one")
    if identity.email is None:
        raise _refuse("your provider gives no address of e-mail", "let it release the scope email")
    if not identity.is_verified:
        raise _refuse("your provider has not verified your address", "confirm it there, then come back")
    email = read_email(identity.email)
    name = (identity.name or email)[:NAME_LETTERS_MAX]
    row = insert(AppUser).values(
        id=new_id(IdPrefix.USER),
        tenant_id=tenant_id,
        email=email,
        name=name if name.isprintable() else email,
        role=role,
        oidc_issuer=identity.issuer,
        oidc_subject=identity.subject,
        preferences={},
    )
    made = session.scalar(row.on_conflict_do_nothing().returning(AppUser.id))
    user = _find_linked(session, identity)  # of two sign-ins at once, one has made it
    if user is None:
        raise _refuse("your address has another account here", "ask an admin of your organisation")
    if made is not None:
        _note(session, user, "user.created", {"role": role})
    return user


def _note(session: Session, user: AppUser, action: str, details: Mapping[str, object]) -> None:
    owner = {"tenant_id": user.tenant_id, "actor": user.id, "subject": user.id}
    record_audit(session, **owner, action=action, details=details)


def _refuse(seen: str, hint: str) -> RequestRefused:
    return RequestRefused(Reason.UNAUTHENTICATED, seen, hint)
