"""Tables of events and of webhooks: endpoints, their secrets, deliveries, and each try at one."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, func, text, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from fakesieve.ids import IdPrefix
from fakesieve.records.table import (
    Base,
    CreateTime,
    Id,
    JsonObject,
    TenantOwned,
    choice,
    public_id,
    tenant_key,
)
from fakesieve.values.webhooks import AttemptFault, DeliveryState, DisableReason, EventType

_OFTEN_WRITTEN = {"fillfactor": "70", "autovacuum_vacuum_scale_factor": "0.01"}


class Event(TenantOwned, CreateTime, Base):
    """Something that happened, in the form in which receivers get it.

    ``outbox_id`` is the row of the outbox that it was made from. It is published when its deliveries are
    written, not before ``due_time``.
    """

    __tablename__ = "event"
    __table_args__ = (
        UniqueConstraint("outbox_id"),
        Index("ix_event_waiting", "due_time", postgresql_where=text("publish_time IS NULL")),
        Index(None, "tenant_id", "create_time", "id"),
        Index(None, "create_time"),
        {"postgresql_with": _OFTEN_WRITTEN},
    )

    id: Mapped[Id] = public_id(IdPrefix.EVENT)
    type: Mapped[EventType] = mapped_column(choice(EventType))
    data: Mapped[JsonObject]
    outbox_id: Mapped[int | None]
    due_time: Mapped[datetime] = mapped_column(server_default=func.now())
    publish_time: Mapped[datetime | None]


class WebhookEndpoint(TenantOwned, CreateTime, Base):
    """Where a tenant wants to be told. An empty list of types means all of them."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (
        tenant_key(),
        CheckConstraint("is_enabled = (disable_reason IS NULL)", name="has_disable_reason"),
        CheckConstraint("length(url) BETWEEN 1 AND 2000", name="url"),
        Index(None, "tenant_id", "create_time", "id"),
    )

    id: Mapped[Id] = public_id(IdPrefix.WEBHOOK)
    url: Mapped[str]
    description: Mapped[str]
    event_types: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    is_enabled: Mapped[bool] = mapped_column(server_default=true())
    disable_reason: Mapped[DisableReason | None] = mapped_column(choice(DisableReason))
    failing_since: Mapped[datetime | None]


class WebhookSecret(TenantOwned, CreateTime, Base):
    """What messages are signed with. Of two that hold, both sign, until the older one's time is over."""

    __tablename__ = "webhook_secret"

    endpoint_id: Mapped[Id] = mapped_column(
        ForeignKey("webhook_endpoint.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    secret: Mapped[str]
    expire_time: Mapped[datetime | None]


class WebhookDelivery(TenantOwned, CreateTime, Base):
    """One event on its way to one endpoint, and the lease of whoever sends it."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        UniqueConstraint("endpoint_id", "event_id"),
        CheckConstraint("(state = 'leased') = (lease_until IS NOT NULL)", name="lease_until"),
        CheckConstraint("(end_time IS NULL) = (state IN ('pending', 'leased'))", name="end_time"),
        Index(
            "ix_webhook_delivery_due", "endpoint_id", "due_time", postgresql_where=text("state = 'pending'")
        ),
        Index("ix_webhook_delivery_leased", "lease_until", postgresql_where=text("state = 'leased'")),
        Index(None, "event_id"),
        Index(None, "tenant_id", "create_time", "id"),
        {"postgresql_with": _OFTEN_WRITTEN},
    )

    id: Mapped[Id] = public_id(IdPrefix.DELIVERY)
    endpoint_id: Mapped[Id] = mapped_column(ForeignKey("webhook_endpoint.id", ondelete="CASCADE"))
    event_id: Mapped[Id] = mapped_column(ForeignKey("event.id", ondelete="CASCADE"))
    state: Mapped[DeliveryState] = mapped_column(
        choice(DeliveryState), server_default=DeliveryState.PENDING.value
    )
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    fence: Mapped[int] = mapped_column(server_default=text("0"))
    tries_left: Mapped[int] = mapped_column(Integer)
    due_time: Mapped[datetime] = mapped_column(server_default=func.now())
    lease_until: Mapped[datetime | None]
    end_time: Mapped[datetime | None]
    last_status: Mapped[int | None] = mapped_column(Integer)


class WebhookAttempt(TenantOwned, Base):
    """One try at a delivery, written before anything is sent and closed when it is known how it went."""

    __tablename__ = "webhook_attempt"
    __table_args__ = (
        CheckConstraint("end_time IS NOT NULL OR (status IS NULL AND fault IS NULL)", name="end_time"),
        {"postgresql_with": _OFTEN_WRITTEN},
    )

    delivery_id: Mapped[Id] = mapped_column(
        ForeignKey("webhook_delivery.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    start_time: Mapped[datetime] = mapped_column(server_default=func.now())
    end_time: Mapped[datetime | None]
    duration_ms: Mapped[int | None]
    status: Mapped[int | None] = mapped_column(Integer)
    fault: Mapped[AttemptFault | None] = mapped_column(choice(AttemptFault))
    answer: Mapped[str | None]  # the beginning of the body
