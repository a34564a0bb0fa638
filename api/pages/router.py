"""The router of all pages: who looks, may they, is the form ours; and every failure as a page of its own."""

from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from functools import partial
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from typing_extensions import override

from api.dependencies import ServicesDep, get_services
from api.pages.forms import UnreadForm, read_form
from api.pages.headers import guard
from api.pages.people import (
    FORM_FIELD,
    FORM_HEADER,
    Person,
    PersonDep,
    is_own_form,
    is_own_origin,
    read_cookie,
)
from api.pages.refusals import find_form_page, list_typed
from api.pages.session_end import ask_in, refuse_session
from api.pages.templates import render
from api.problems import RETRY_S, Problem, find_status, write_problem
from api.services import Services
from api.slots import STRANGERS
from fakesieve.errors import FleetError
from fakesieve.people.sessions import find_session
from fakesieve.reasons import Reason
from fakesieve.records.blind import ONLOOKER
from fakesieve.texts import is_storable
from fakesieve.values.people import UserRole

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_SAFE = frozenset({"GET", "HEAD"})
_TOKEN_LETTERS_MAX = 200


class OpenRoute(APIRoute):
    """A page for whoever comes."""

    @override
    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                await self.admit(request)
                answer = await self._do(request, handle)
            except _Stranger as stranger:
                answer = ask_in(request, stranger.unread)
            except (Problem, FleetError, RequestValidationError, HTTPException) as fault:
                answer = show_fault(request, fault)
            return guard(request, answer)

        return guarded

    async def _do(self, request: Request, handle: Handler) -> Response:
        """Do what is asked for in a turn. A refusal on the way undoes what was written, as any error does.

        The framework would end the transaction behind the page of the refusal, without knowing of one.
        """
        async with AsyncExitStack() as stack:
            # The transaction ends after the answer was made, so the turn ends with it.
            request.scope["fastapi_function_astack"] = stack
            await stack.enter_async_context(self.take_turn(request))
            request.state.has_begun = True
            return await handle(request)

    async def admit(self, request: Request) -> None:
        """Read the form of a request that changes something, and refuse one that no page of ours sent."""
        _check_address(request)
        if request.method in _SAFE:
            return
        form = await read_form(request)
        given = request.headers.get(FORM_HEADER) or form.read(FORM_FIELD)
        is_own = is_own_form(request, read_cookie(request) or "", given)
        if is_own or is_own_origin(request):
            request.state.sent = form
        if not is_own:
            raise Problem(
                Reason.MISSING_SCOPE,
                "this form does not belong to your session",
                hint="load the page again and send the form from there",
            )
        request.state.form = form

    def take_turn(self, request: Request) -> AbstractAsyncContextManager[None]:
        """Return what keeps a turn for the whole request."""
        return get_services(request).slots.hold(self.name_holder(request))

    def name_holder(self, request: Request) -> str:
        """Return whose turns this request takes: a tenant's, or those of strangers."""
        del request
        return STRANGERS


class FreeRoute(OpenRoute):
    """A page for whoever comes that takes its turns itself, as it asks another host in between."""

    @override
    def take_turn(self, request: Request) -> AbstractAsyncContextManager[None]:
        return nullcontext()


class PageRoute(OpenRoute):
    """A page for people who have signed in."""

    @override
    async def admit(self, request: Request) -> None:
        """Say who looks, hold them to their rate, and refuse a form that is not theirs, in this order.

        The form is read before all of it: without a database, or above the rate, its text is given back.
        """
        fault = None
        try:
            await super().admit(request)
        except Problem as refused:
            fault = refused
        try:
            await self._admit_person(request)
        except _Stranger as stranger:
            stranger.unread = fault if isinstance(fault, UnreadForm) else None
            raise
        if fault is not None:
            raise fault

    async def _admit_person(self, request: Request) -> None:
        services = get_services(request)
        person = await services.slots.look(partial(find_person, request, services))
        if person is None:
            raise _Stranger
        request.state.person = person
        left = services.limits.requests.take(person.id)
        if left.is_refused:
            seen = f"more than {left.rate.per_s:g} requests a second"
            raise Problem(Reason.RATE_LIMITED, seen, headers={"Retry-After": str(left.retry_s)})

    @override
    def name_holder(self, request: Request) -> str:
        return cast("Person", request.state.person).tenant_id


class PageRouter(APIRouter):
    """Pages for people who have signed in, or for whoever comes; none of them is in the API's document."""

    def __init__(self, route_class: type[OpenRoute] = PageRoute) -> None:
        super().__init__(route_class=route_class, include_in_schema=False)


class _Stranger(Exception):
    """Nobody has signed in; ``unread`` says why the form could not be read that they sent."""

    unread: UnreadForm | None = None


def find_person(request: Request, services: Services) -> Person | None:
    """Return who has signed in with this browser. Raises ``Unavailable`` without a database."""
    token = read_cookie(request)
    if token is None or len(token) > _TOKEN_LETTERS_MAX or not is_storable(token):
        return None
    found = find_session(services.database, token)
    if found is None:
        return None
    return Person(found.user_id, found.tenant_id, found.role, found.email, found.name, token)


def prove_person(request: Request, services: Services, person: Person) -> None:
    """Ask whether somebody is still signed in, in the same role. Raises ``Problem`` (UNAUTHENTICATED)."""
    found = find_person(request, services)
    if found is None or (found.id, found.role) != (person.id, person.role):
        raise refuse_session()


def open_transaction(person: PersonDep, services: ServicesDep) -> Generator[Session]:
    """Give a transaction that sees the rows of the person's tenant alone.

    From whoever may review it keeps what they are to judge without the score.
    """
    with services.database.transaction(tenant_id=person.tenant_id, viewer=name_viewer(person)) as session:
        yield session


def name_viewer(person: Person) -> str:
    """Return whose blind looks a transaction has to spare; whoever reviews nothing has none."""
    return person.id if person.may(UserRole.REVIEWER) else ONLOOKER


PageTransaction = Annotated[Session, Depends(open_transaction, scope="function")]


def _check_role(wanted: SecurityScopes, person: PersonDep) -> None:
    if not all(person.may(UserRole(role)) for role in wanted.scopes):
        raise Problem(
            Reason.MISSING_SCOPE,
            f"this is for the role {wanted.scopes[0]}; yours is {person.role}",
            hint="ask an admin of your organisation",
        )


def require_role(role: UserRole) -> Any:
    """Return a dependency that refuses people below a role."""
    return Security(_check_role, scopes=[role.value])


def show_fault(request: Request, fault: Exception) -> Response:
    """Return a failure as a page, or as a problem document for a module of ours that asked."""
    problem = _read_fault(fault)
    request.state.reason = problem.reason
    if "text/html" not in request.headers.get("accept", ""):
        return write_problem(request, problem)
    is_act = request.method not in _SAFE
    page = render(
        request,
        "fault.html",
        status=problem.status,
        problem=problem,
        is_act=is_act,
        is_certain=problem.status < 500 or not getattr(request.state, "has_begun", False),
        form_page=find_form_page(request) if is_act else None,
        typed=list_typed(request) if is_act else (),
    )
    if problem.status == find_status(Reason.DATABASE_UNAVAILABLE):
        page.headers["Retry-After"] = str(RETRY_S)
    page.headers.update(problem.headers)
    return page


def _read_fault(fault: Exception) -> Problem:
    match fault:
        case Problem():
            return fault
        case FleetError():
            return Problem(fault.reason, fault.seen, hint=fault.hint)
        case RequestValidationError():
            place = ".".join(str(part) for part in fault.errors()[0]["loc"][1:])[:100]
            return Problem(Reason.INVALID_REQUEST, f"{place or 'the request'} cannot be read")
        case HTTPException(status_code=405):
            return Problem(Reason.METHOD_NOT_ALLOWED, "this address does not take that method")
        case _:
            return Problem(Reason.NOT_FOUND, "there is nothing at this address")


def _check_address(request: Request) -> None:
    texts = [request.url.path, *(part for pair in request.query_params.multi_items() for part in pair)]
    if not all(map(is_storable, texts)):
        raise Problem(Reason.INVALID_REQUEST, "the address holds NUL or half of a character")
