"""Answers kept under the keys that callers give, so that a request sent twice is done once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from sqlalchemy import CheckConstraint, Index, delete, func, insert, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.types import Integer

from fakesieve.records.table import Base, CreateTime, Id, JsonObject, TenantOwned

KEPT = timedelta(hours=48)
_OLD_AT_ONCE = 20


class IdempotentAnswer(TenantOwned, CreateTime, Base):
    """What was answered to the request of this key, written in the transaction of what it did."""

    __tablename__ = "idempotent_answer"
    __table_args__ = (
        CheckConstraint("length(request_sha256) = 64", name="request_sha256"),
        CheckConstraint("length(key) BETWEEN 1 AND 255", name="key"),
        Index(None, "tenant_id", "create_time"),
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
    """Take a tenant's key until the transaction ends; False while another transaction has it."""
    statement = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 4))")
    return bool(session.scalar(statement, {"name": f"{tenant_id}/{key}"}))


def find_answer(session: Session, tenant_id: str, key: str) -> KeptAnswer | None:
    """Return what was answered under a key."""
    row = session.get(IdempotentAnswer, (tenant_id, key))
    if row is None:
        return None
    return KeptAnswer(row.request_sha256, row.status, cast("Mapping[str, str]", row.headers), row.body)


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
