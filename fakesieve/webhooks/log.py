"""The log of deliveries as a tenant reads it, and the event that only tries an endpoint out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.reasons import Reason
from fakesieve.records.webhooks import Event, WebhookAttempt, WebhookDelivery
from fakesieve.values.webhooks import DeliveryState, EventType
from fakesieve.webhooks.endpoints import load_endpoint


@dataclass(frozen=True)
class DeliveryLine:
    """A delivery with its event and its tries, the first one first."""

    delivery: WebhookDelivery
    event_type: EventType
    attempts: tuple[WebhookAttempt, ...]


def send_test(session: Session, tenant_id: str, endpoint_id: str) -> str:
    """Send an event to this endpoint alone, with one try; return the delivery's id.

    Raises RequestRefused: NOT_FOUND, or STATE_CONFLICT for an endpoint that is switched off.
    """
    if not load_endpoint(session, endpoint_id).is_enabled:
        raise RequestRefused(Reason.STATE_CONFLICT, f"{endpoint_id} is switched off", "enable it first")
    event_id, delivery_id = new_id(IdPrefix.EVENT), new_id(IdPrefix.DELIVERY)
    data = {"webhook_id": endpoint_id}
    event = {"id": event_id, "tenant_id": tenant_id, "type": EventType.TEST, "data": data}
    session.execute(insert(Event).values(**event, publish_time=func.now()).inline())
    row = {"id": delivery_id, "tenant_id": tenant_id, "endpoint_id": endpoint_id, "event_id": event_id}
    session.execute(insert(WebhookDelivery).values(**row, tries_left=1).inline())
    return delivery_id


def list_deliveries(
    session: Session,
    *,
    endpoint_id: str | None = None,
    state: DeliveryState | None = None,
    delivery_id: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 100,
) -> list[DeliveryLine]:
    """Return deliveries, newest first, behind a position."""
    delivery = WebhookDelivery
    wanted = select(delivery, Event.type).join(Event, Event.id == delivery.event_id)
    equal = {delivery.endpoint_id: endpoint_id, delivery.state: state, delivery.id: delivery_id}
    wanted = wanted.where(*[column == value for column, value in equal.items() if value is not None])
    if before is not None:
        wanted = wanted.where(func.row(delivery.create_time, delivery.id) < func.row(*before))
    newest = wanted.order_by(delivery.create_time.desc(), delivery.id.desc()).limit(limit)
    rows = session.execute(newest, execution_options={"populate_existing": True}).all()
    tries = _load_attempts(session, [row.WebhookDelivery.id for row in rows])
    return [
        DeliveryLine(row.WebhookDelivery, row.type, tuple(tries.get(row.WebhookDelivery.id, ())))
        for row in rows
    ]


def load_delivery(session: Session, delivery_id: str) -> DeliveryLine:
    """Return a delivery of the tenant at hand. Raises RequestRefused (NOT_FOUND)."""
    found = list_deliveries(session, delivery_id=delivery_id, limit=1)
    if not found:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no delivery {delivery_id}")
    return found[0]


def _load_attempts(session: Session, delivery_ids: Sequence[str]) -> dict[str, list[WebhookAttempt]]:
    wanted = select(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(delivery_ids))
    found: dict[str, list[WebhookAttempt]] = {}
    for row in session.scalars(
        wanted.order_by(WebhookAttempt.delivery_id, WebhookAttempt.number),
        execution_options={"populate_existing": True},
    ):
        found.setdefault(row.delivery_id, []).append(row)
    return found
