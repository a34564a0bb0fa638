"""Who has looked at an analysis: an entry of the audit log for each sitting, and the list of them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, literal, or_, select, text
from sqlalchemy.orm import Session

from fakesieve.database import Database
from fakesieve.errors import Unavailable
from fakesieve.records.audit import AuditEntry, record_audit
from fakesieve.records.blind import VIEWER
from fakesieve.records.review_known import is_given

SITTING_S = 600.0
"""Who loads a page again within this time is not written down again."""
_BE_SHORT = text("SET LOCAL lock_timeout = '1s'")
VIEWED, VIEWED_BLINDLY = "analysis.viewed", "analysis.viewed_blindly"


@dataclass(frozen=True)
class Sighting:
    """One person at one analysis. ``sittings`` counts entries of the log, those without the score too."""

    user_id: str
    first_time: datetime
    last_time: datetime
    sittings: int


def note_sighting(
    session: Session, tenant_id: str, analysis_id: str, user_id: str, *, is_hidden: bool
) -> None:
    """Write down that a person looks at an analysis, with its score or without. Call it last."""
    action = VIEWED_BLINDLY if is_hidden else VIEWED
    since = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, SITTING_S)
    entry = AuditEntry
    known = select(entry.sequence).where(
        entry.tenant_id == tenant_id,
        entry.subject == analysis_id,
        entry.action == action,
        entry.actor == user_id,
        entry.create_time > since,
    )
    if session.scalar(known.limit(1)) is None:
        record_audit(session, tenant_id=tenant_id, actor=user_id, action=action, subject=analysis_id)


def keep_sighting(
    database: Database, tenant_id: str, analysis_id: str, user_id: str, *, is_hidden: bool
) -> bool:
    """Do what :func:`note_sighting` does in a transaction of its own, which waits for the log a second only.

    False where it could not be written: whoever looks is shown the page all the same, and the caller says
    in its own log who has looked.
    """
    try:
        with database.transaction(tenant_id=tenant_id) as session:
            session.execute(_BE_SHORT)
            note_sighting(session, tenant_id, analysis_id, user_id, is_hidden=is_hidden)
    except Unavailable:
        return False
    return True


def list_sightings(session: Session, tenant_id: str, analysis_id: str, limit: int = 50) -> list[Sighting]:
    """Return who has looked at an analysis, the last one first.

    Whoever was given it as a known one sees themselves alone: others who look are given it, too.
    """
    entry = AuditEntry
    last_time = func.max(entry.create_time)
    rows = session.execute(
        select(entry.actor, func.min(entry.create_time), last_time, func.count())
        .where(
            entry.tenant_id == tenant_id,
            entry.subject == analysis_id,
            entry.action.in_((VIEWED, VIEWED_BLINDLY)),
            or_(entry.actor == VIEWER, ~is_given(literal(analysis_id))),
        )
        .group_by(entry.actor)
        .order_by(last_time.desc())
        .limit(limit)
    )
    return [Sighting(*row) for row in rows]
