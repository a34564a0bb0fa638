"""Addresses from which a person has signed in: wrong passwords from elsewhere do not keep them out there."""

import hashlib

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from fakesieve.records.users import KnownAddress

KNOWN_S = 30 * 86_400.0
"""An address is known for so long after the last sign-in from it."""


def is_known(session: Session, user_id: str, address: str | None) -> bool:
    """Whether a person has signed in from an address of late."""
    if address is None:
        return False
    known = select(KnownAddress.user_id).where(_is_it(user_id, address), ~_is_old())
    return session.scalar(known) is not None


def keep_address(session: Session, tenant_id: str, user_id: str, address: str | None) -> None:
    """Note that a person has signed in from an address, and forget those of long ago."""
    session.execute(delete(KnownAddress).where(KnownAddress.user_id == user_id, _is_old()))
    if address is None:
        return
    digest = _hash(user_id, address)
    row = insert(KnownAddress).values(tenant_id=tenant_id, user_id=user_id, address_sha256=digest)
    again = {"use_time": func.now(), "failures": 0}
    session.execute(row.on_conflict_do_update(index_elements=["user_id", "address_sha256"], set_=again))


def count_known_failure(session: Session, user_id: str, address: str, failures_max: int) -> bool:
    """Count a wrong password from a known address; after too many it is known no more, which is True."""
    counted = update(KnownAddress).where(_is_it(user_id, address)).values(failures=KnownAddress.failures + 1)
    failures = session.scalar(counted.returning(KnownAddress.failures))
    if (failures or 0) < failures_max:
        return False
    session.execute(delete(KnownAddress).where(_is_it(user_id, address)))
    return True


def _is_it(user_id: str, address: str) -> ColumnElement[bool]:
    is_same = KnownAddress.address_sha256 == _hash(user_id, address)
    return (KnownAddress.user_id == user_id) & is_same


def _is_old() -> ColumnElement[bool]:
    return KnownAddress.use_time < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, KNOWN_S)


def _hash(user_id: str, address: str) -> str:
    return hashlib.sha256(f"{user_id} {address}".encode("utf-8", "replace")).hexdigest()
