"""Signing in at the identity provider: there, and back with its answer.

The provider is asked without a turn and without a connection, so that a slow one keeps nobody else waiting.
"""

import json
import time
from dataclasses import dataclass
from functools import partial
from typing import Annotated, cast

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse

from api.dependencies import ServicesDep
from api.pages.people import drop_ticket, read_ticket, set_ticket
from api.pages.router import FreeRoute, PageRouter
from api.pages.routes.sign_in import begin_session, check_tries, choose_target, show_form
from api.pagination import read_token, sign_token
from api.problems import Problem, not_found
from api.services import Services
from api.slots import STRANGERS
from api.tickets import ProviderAway, SignInProvider, Ticket
from fakesieve.errors import RequestRefused
from fakesieve.people.provider import Identity, sign_in_by_provider

TICKET_S = 600
"""How long somebody may take at the provider."""
_BINDING = json.dumps("sign-in at the provider")
_LETTERS_MAX = 4000
_Text = Annotated[str, Query(max_length=_LETTERS_MAX)]

open_router = PageRouter(FreeRoute)


@dataclass(frozen=True)
class _Way:
    """What a browser holds while its person is at the provider."""

    ticket: Ticket
    target: str


@open_router.get("/sign-in/provider")
async def begin_at_provider(
    request: Request,
    services: ServicesDep,
    next_: Annotated[str, Query(alias="next", max_length=2000)] = "/",
) -> Response:
    """Send the browser to the provider, with what binds the answer to it."""
    provider = _find(services)
    check_tries(request, services)
    ticket = Ticket.make()
    try:
        url = await services.slots.talk(partial(provider.client.begin, ticket))
    except ProviderAway as fault:
        return await _refuse(
            request, services, choose_target(next_), f"Sign in with a password: {fault}.", 503
        )
    answer = RedirectResponse(url, 303)
    position = [int(time.time()), ticket.state, ticket.nonce, ticket.verifier, choose_target(next_)]
    set_ticket(request, answer, sign_token(services.token_key, position, _BINDING), TICKET_S)
    return answer


@open_router.get("/sign-in/callback")
async def take_answer(
    request: Request,
    services: ServicesDep,
    state: _Text = "",
    code: _Text = "",
    error: _Text = "",
    iss: _Text = "",
) -> Response:
    """Take the answer of the provider, begin a session, and go where the person wanted to go."""
    provider = _find(services)
    check_tries(request, services)
    way = _read_way(request, services)
    if way is None:
        said = "This sign-in was not begun in this browser, or too long ago."
        return await _refuse(request, services, "/", said, 400)
    given = {"state": state, "code": code, "error": error, "iss": iss}
    answer = {name: text for name, text in given.items() if text}
    try:
        identity = await services.slots.talk(partial(provider.client.finish, way.ticket, answer))
        begin = partial(_begin, request, services, provider, identity, way.target)
        return await services.slots.run(begin, STRANGERS)
    except ProviderAway as fault:
        return await _refuse(request, services, way.target, f"Sign in with a password: {fault}.", 503)
    except RequestRefused as fault:
        said = f"{fault.seen[:1].upper()}{fault.seen[1:]}: {fault.hint}."
        return await _refuse(request, services, way.target, said, 401)


def _begin(
    request: Request, services: Services, provider: SignInProvider, identity: Identity, target: str
) -> Response:
    """Begin a session of whoever the provider has named."""
    begun = sign_in_by_provider(services.database, provider.tenant, identity, provider.roles)
    answer = begin_session(request, services, begun, target)
    drop_ticket(request, answer)
    return answer


def _find(services: Services) -> SignInProvider:
    if services.provider is None:
        raise not_found("identity provider of", "this installation")
    return services.provider


def _read_way(request: Request, services: Services) -> _Way | None:
    """Return what this browser was sent away with, None where it holds nothing of ours or for too long."""
    try:
        position = read_token(services.token_key, read_ticket(request) or "", _BINDING)
        begun_s, state, nonce, verifier, target = cast("tuple[int, str, str, str, str]", position)
    except (Problem, ValueError):
        return None
    if time.time() - begun_s > TICKET_S:
        return None
    return _Way(Ticket(state, nonce, verifier), choose_target(target))


async def _refuse(request: Request, services: Services, target: str, said: str, status: int) -> Response:
    show = partial(show_form, request, services, to=target, refusal=said)
    page = await services.slots.run(show, STRANGERS)
    page.status_code = status
    drop_ticket(request, page)
    return page
