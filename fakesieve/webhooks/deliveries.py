"""Deliveries: who sends one, what each try came to, and the log that a tenant reads.

A try is written down before anything is sent. If the sender dies, its lease runs out, the try is closed as
lost and the next one is made with the same message id: at least once, and never unnoticed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from fakesieve.records.webhooks import Event, WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookSecret
from fakesieve.values.webhooks import AttemptFault, DeliveryState, DisableReason, EventType
from fakesieve.webhooks.endpoints import disable_endpoint
from fakesieve.webhooks.schedule import FAILING_S, TRIES, choose_delay

FLEET_ACTOR = "fleet"
_GONE = 410
_PLAIN = {"synchronize_session": False}


@dataclass(frozen=True)
class DeliveryClaim:
    """A message to send now, under a fence. ``secrets`` are those that hold, the newest first."""

    delivery_id: str
    tenant_id: str
    endpoint_id: str
    fence: int
    attempt: int
    tries_left: int  # after this one
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    event_id: str
    event_type: EventType
    event_time: datetime
    data: Mapping[str, object]


@dataclass(frozen=True)
class SendResult:
    """What a try came to: the receiver's status, or why there is none."""

    status: int | None
    fault: AttemptFault | None
    duration_ms: int
    answer: str | None = None
    retry_after_s: float | None = None

    def __post_init__(self) -> None:
        if self.status is None and self.fault is None:
            raise ValueError("a try has a status or a fault")

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has it."""
        return self.fault is None and self.status is not None and 200 <= self.status < 300


# For each endpoint its own first few, so that a slow receiver with many waiting keeps nobody from theirs.
# Tenants take turns, each up to its share of what is on its way, for the sake of many slow receivers of one.
_FIND_DUE = text("""
WITH owned AS (
    SELECT tenant_id, count(*) AS busy FROM webhook_delivery
    WHERE state = 'leased' AND lease_until >= now() GROUP BY tenant_id
), waiting AS (
SELECT first.id, first.due_time, coalesce(owned.busy, 0)
    + row_number() OVER (PARTITION BY endpoint.tenant_id ORDER BY first.due_time) AS turn
FROM webhook_endpoint AS endpoint
LEFT JOIN owned ON owned.tenant_id = endpoint.tenant_id
CROSS JOIN LATERAL (
    SELECT count(*) AS busy FROM webhook_delivery
    WHERE endpoint_id = endpoint.id AND state = 'leased' AND lease_until >= now()
) AS held
CROSS JOIN LATERAL (
    (SELECT id, due_time FROM webhook_delivery
     WHERE endpoint_id = endpoint.id AND state = 'pending' AND due_time <= now()
     ORDER BY due_time LIMIT :per_endpoint)
    UNION ALL
    (SELECT id, due_time FROM webhook_delivery
     WHERE endpoint_id = endpoint.id AND state = 'leased' AND lease_until < now()
     LIMIT :per_endpoint)
    ORDER BY due_time LIMIT greatest(0, :per_endpoint - held.busy)
) AS first
WHERE endpoint.is_enabled
)
SELECT id FROM waiting WHERE turn <= :per_tenant ORDER BY turn, due_time LIMIT :limit
""")


def claim_deliveries(
    session: Session, *, limit: int, per_endpoint: int, per_tenant: int, lease_s: float
) -> list[DeliveryClaim]:
    """Take deliveries that are due, write down that each is tried, and return what to send.

    At most ``limit`` now, and all in all so many on their way to an endpoint and of a tenant.
    """
    shares = {"limit": limit, "per_endpoint": per_endpoint, "per_tenant": per_tenant}
    due = session.scalars(_FIND_DUE, shares).all()
    free = or_(WebhookDelivery.state == DeliveryState.PENDING, WebhookDelivery.lease_until < func.now())
    locked = (
        select(WebhookDelivery.id)
        .where(WebhookDelivery.id.in_(due), free, WebhookDelivery.end_time.is_(None))
        .with_for_update(skip_locked=True)
    )
    taken = (
        update(WebhookDelivery)
        .where(WebhookDelivery.id.in_(locked))
        .values(
            state=DeliveryState.LEASED,
            attempts=WebhookDelivery.attempts + 1,
            tries_left=func.greatest(0, WebhookDelivery.tries_left - 1),
            fence=WebhookDelivery.fence + 1,
            lease_until=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, lease_s),
        )
        .returning(WebhookDelivery.id)
    )
    ids = session.scalars(taken, execution_options=_PLAIN).all()
    if not ids:
        return []
    _close_lost(session, ids)
    claims = _read_claims(session, ids)
    rows = [
        {"tenant_id": claim.tenant_id, "delivery_id": claim.delivery_id, "number": claim.attempt}
        for claim in claims
    ]
    session.execute(insert(WebhookAttempt), rows)
    return claims


def finish_delivery(session: Session, claim: DeliveryClaim, result: SendResult) -> DeliveryState | None:
    """Write down what a try came to; return where the delivery stands, None when another sender has it."""
    state, delay_s = _judge(claim, result)
    if state is DeliveryState.PENDING and not _is_told(session, claim.endpoint_id):
        state = DeliveryState.FAILED
    is_mine = (
        WebhookDelivery.id == claim.delivery_id,
        WebhookDelivery.fence == claim.fence,
        WebhookDelivery.state == DeliveryState.LEASED,
    )
    values = {
        "state": state,
        "lease_until": None,
        "last_status": result.status,
        "end_time": None if state is DeliveryState.PENDING else func.now(),
        "due_time": func.now() + func.make_interval(0, 0, 0, 0, 0, 0, delay_s),
    }
    written = update(WebhookDelivery).where(*is_mine).values(values).returning(WebhookDelivery.id)
    if session.scalar(written, execution_options=_PLAIN) is None:
        return None
    _close_attempt(session, claim, result)
    _rate_endpoint(session, claim, result, state)
    return state


def redeliver(session: Session, delivery_id: str) -> bool:
    """Send an ended delivery again, with all its tries; False where it has not ended or is not there."""
    again = (
        update(WebhookDelivery)
        .where(
            WebhookDelivery.id == delivery_id,
            WebhookDelivery.state.in_((DeliveryState.SUCCEEDED, DeliveryState.FAILED)),
            WebhookDelivery.endpoint_id.in_(select(WebhookEndpoint.id).where(WebhookEndpoint.is_enabled)),
        )
        .values(state=DeliveryState.PENDING, end_time=None, due_time=func.now(), tries_left=TRIES)
        .returning(WebhookDelivery.id)
    )
    return session.scalar(again, execution_options=_PLAIN) is not None


def _judge(claim: DeliveryClaim, result: SendResult) -> tuple[DeliveryState, float]:
    if result.is_delivered:
        return DeliveryState.SUCCEEDED, 0.0
    if result.status == _GONE or claim.tries_left == 0 or claim.event_type is EventType.TEST:
        return DeliveryState.FAILED, 0.0
    return DeliveryState.PENDING, choose_delay(TRIES - claim.tries_left, result.retry_after_s)


def _is_told(session: Session, endpoint_id: str) -> bool:
    """Whether an endpoint is still told of anything: it may be switched off while a message goes out."""
    return bool(session.scalar(select(WebhookEndpoint.is_enabled).where(WebhookEndpoint.id == endpoint_id)))


def _close_attempt(session: Session, claim: DeliveryClaim, result: SendResult) -> None:
    session.execute(
        update(WebhookAttempt)
        .where(WebhookAttempt.delivery_id == claim.delivery_id, WebhookAttempt.number == claim.attempt)
        .values(
            end_time=func.now(),
            duration_ms=result.duration_ms,
            status=result.status,
            fault=result.fault,
            answer=result.answer,
        ),
        execution_options=_PLAIN,
    )


def _close_lost(session: Session, delivery_ids: Sequence[str]) -> None:
    session.execute(
        update(WebhookAttempt)
        .where(WebhookAttempt.delivery_id.in_(delivery_ids), WebhookAttempt.end_time.is_(None))
        .values(end_time=func.now(), fault=AttemptFault.LOST),
        execution_options=_PLAIN,
    )


def _rate_endpoint(session: Session, claim: DeliveryClaim, result: SendResult, state: DeliveryState) -> None:
    """Note since when nothing arrives, and switch off an endpoint that is gone or has failed for days."""
    mine = WebhookEndpoint.id == claim.endpoint_id
    if result.is_delivered:
        session.execute(
            update(WebhookEndpoint)
            .where(mine, WebhookEndpoint.failing_since.is_not(None))
            .values(failing_since=None),
            execution_options=_PLAIN,
        )
        return
    session.execute(
        update(WebhookEndpoint)
        .where(mine, WebhookEndpoint.failing_since.is_(None))
        .values(failing_since=func.now()),
        execution_options=_PLAIN,
    )
    if result.status == _GONE:
        disable_endpoint(session, claim.endpoint_id, FLEET_ACTOR, DisableReason.GONE)
    elif state is DeliveryState.FAILED:
        since = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, FAILING_S)
        wanted = select(WebhookEndpoint.id).where(
            mine, WebhookEndpoint.is_enabled, WebhookEndpoint.failing_since < since
        )
        if session.scalar(wanted) is not None:
            disable_endpoint(session, claim.endpoint_id, FLEET_ACTOR, DisableReason.FAILING)


def _read_claims(session: Session, delivery_ids: Sequence[str]) -> list[DeliveryClaim]:
    rows = session.execute(
        select(WebhookDelivery, WebhookEndpoint.url, Event.type, Event.create_time, Event.data)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .join(Event, Event.id == WebhookDelivery.event_id)
        .where(WebhookDelivery.id.in_(delivery_ids)),
        execution_options={"populate_existing": True},
    ).all()
    secrets = _load_secrets(session, {row.WebhookDelivery.endpoint_id for row in rows})
    return [
        DeliveryClaim(
            delivery_id=row.WebhookDelivery.id,
            tenant_id=row.WebhookDelivery.tenant_id,
            endpoint_id=row.WebhookDelivery.endpoint_id,
            fence=row.WebhookDelivery.fence,
            attempt=row.WebhookDelivery.attempts,
            tries_left=row.WebhookDelivery.tries_left,
            url=row.url,
            secrets=tuple(secrets[row.WebhookDelivery.endpoint_id]),
            event_id=row.WebhookDelivery.event_id,
            event_type=row.type,
            event_time=row.create_time,
            data=row.data,
        )
        for row in rows
    ]


def _load_secrets(session: Session, endpoint_ids: set[str]) -> dict[str, list[str]]:
    holds = or_(WebhookSecret.expire_time.is_(None), WebhookSecret.expire_time > func.now())
    wanted = select(WebhookSecret.endpoint_id, WebhookSecret.secret).where(
        WebhookSecret.endpoint_id.in_(endpoint_ids), holds
    )
    found: dict[str, list[str]] = {endpoint_id: [] for endpoint_id in endpoint_ids}
    for row in session.execute(wanted.order_by(WebhookSecret.version.desc())):
        found[row.endpoint_id].append(row.secret)
    return found
