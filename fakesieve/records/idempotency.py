"""Answers kept under the keys that callers give, so that a request sent twice is done once."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from sqlalchemy import CheckConstraint, Index, delete, func, insert, select, text, tuple_
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.types import Integer

from fakesieve.records.table import Base, CreateTime, Id, JsonObject, TenantOwned

KEPT = timedelta(hours=48)
WORK_S_MAX = 1_800
"""Longest work under a key, in seconds."""
_OLD_AT_ONCE = 20


class IdempotentAnswer(TenantOwned, CreateTime, Base):
    """What was answered to the request of this key, written in the transaction of what it did."""

    __tablename__ = "idempotent_answer"
    __table_args__ = (
        CheckConstraint("length(request_sha256) = 64", name="request_sha256"),
        CheckConstraint("length(key) BETWEEN 1 AND 255", name="key"),
        Index(None, "tenant_id", "create_time"),
        Index(None, "create_time"),
    )

    tenant_id: Mapped[Id] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    status: Mapped[int] = mapped_column(Integer)
    headers: Mapped[JsonObject]
    body: Mapped[bytes]


@dataclass(frozen=True)
class KeptAnswer:
    """An answer as it went out. ``request_sha256`` tells whether a key means the same again."""

    request_sha256: str
    status: int
    headers: Mapping[str, str]
    body: bytes


def lock_key(session: Session, tenant_id: str, key: str) -> bool:
    """Take a tenant's key until the transaction ends; False while another transaction has it.

    The transaction may be idle from here on for as long as the work takes that the key is for, such as an
    export. Its connection is watched all the same: the lock of a process that dies is free at once.
    """
    statement = text(
        "SELECT pg_try_advisory_xact_lock(:of_tenant, :of_key),"
        f" set_config('idle_in_transaction_session_timeout', '{WORK_S_MAX}s', true)"
    )
    return bool(session.scalar(statement, {"of_tenant": _number(tenant_id), "of_key": _number(key)}))


def _number(name: str) -> int:
    """Return 32 bits of a hash. Callers choose keys, so half of a lock's name is the tenant's alone.

    With one hash over both, a key could be found whose lock is that of another tenant's work.
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big", signed=True)


def find_answer(session: Session, tenant_id: str, key: str) -> KeptAnswer | None:
    """Return what was answered under a key."""
    row = session.get(IdempotentAnswer, (tenant_id, key))
    if row is None:
        return None
    return KeptAnswer(row.request_sha256, row.status, cast("Mapping[str, str]", row.headers), row.body)


def purge_answers(session: Session, limit: int = 1_000) -> int:
    """Remove answers of all tenants that were kept long enough, the oldest first; return how many."""
    old = (
        select(IdempotentAnswer.tenant_id, IdempotentAnswer.key)
        .where(IdempotentAnswer.create_time < func.now() - KEPT)
        .order_by(IdempotentAnswer.create_time)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    place = tuple_(IdempotentAnswer.tenant_id, IdempotentAnswer.key)
    gone = delete(IdempotentAnswer).where(place.in_(old)).returning(IdempotentAnswer.key)
    return len(session.execute(gone, execution_options={"synchronize_session": False}).all())


def keep_answer(session: Session, tenant_id: str, key: str, answer: KeptAnswer) -> None:
    """Keep an answer for at least two days, and let some go that are older."""
    session.execute(
        insert(IdempotentAnswer).values(
            tenant_id=tenant_id,
            key=key,
            request_sha256=answer.request_sha256,
            status=answer.status,
            headers=dict(answer.headers),
            body=answer.body,
        )
    )
    old = (
        select(IdempotentAnswer.key)
        .where(IdempotentAnswer.tenant_id == tenant_id, IdempotentAnswer.create_time < func.now() - KEPT)
        .order_by(IdempotentAnswer.create_time)
        .limit(_OLD_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    gone = delete(IdempotentAnswer).where(
        IdempotentAnswer.tenant_id == tenant_id, IdempotentAnswer.key.in_(old.scalar_subquery())
    )
    session.execute(gone, execution_options={"synchronize_session": False})
