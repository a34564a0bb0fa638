"""From events to deliveries: who has to be told of what."""

from collections.abc import Sequence

from sqlalchemy import Row, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from fakesieve.ids import IdPrefix, new_id
from fakesieve.records.jobs import DOORBELL_TOPIC, Outbox
from fakesieve.records.table import Id
from fakesieve.records.webhooks import Event, WebhookDelivery, WebhookEndpoint
from fakesieve.values.webhooks import DeliveryState, EventType
from fakesieve.webhooks.endpoints import give_up_waiting
from fakesieve.webhooks.schedule import TRIES

STEP_ROWS = 200
EVENT_AGE_S = 14 * 86_400.0
Wanted = Row[Id, Id, list[str]]
_KNOWN = frozenset(EventType)
_PLAIN = {"synchronize_session": False}


def take_job_events(session: Session, limit: int = STEP_ROWS) -> int:
    """Move what jobs have announced from the outbox to the events; return how many rows left the outbox.

    Only what somebody wants to be told of becomes an event: most fleets have no webhook at all.
    """
    waiting = (
        select(Outbox.id)
        .where(Outbox.topic != DOORBELL_TOPIC, Outbox.publish_time.is_(None))
        .order_by(Outbox.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    columns = (Outbox.id, Outbox.tenant_id, Outbox.topic, Outbox.payload, Outbox.create_time)
    taken = session.execute(
        delete(Outbox).where(Outbox.id.in_(waiting)).returning(*columns), execution_options=_PLAIN
    ).all()
    wanted = _find_wanted(session, {row.tenant_id for row in taken})
    rows: list[dict[str, object]] = [
        {
            "id": new_id(IdPrefix.EVENT),
            "tenant_id": row.tenant_id,
            "type": row.topic,
            "data": {} if row.payload is None else row.payload,
            "outbox_id": row.id,
            "create_time": row.create_time,
        }
        for row in taken
        if row.topic in _KNOWN and _is_wanted(wanted, row.tenant_id, row.topic)
    ]
    if rows:
        session.execute(insert(Event).on_conflict_do_nothing(), rows)
    return len(taken)


def publish_events(session: Session, limit: int = STEP_ROWS) -> int:
    """Write a delivery for each endpoint that wants an event that is due; return how many these were."""
    due = session.execute(
        select(Event.id, Event.tenant_id, Event.type)
        .where(Event.publish_time.is_(None), Event.due_time <= func.now())
        .order_by(Event.due_time, Event.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    wanted = _find_wanted(session, {row.tenant_id for row in due})
    rows = [
        {
            "id": new_id(IdPrefix.DELIVERY),
            "tenant_id": event.tenant_id,
            "endpoint_id": endpoint.id,
            "event_id": event.id,
            "tries_left": TRIES,
        }
        for event in due
        for endpoint in wanted.get(event.tenant_id, ())
        if not endpoint.event_types or event.type in endpoint.event_types
    ]
    if rows:
        session.execute(insert(WebhookDelivery).on_conflict_do_nothing(), rows)
    published = update(Event).where(Event.id.in_([event.id for event in due])).values(publish_time=func.now())
    if due:
        session.execute(published, execution_options=_PLAIN)
    return len(due)


def purge_events(session: Session, age_s: float = EVENT_AGE_S, limit: int = STEP_ROWS) -> int:
    """Remove events, with the log of their deliveries, that nobody waits for any more; return how many.

    What is left of endpoints that were switched off, while a message was on its way, ends before.
    """
    disabled = select(WebhookEndpoint.id).where(~WebhookEndpoint.is_enabled)
    give_up_waiting(session, WebhookDelivery.endpoint_id.in_(disabled))
    is_open = exists().where(
        WebhookDelivery.event_id == Event.id,
        WebhookDelivery.state.in_((DeliveryState.PENDING, DeliveryState.LEASED)),
    )
    is_old = Event.create_time < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, age_s)
    old = (
        select(Event.id)
        .where(is_old, or_(Event.publish_time.is_not(None), Event.due_time < func.now()), ~is_open)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    gone = delete(Event).where(Event.id.in_(old)).returning(Event.id)
    return len(session.execute(gone, execution_options=_PLAIN).all())


def _find_wanted(session: Session, tenant_ids: set[str]) -> dict[str, Sequence[Wanted]]:
    if not tenant_ids:
        return {}
    found: dict[str, list[Wanted]] = {}
    endpoints = select(WebhookEndpoint.id, WebhookEndpoint.tenant_id, WebhookEndpoint.event_types).where(
        WebhookEndpoint.tenant_id.in_(tenant_ids), WebhookEndpoint.is_enabled
    )
    for row in session.execute(endpoints):
        found.setdefault(row.tenant_id, []).append(row)
    return dict(found)


def _is_wanted(wanted: dict[str, Sequence[Wanted]], tenant_id: str, topic: str) -> bool:
    return any(not row.event_types or topic in row.event_types for row in wanted.get(tenant_id, ()))
