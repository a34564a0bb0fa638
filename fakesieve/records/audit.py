"""The audit log: who did what, in an order and with contents that nobody can change afterwards.

The database numbers the entries of a tenant and chains them: each holds the hash of the one before and its
own. Nobody has the right to change or to remove one, and a trigger refuses it to the owner of the table too.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import CheckConstraint, ColumnElement, Index, literal, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from fakesieve.records.table import Base, Id, JsonObject, TenantOwned, is_at_hand

PAGE_MAX = 1000
CLOCK_BACK_MAX = timedelta(days=1)
"""How far the database's clock may have been set back for entries to be found by their time.

They are numbered one by one and timed at that moment, so times rise with numbers unless the clock does not.
"""
CHECK_MAX = 100_000
"""Entries that one check recomputes: a second or two, whatever the length of the log."""
_GATHERED = "entries of the audit log that wait"


class AuditEntry(TenantOwned, Base):
    """One act. ``actor`` is the id of a key or a user; a sweep of the fleet is ``fleet``."""

    __tablename__ = "audit_log"
    __table_args__ = (
        CheckConstraint("action ~ '^[a-z_]+[.][a-z_]+$'", name="action"),
        Index(None, "tenant_id", "subject", "sequence"),
        Index(None, "tenant_id", "actor", "sequence"),
        Index(None, "tenant_id", "action", "sequence"),
        Index(None, "tenant_id", "create_time"),
    )

    tenant_id: Mapped[Id] = mapped_column(primary_key=True)
    # Number, time and hashes are the trigger's; what an insert says of them is overwritten.
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, server_default=text("0"))
    create_time: Mapped[datetime] = mapped_column(server_default=text("now()"))
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    details: Mapped[JsonObject]
    previous_sha256: Mapped[str] = mapped_column(server_default=text("''"))
    sha256: Mapped[str] = mapped_column(server_default=text("''"))


@dataclass(frozen=True)
class AuditLine:
    """One act as it is read back."""

    sequence: int
    create_time: datetime
    actor: str
    action: str
    subject: str
    details: Mapping[str, object]
    sha256: str


@dataclass(frozen=True)
class AuditSearch:
    """Which acts are wanted: all parts that are given have to fit. Times have a zone, ``end`` is left out."""

    subject: str | None = None
    actor: str | None = None
    action: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    def write(self) -> dict[str, str]:
        """Return the parts that are given, as text."""
        parts = {
            "subject": self.subject,
            "actor": self.actor,
            "action": self.action,
            "start": None if self.start is None else self.start.isoformat(),
            "end": None if self.end is None else self.end.isoformat(),
        }
        return {name: value for name, value in parts.items() if value is not None}


ALL_ACTS = AuditSearch()


@dataclass(frozen=True)
class ChainCheck:
    """Whether a piece of a tenant's log is whole.

    ``broken_at`` is the first entry that does not fit, None if all do. ``after_sha256`` is the hash of the
    entry before the piece, ``head_sha256`` that of the last one in it. ``next_after`` is where the next piece
    begins, None at the end of the log.
    """

    entries: int
    broken_at: int | None
    after_sha256: str | None
    head_sha256: str | None
    next_after: int | None


def record_audit(
    session: Session,
    *,
    tenant_id: str,
    actor: str,
    action: str,
    subject: str,
    details: Mapping[str, object] | None = None,
) -> None:
    """Write down an act, such as ``review.decided`` on ``rev_...``.

    Call it last: to number the entries the database lets one transaction of a tenant at a time past here,
    until it commits. ``details`` must hold nothing that an erasure has to remove: ids and closed words only.
    """
    entry: dict[str, object] = {"tenant_id": tenant_id, "actor": actor, "action": action, "subject": subject}
    entry["details"] = dict(details or {})
    gathered = cast("list[dict[str, object]] | None", session.info.get(_GATHERED))
    if gathered is not None:
        gathered.append(entry)
        return
    session.execute(insert(AuditEntry).values(entry).inline())


@contextmanager
def gather_audit(session: Session) -> Generator[None]:
    """Write the entries of a block together at its end, in their order.

    For many acts in one transaction: the others of the tenant then wait for its last moment alone.
    """
    gathered = list[dict[str, object]]()
    session.info[_GATHERED] = gathered
    try:
        yield
    finally:
        del session.info[_GATHERED]
    if gathered:
        session.execute(insert(AuditEntry).inline(), gathered)


def list_audit(
    session: Session, search: AuditSearch = ALL_ACTS, *, before: int | None = None, limit: int = 100
) -> list[AuditLine]:
    """Return acts of the tenant at hand, newest first; ``before`` is the number of the last one seen."""
    entry = AuditEntry
    wanted = select(
        entry.sequence,
        entry.create_time,
        entry.actor,
        entry.action,
        entry.subject,
        entry.details,
        entry.sha256,
    ).where(is_at_hand(session, entry.tenant_id))
    named = ((entry.subject, search.subject), (entry.actor, search.actor), (entry.action, search.action))
    for column, value in named:
        if value is not None:
            wanted = wanted.where(column == value)
    wanted = wanted.where(*_bound_numbers(session, search))
    if before is not None:
        wanted = wanted.where(entry.sequence < before)
    rows = session.execute(wanted.order_by(entry.sequence.desc()).limit(min(limit, PAGE_MAX)))
    return [AuditLine(*row) for row in rows]


def _bound_numbers(session: Session, search: AuditSearch) -> list[ColumnElement[bool]]:
    """Return the conditions of a span of time: the times themselves, and the numbers they lie between.

    By times alone, a page in the order of numbers would begin at the newest entry, however old the span is.
    """
    entry, bounds = AuditEntry, list[ColumnElement[bool]]()
    numbers = select(entry.sequence).where(is_at_hand(session, entry.tenant_id)).limit(1)
    if search.start is not None:
        bounds.append(entry.create_time >= search.start)
        earlier = entry.create_time < literal(search.start) - literal(CLOCK_BACK_MAX)
        last = session.scalar(numbers.where(earlier).order_by(entry.create_time.desc()))
        bounds += [] if last is None else [entry.sequence > last]
    if search.end is not None:
        bounds.append(entry.create_time < search.end)
        later = entry.create_time >= literal(search.end) + literal(CLOCK_BACK_MAX)
        first = session.scalar(numbers.where(later).order_by(entry.create_time))
        bounds += [] if first is None else [entry.sequence < first]
    return bounds


# The entry before the piece is read with it, as the first of the piece has to fit it.
_CHECK = text("""
SELECT count(*) FILTER (WHERE sequence > :after) AS entries,
       min(sequence) FILTER (WHERE sequence > :after AND NOT is_whole) AS broken_at,
       min(sha256) FILTER (WHERE sequence = :after) AS after_sha256,
       max(sha256) FILTER (WHERE sequence > :after AND is_last) AS head
FROM (
    SELECT sequence, sha256, lead(sequence) OVER chain IS NULL AS is_last,
           sha256 = audit_log_sha256(audit_log)
           AND previous_sha256 = coalesce(lag(sha256) OVER chain, repeat('0', 64))
           AND sequence = coalesce(lag(sequence) OVER chain, 0) + 1 AS is_whole
    FROM audit_log WHERE tenant_id = :tenant_id AND sequence BETWEEN :after AND :last
    WINDOW chain AS (ORDER BY sequence)
) AS checked
""")
_HAS_MORE = text("SELECT EXISTS (SELECT FROM audit_log WHERE tenant_id = :tenant_id AND sequence > :last)")


def check_chain(session: Session, tenant_id: str, *, after: int = 0, limit: int = CHECK_MAX) -> ChainCheck:
    """Recompute the hashes of a tenant's log behind an entry, up to ``limit`` of them.

    A tail that was cut off shows only beside a head that was noted elsewhere: keep ``head_sha256`` with its
    number, and see that ``after_sha256`` is still the same when the next check begins there.
    """
    values = {"tenant_id": tenant_id, "after": after, "last": after + limit}
    row = session.execute(_CHECK, values).one()
    has_more = session.scalar(_HAS_MORE, values)
    return ChainCheck(
        row.entries, row.broken_at, row.after_sha256, row.head, after + limit if has_more else None
    )
