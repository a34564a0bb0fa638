"""Webhooks: addresses that are told of events, their secrets, and the log of telling them."""

from collections.abc import Mapping

from fastapi import Request, Response

from api.dependencies import ServicesDep
from api.pages.forms import Form, FormDep
from api.pages.notices import DoneDep, go_back
from api.pages.paging import LINES, PageToken, open_paging
from api.pages.people import Person, PersonDep
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.templates import render
from api.problems import Problem
from api.routes.webhooks import read_rules
from fakesieve.reasons import Reason
from fakesieve.values.people import UserRole
from fakesieve.values.webhooks import (
    OVERLAP_S,
    AttemptFault,
    DeliveryState,
    DisableReason,
    EndpointDraft,
    EventType,
)
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
from fakesieve.webhooks.log import list_deliveries, load_delivery, send_test

_ADMIN = [require_role(UserRole.ADMIN)]
_NOTICES = {
    "changed": "The webhook was changed.",
    "enabled": "It is told again of what happens from now on.",
    "disabled": "It is told nothing more. What waited for it has ended as failed.",
    "removed": "The webhook was removed with its log.",
    "test": "A test event is on its way. Load the page again in a moment.",
    "again": "The delivery is on its way again, under the same message id.",
}
DISABLED: Mapping[DisableReason, str] = {
    DisableReason.OWNER: "switched off by hand",
    DisableReason.GONE: "switched off: the receiver answered 410, so it is gone",
    DisableReason.FAILING: "switched off: nothing has arrived for days",
}
FAULTS: Mapping[AttemptFault, str] = {
    AttemptFault.URL_NOT_ALLOWED: "the address leads where nothing may be sent",
    AttemptFault.NAME_NOT_FOUND: "the name of the host was not found",
    AttemptFault.CONNECT_FAILED: "no connection",
    AttemptFault.TLS_FAILED: "TLS failed",
    AttemptFault.TIMEOUT: "no answer in time",
    AttemptFault.BROKEN_ANSWER: "the answer broke off",
    AttemptFault.REDIRECT: "it answered with another address, which is not followed",
    AttemptFault.STATUS: "it refused",
    AttemptFault.LOST: "the sender died; whether it arrived is unknown",
}

router = PageRouter()


@router.get("/webhooks", dependencies=_ADMIN)
def show_webhooks(request: Request, session: PageTransaction, done: DoneDep) -> Response:
    """Show the addresses."""
    return render(
        request,
        "webhooks.html",
        endpoints=list_endpoints(session),
        types=tuple(EventType),
        disabled=DISABLED,
        notice=done.say(_NOTICES),
    )


@router.post("/webhooks", dependencies=_ADMIN)
def take_webhook(
    request: Request, form: FormDep, person: PersonDep, services: ServicesDep, session: PageTransaction
) -> Response:
    """Register an address and show its secret, this once."""
    draft = _read_draft(form)
    made = create_endpoint(session, person.tenant_id, person.id, draft, read_rules(services))
    what = "messages to " + made.endpoint.url
    return render(
        request, "secret.html", secret=made.secret, what=what, back=f"/webhooks/{made.endpoint.id}", old=None
    )


@router.get("/webhooks/{webhook_id}", dependencies=_ADMIN)
def show_webhook(
    webhook_id: str,
    request: Request,
    person: PersonDep,
    services: ServicesDep,
    session: PageTransaction,
    done: DoneDep,
    state: DeliveryState | None = None,
    token: PageToken = "",
) -> Response:
    """Show one address with the log of its deliveries, newest first."""
    endpoint = load_endpoint(session, webhook_id)
    asked = {} if state is None else {"state": state.value}
    paging = open_paging(services, person, f"deliveries {webhook_id}", asked, token)
    lines = list_deliveries(
        session, endpoint_id=webhook_id, state=state, before=paging.time_and_id, limit=LINES + 1
    )
    shown, more = paging.cut(lines, lambda line: (line.delivery.create_time.isoformat(), line.delivery.id))
    return render(
        request,
        "webhook.html",
        endpoint=endpoint,
        types=tuple(EventType),
        disabled=DISABLED,
        faults=FAULTS,
        lines=shown,
        states=tuple(DeliveryState),
        state=state,
        ended=(DeliveryState.SUCCEEDED, DeliveryState.FAILED),
        more=more,
        notice=done.say(_NOTICES),
    )


@router.post("/webhooks/{webhook_id}/change", dependencies=_ADMIN)
def take_change(
    webhook_id: str, form: FormDep, person: PersonDep, services: ServicesDep, session: PageTransaction
) -> Response:
    """Replace address, types and description; the secret stays."""
    change_endpoint(session, webhook_id, person.id, _read_draft(form), read_rules(services))
    return _back(person, webhook_id, "changed")


@router.post("/webhooks/{webhook_id}/rotate", dependencies=_ADMIN)
def take_rotation(webhook_id: str, request: Request, person: PersonDep, session: PageTransaction) -> Response:
    """Make another secret and show it, this once. The one before signs beside it for a day."""
    endpoint = load_endpoint(session, webhook_id)
    secret = rotate_secret(session, webhook_id, person.id, OVERLAP_S)
    return render(
        request,
        "secret.html",
        secret=secret,
        what="messages to " + endpoint.url,
        back=f"/webhooks/{webhook_id}",
        old=f"The secret before signs beside it for {OVERLAP_S // 3600} hours.",
    )


@router.post("/webhooks/{webhook_id}/test", dependencies=_ADMIN)
def take_test(webhook_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """Send a test event to this address alone."""
    send_test(session, person.tenant_id, webhook_id)
    return _back(person, webhook_id, "test")


@router.post("/webhooks/{webhook_id}/enable", dependencies=_ADMIN)
def take_enabling(webhook_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """Tell the address again of what happens from now on."""
    enable_endpoint(session, webhook_id, person.id)
    return _back(person, webhook_id, "enabled")


@router.post("/webhooks/{webhook_id}/disable", dependencies=_ADMIN)
def take_disabling(webhook_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """Tell the address nothing more."""
    disable_endpoint(session, webhook_id, person.id)
    return _back(person, webhook_id, "disabled")


@router.post("/webhooks/{webhook_id}/remove", dependencies=_ADMIN)
def take_removal(webhook_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """Remove the address with its log."""
    remove_endpoint(session, webhook_id, person.id)
    return go_back(person, "/webhooks", "removed")


@router.post("/webhooks/deliveries/{delivery_id}/again", dependencies=_ADMIN)
def take_redelivery(delivery_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """Send an ended delivery again."""
    line = load_delivery(session, delivery_id)
    if not redeliver(session, delivery_id):
        raise Problem(Reason.STATE_CONFLICT, f"{delivery_id} is on its way, or its webhook is switched off")
    return _back(person, line.delivery.endpoint_id, "again")


def _read_draft(form: Form) -> EndpointDraft:
    try:
        types = tuple(EventType(value) for value in form.fields.get("type", ()))
        return EndpointDraft(form.read("url"), types, form.read("description"))
    except ValueError as fault:
        raise Problem(Reason.INVALID_REQUEST, str(fault)) from fault


def _back(person: Person, webhook_id: str, act: str) -> Response:
    return go_back(person, f"/webhooks/{webhook_id}", act)
