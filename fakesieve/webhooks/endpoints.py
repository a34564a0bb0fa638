"""Endpoints of webhooks: where a tenant is told, and the secrets that sign what it is told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.webhooks import WebhookDelivery, WebhookEndpoint, WebhookSecret
from fakesieve.values.webhooks import (
    OVERLAP_S,
    OVERLAP_S_MAX,
    DeliveryState,
    DisableReason,
    EndpointDraft,
)
from fakesieve.webhooks.addresses import AddressRules, read_url
from fakesieve.webhooks.sign import make_secret

ENDPOINTS_MAX = 20
SECRETS_MAX = 3


@dataclass(frozen=True)
class NewEndpoint:
    """An endpoint just made. ``secret`` is shown now and never again."""

    endpoint: WebhookEndpoint
    secret: str = field(repr=False)


def create_endpoint(
    session: Session, tenant_id: str, actor: str, draft: EndpointDraft, rules: AddressRules
) -> NewEndpoint:
    """Make an endpoint. Raises RequestRefused: URL_NOT_ALLOWED, or QUOTA_EXCEEDED over twenty."""
    read_url(draft.url, rules)
    there = session.scalar(select(func.count()).select_from(WebhookEndpoint)) or 0
    if there >= ENDPOINTS_MAX:
        raise RequestRefused(
            Reason.QUOTA_EXCEEDED, f"there are {there} endpoints already", "remove one that nobody needs"
        )
    endpoint = WebhookEndpoint(
        id=new_id(IdPrefix.WEBHOOK),
        tenant_id=tenant_id,
        url=draft.url,
        description=draft.description,
        event_types=sorted(draft.event_types),
    )
    session.add(endpoint)
    session.flush()
    secret = _add_secret(session, endpoint, 1)
    session.refresh(endpoint)
    _note(session, endpoint, actor, "webhook.created")
    return NewEndpoint(endpoint, secret)


def load_endpoint(session: Session, endpoint_id: str) -> WebhookEndpoint:
    """Return an endpoint of the tenant at hand. Raises RequestRefused (NOT_FOUND)."""
    endpoint = session.get(WebhookEndpoint, endpoint_id, populate_existing=True)
    if endpoint is None:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no webhook {endpoint_id}")
    return endpoint


def list_endpoints(
    session: Session, *, after: tuple[datetime, str] | None = None, limit: int = 100
) -> Sequence[WebhookEndpoint]:
    """Return endpoints, oldest first, behind a position."""
    wanted = select(WebhookEndpoint).order_by(WebhookEndpoint.create_time, WebhookEndpoint.id).limit(limit)
    if after is not None:
        place = func.row(WebhookEndpoint.create_time, WebhookEndpoint.id)
        wanted = wanted.where(place > func.row(*after))
    return session.scalars(wanted).all()


def change_endpoint(
    session: Session, endpoint_id: str, actor: str, draft: EndpointDraft, rules: AddressRules
) -> WebhookEndpoint:
    """Replace where and what; the secrets stay. Raises RequestRefused (URL_NOT_ALLOWED, NOT_FOUND)."""
    read_url(draft.url, rules)
    endpoint = load_endpoint(session, endpoint_id)
    endpoint.url, endpoint.description = draft.url, draft.description
    endpoint.event_types = sorted(draft.event_types)
    session.flush()
    _note(session, endpoint, actor, "webhook.changed")
    return endpoint


def enable_endpoint(session: Session, endpoint_id: str, actor: str) -> WebhookEndpoint:
    """Let an endpoint be told again of what happens from now on."""
    endpoint = load_endpoint(session, endpoint_id)
    if not endpoint.is_enabled:
        give_up_waiting(session, WebhookDelivery.endpoint_id == endpoint_id)
    endpoint.is_enabled, endpoint.disable_reason, endpoint.failing_since = True, None, None
    session.flush()
    _note(session, endpoint, actor, "webhook.enabled")
    return endpoint


def disable_endpoint(
    session: Session, endpoint_id: str, actor: str, reason: DisableReason = DisableReason.OWNER
) -> WebhookEndpoint:
    """Stop telling an endpoint; what waits for it ends as failed and can be sent again by hand."""
    endpoint = load_endpoint(session, endpoint_id)
    endpoint.is_enabled, endpoint.disable_reason = False, reason
    session.flush()
    give_up_waiting(session, WebhookDelivery.endpoint_id == endpoint_id)
    _note(session, endpoint, actor, "webhook.disabled")
    return endpoint


def give_up_waiting(session: Session, condition: ColumnElement[bool]) -> None:
    """End deliveries as failed that nobody will send: those that wait, and those whose sender has died."""
    is_lost = and_(WebhookDelivery.state == DeliveryState.LEASED, WebhookDelivery.lease_until < func.now())
    waits = or_(WebhookDelivery.state == DeliveryState.PENDING, is_lost)
    session.execute(
        update(WebhookDelivery)
        .where(condition, waits)
        .values(state=DeliveryState.FAILED, lease_until=None, end_time=func.now()),
        execution_options={"synchronize_session": False},
    )


def remove_endpoint(session: Session, endpoint_id: str, actor: str) -> None:
    """Remove an endpoint with its secrets and its log of deliveries."""
    endpoint = load_endpoint(session, endpoint_id)
    session.execute(delete(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id))
    _note(session, endpoint, actor, "webhook.removed")


def rotate_secret(session: Session, endpoint_id: str, actor: str, overlap_s: int = OVERLAP_S) -> str:
    """Return a new secret. The one before signs beside it for a while, so that no message is refused.

    At most three sign at a time, so that a rotation whose answer was lost may be made again; those before end
    now. Raises ValueError for an overlap over a week.
    """
    if not 0 <= overlap_s <= OVERLAP_S_MAX:
        raise ValueError("two secrets sign for at most a week")
    endpoint = load_endpoint(session, endpoint_id)
    # Two rotations at once would take the same number.
    session.execute(select(WebhookEndpoint.id).where(WebhookEndpoint.id == endpoint_id).with_for_update())
    newest = session.scalar(
        select(func.max(WebhookSecret.version)).where(WebhookSecret.endpoint_id == endpoint_id)
    )
    end_time = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, float(overlap_s))
    held = or_(WebhookSecret.expire_time.is_(None), WebhookSecret.expire_time > end_time)
    session.execute(
        update(WebhookSecret)
        .where(WebhookSecret.endpoint_id == endpoint_id, held)
        .values(expire_time=end_time),
        execution_options={"synchronize_session": False},
    )
    session.execute(
        delete(WebhookSecret).where(
            WebhookSecret.endpoint_id == endpoint_id,
            or_(
                WebhookSecret.expire_time <= func.now(),
                WebhookSecret.version <= (newest or 0) - (SECRETS_MAX - 1),
            ),
        ),
        execution_options={"synchronize_session": False},
    )
    secret = _add_secret(session, endpoint, (newest or 0) + 1)
    _note(session, endpoint, actor, "webhook.secret_rotated")
    return secret


def _add_secret(session: Session, endpoint: WebhookEndpoint, version: int) -> str:
    secret = make_secret()
    values = {"tenant_id": endpoint.tenant_id, "endpoint_id": endpoint.id, "version": version}
    session.execute(insert(WebhookSecret).values(**values, secret=secret))
    return secret


def _note(session: Session, endpoint: WebhookEndpoint, actor: str, action: str) -> None:
    record_audit(session, tenant_id=endpoint.tenant_id, actor=actor, action=action, subject=endpoint.id)
