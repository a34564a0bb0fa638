"""Webhooks: where a tenant is told of what happens, and the log of telling it."""

from typing import Annotated

from fastapi import Query, Request, Response

from api.acts import note_act
from api.dependencies import CallerDep, ServicesDep, Transaction, require_scope
from api.idempotency import keep_instead
from api.pagination import Page, PageQuery
from api.problems import Problem, describe_responses
from api.router import ApiRouter
from api.schemas.webhooks import (
    DeliveryOut,
    NewWebhookOut,
    RotateBody,
    SecretOut,
    TryOut,
    WebhookBody,
    WebhookOut,
)
from api.services import Services
from api.writing import read_before
from fakesieve.reasons import Reason
from fakesieve.records.webhooks import WebhookAttempt, WebhookEndpoint
from fakesieve.scopes import Scope
from fakesieve.settings import split_list
from fakesieve.values.webhooks import OVERLAP_S, DeliveryState, EventType
from fakesieve.webhooks.addresses import AddressRules
from fakesieve.webhooks.deliveries import redeliver
from fakesieve.webhooks.endpoints import (
    change_endpoint,
    create_endpoint,
    disable_endpoint,
    enable_endpoint,
    list_endpoints,
    load_endpoint,
    remove_endpoint,
    rotate_secret,
)
from fakesieve.webhooks.log import DeliveryLine, list_deliveries, load_delivery, send_test

router = ApiRouter(tags=["webhooks"])
_MAY = [require_scope(Scope.WEBHOOKS_WRITE)]
_CHANGED = describe_responses(Reason.STATE_CONFLICT, Reason.URL_NOT_ALLOWED, Reason.UNSUPPORTED_MEDIA_TYPE)


def read_rules(services: Services) -> AddressRules:
    """Return which addresses this installation may send to."""
    return AddressRules.allow(split_list(services.settings.webhook_networks))


@router.post("/v1/webhooks", status_code=201, dependencies=_MAY, responses=_CHANGED)
def create_webhook(
    body: WebhookBody,
    request: Request,
    response: Response,
    caller: CallerDep,
    services: ServicesDep,
    session: Transaction,
) -> NewWebhookOut:
    """Register an address. The answer shows the secret that messages are signed with, this once."""
    made = create_endpoint(session, caller.tenant_id, caller.key_id, body.read(), read_rules(services))
    shown = NewWebhookOut(**_write(made.endpoint).model_dump(exclude={"object"}), secret=None)
    keep_instead(request, shown)
    response.headers["Location"] = f"/v1/webhooks/{shown.id}"
    return shown.model_copy(update={"secret": made.secret})


@router.get("/v1/webhooks", dependencies=_MAY)
def list_webhooks(caller: CallerDep, session: Transaction, page: PageQuery) -> Page[WebhookOut]:
    """List addresses, oldest first."""
    query = page.bind(caller, "webhooks")
    lines = list_endpoints(session, after=read_before(query.position), limit=page.limit)
    return query.make(Page[WebhookOut], lines, _write, lambda line: (line.create_time.isoformat(), line.id))


@router.get("/v1/webhooks/deliveries", dependencies=_MAY)
def list_webhook_deliveries(
    caller: CallerDep,
    session: Transaction,
    page: PageQuery,
    webhook_id: Annotated[str | None, Query(max_length=100)] = None,
    state: DeliveryState | None = None,
) -> Page[DeliveryOut]:
    """List deliveries with their tries, newest first. The log goes back two weeks."""
    query = page.bind(caller, "webhook-deliveries", {"webhook_id": webhook_id, "state": state})
    lines = list_deliveries(
        session, endpoint_id=webhook_id, state=state, before=read_before(query.position), limit=page.limit
    )
    return query.make(
        Page[DeliveryOut],
        lines,
        _write_delivery,
        lambda line: (line.delivery.create_time.isoformat(), line.delivery.id),
    )


@router.get("/v1/webhooks/deliveries/{delivery_id}", dependencies=_MAY)
def show_webhook_delivery(delivery_id: str, session: Transaction) -> DeliveryOut:
    """Show a delivery."""
    return _write_delivery(load_delivery(session, delivery_id))


@router.post("/v1/webhooks/deliveries/{delivery_id}:redeliver", dependencies=_MAY, responses=_CHANGED)
def redeliver_webhook(delivery_id: str, caller: CallerDep, session: Transaction) -> DeliveryOut:
    """Send an ended delivery again, under the same message id."""
    load_delivery(session, delivery_id)
    if not redeliver(session, delivery_id):
        raise Problem(Reason.STATE_CONFLICT, f"{delivery_id} is on its way, or its webhook is switched off")
    note_act(session, caller, "webhook.redelivered", delivery_id)
    return _write_delivery(load_delivery(session, delivery_id))


@router.get("/v1/webhooks/{webhook_id}", dependencies=_MAY)
def show_webhook(webhook_id: str, session: Transaction) -> WebhookOut:
    """Show an address."""
    return _write(load_endpoint(session, webhook_id))


@router.put("/v1/webhooks/{webhook_id}", dependencies=_MAY, responses=_CHANGED)
def change_webhook(
    webhook_id: str, body: WebhookBody, caller: CallerDep, services: ServicesDep, session: Transaction
) -> WebhookOut:
    """Replace address, types and description; the secret stays."""
    return _write(change_endpoint(session, webhook_id, caller.key_id, body.read(), read_rules(services)))


@router.delete("/v1/webhooks/{webhook_id}", status_code=204, dependencies=_MAY)
def remove_webhook(webhook_id: str, caller: CallerDep, session: Transaction) -> Response:
    """Remove an address with its log."""
    remove_endpoint(session, webhook_id, caller.key_id)
    return Response(status_code=204)


@router.post("/v1/webhooks/{webhook_id}:enable", dependencies=_MAY, responses=_CHANGED)
def enable_webhook(webhook_id: str, caller: CallerDep, session: Transaction) -> WebhookOut:
    """Tell an address again of what happens from now on."""
    return _write(enable_endpoint(session, webhook_id, caller.key_id))


@router.post("/v1/webhooks/{webhook_id}:disable", dependencies=_MAY, responses=_CHANGED)
def disable_webhook(webhook_id: str, caller: CallerDep, session: Transaction) -> WebhookOut:
    """Tell an address nothing more; what waits for it ends as failed."""
    return _write(disable_endpoint(session, webhook_id, caller.key_id))


@router.post("/v1/webhooks/{webhook_id}:rotate", dependencies=_MAY, responses=_CHANGED)
def rotate_webhook_secret(
    webhook_id: str,
    request: Request,
    caller: CallerDep,
    session: Transaction,
    body: RotateBody | None = None,
) -> SecretOut:
    """Get a new secret, this once. The one before signs beside it for a while."""
    overlap_s = OVERLAP_S if body is None else body.overlap_s
    secret = rotate_secret(session, webhook_id, caller.key_id, overlap_s)
    keep_instead(request, SecretOut(webhook_id=webhook_id, secret=None))
    return SecretOut(webhook_id=webhook_id, secret=secret)


@router.post("/v1/webhooks/{webhook_id}:test", status_code=202, dependencies=_MAY, responses=_CHANGED)
def test_webhook(webhook_id: str, response: Response, caller: CallerDep, session: Transaction) -> DeliveryOut:
    """Send a message that only tries the address out, with one try."""
    delivery_id = send_test(session, caller.tenant_id, webhook_id)
    note_act(session, caller, "webhook.tested", webhook_id)
    response.headers["Location"] = f"/v1/webhooks/deliveries/{delivery_id}"
    return _write_delivery(load_delivery(session, delivery_id))


def _write(endpoint: WebhookEndpoint) -> WebhookOut:
    return WebhookOut(
        id=endpoint.id,
        url=endpoint.url,
        description=endpoint.description,
        event_types=[EventType(name) for name in endpoint.event_types],
        is_enabled=endpoint.is_enabled,
        disable_reason=endpoint.disable_reason,
        failing_since=endpoint.failing_since,
        create_time=endpoint.create_time,
    )


def _write_delivery(line: DeliveryLine) -> DeliveryOut:
    delivery = line.delivery
    return DeliveryOut(
        id=delivery.id,
        webhook_id=delivery.endpoint_id,
        event_id=delivery.event_id,
        event_type=line.event_type,
        state=delivery.state,
        attempts=[_write_try(attempt) for attempt in line.attempts],
        next_try_time=delivery.due_time if delivery.state is DeliveryState.PENDING else None,
        end_time=delivery.end_time,
        create_time=delivery.create_time,
    )


def _write_try(attempt: WebhookAttempt) -> TryOut:
    return TryOut(
        number=attempt.number,
        start_time=attempt.start_time,
        end_time=attempt.end_time,
        duration_ms=attempt.duration_ms,
        status=attempt.status,
        fault=attempt.fault,
        answer=attempt.answer,
    )
