"""Events: what happened, written in the transaction that made it true and told to receivers later."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from fakesieve.ids import IdPrefix, new_id
from fakesieve.records.webhooks import Event, WebhookEndpoint
from fakesieve.values.webhooks import EventType

PAYLOAD_BYTES_MAX = 20_000
LISTED_PER_S = 500
"""Events of a long list that become due in a second; a sender publishes several times as many."""
_ENVELOPE_BYTES = 200  # type, timestamp and braces around the data


def record_event(
    session: Session, tenant_id: str, kind: EventType, data: Mapping[str, object], *, delay_s: float = 0.0
) -> str:
    """Write down an event, to be sent no sooner than after the delay, and return its id.

    ``data`` is thin: ids and closed words, of which a receiver asks the API for more. Raises ValueError for
    data over 20 kB.
    """
    row = {"id": new_id(IdPrefix.EVENT), "tenant_id": tenant_id, "type": kind, "data": check_data(data)}
    due_time = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, delay_s)
    session.execute(insert(Event).values(**row, due_time=due_time).inline())
    return str(row["id"])


def record_events(
    session: Session,
    tenant_id: str,
    kind: EventType,
    data: Sequence[Mapping[str, object]],
    *,
    behind: int = 0,
) -> None:
    """Write down many events of one kind, where an endpoint of the tenant wants them.

    They become due one after another, some hundred a second, so that a long list does not keep what others
    are told waiting. ``behind`` is how many of the same list were written down before.
    """
    if not data or not _is_wanted(session, tenant_id, kind):
        return
    now = session.execute(select(func.now())).scalar_one()
    rows = [
        {
            "id": new_id(IdPrefix.EVENT),
            "tenant_id": tenant_id,
            "type": kind,
            "data": check_data(each),
            "due_time": now + timedelta(seconds=place / LISTED_PER_S),
        }
        for place, each in enumerate(data, behind)
    ]
    session.execute(insert(Event), rows)


def _is_wanted(session: Session, tenant_id: str, kind: EventType) -> bool:
    """Whether an endpoint of the tenant is told of such events; those that come later tell of later ones."""
    types = WebhookEndpoint.event_types
    wanted = select(WebhookEndpoint.id).where(
        WebhookEndpoint.tenant_id == tenant_id,
        WebhookEndpoint.is_enabled,
        or_(func.cardinality(types) == 0, types.contains([kind.value])),
    )
    return session.scalar(wanted.limit(1)) is not None


def withdraw_event(session: Session, key: str, value: str) -> bool:
    """Remove events whose data says so and that nobody was told of yet; False where there was none."""
    waiting = (
        select(Event.id)
        .where(Event.publish_time.is_(None), Event.data[key].astext == value)
        .with_for_update(skip_locked=True)
    )
    gone = session.scalars(delete(Event).where(Event.id.in_(waiting)).returning(Event.id))
    return bool(gone.all())


def check_data(data: Mapping[str, object]) -> dict[str, object]:
    """Return the data as it is kept. Raises ValueError for data over 20 kB."""
    size = len(_write_json(data).encode()) + _ENVELOPE_BYTES
    if size > PAYLOAD_BYTES_MAX:
        raise ValueError(f"an event of {size} bytes, over {PAYLOAD_BYTES_MAX}")
    return dict(data)


def write_payload(kind: EventType, create_time: datetime, data: Mapping[str, object]) -> bytes:
    """Return the body that is signed and sent: the same bytes each time it is asked for."""
    time = create_time.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return _write_json({"type": kind.value, "timestamp": time, "data": data}).encode()


def _write_json(value: Mapping[str, object]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
