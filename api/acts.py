"""Acts of callers that change nothing which has a log of its own: noted where the request ends."""

from collections.abc import Mapping

from sqlalchemy.orm import Session

from fakesieve.records.audit import record_audit
from fakesieve.records.tenants import Caller


def note_act(
    session: Session,
    caller: Caller,
    action: str,
    subject: str,
    details: Mapping[str, object] | None = None,
) -> None:
    """Note what a key has done, in the transaction of what it did; call it last.

    ``details`` are ids, counts and closed words: a filter, a name or a tag may be what an erasure removes.
    """
    owner = {"tenant_id": caller.tenant_id, "actor": caller.key_id}
    record_audit(session, **owner, action=action, subject=subject, details=details)
