"""Signing in and out, and the first page."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from api.admission import find_address
from api.dependencies import ServicesDep
from api.pages.forms import FormDep
from api.pages.held import Typed, hold, read_held
from api.pages.people import PersonDep, drop_cookie, make_token, read_cookie, set_cookie
from api.pages.router import OpenRoute, PageRouter, PageTransaction, find_person
from api.pages.session_end import FORM_S
from api.pages.templates import PLACES, render
from api.problems import Problem
from api.services import Services
from fakesieve.people.sessions import SESSION_S, NewSession, end_session, sign_in
from fakesieve.reasons import Reason

_GUESS_LETTERS_MAX = 500
_REFUSAL = (
    "That is not right: check the organisation, the address and the password. "
    "After too many wrong passwords an account stays shut for a while, except where its person has signed in "
    "of late."
)

open_router = PageRouter(OpenRoute)
router = PageRouter()


@open_router.get("/sign-in")
def show_sign_in(
    request: Request,
    services: ServicesDep,
    next_: Annotated[str, Query(alias="next", max_length=2000)] = "/",
) -> Response:
    """Show the form; who has signed in already goes on to where they wanted to go."""
    if find_person(request, services) is not None:
        return RedirectResponse(choose_target(next_), 303)
    return show_form(request, services, to=next_)


@open_router.post("/sign-in")
def take_sign_in(request: Request, form: FormDep, services: ServicesDep) -> Response:
    """Begin a session, under a new token, and go where the person wanted to go.

    What was typed into a form behind the end of the session before is given back first.
    """
    check_tries(request, services)
    organisation, email = form.read("organisation"), form.read("email")
    password = form.fields.get("password", ("",))[0]
    address = find_address(request)
    guess = f"{address} {organisation} {email.lower()}"[:_GUESS_LETTERS_MAX]
    if services.limits.guesses.is_empty(guess):
        raise Problem(
            Reason.RATE_LIMITED,
            "too many wrong passwords for this account from your network",
            hint="come back in a few minutes, or ask an admin for a new password",
            headers={"Retry-After": "90"},
        )
    begun = sign_in(services.database, organisation, email, password, address)
    held = read_held(form)
    if begun is None:
        services.limits.guesses.take(guess)
        page = show_form(
            request,
            services,
            to=form.read("next"),
            organisation=organisation,
            email=email,
            refusal=_REFUSAL,
            typed=held,
        )
        page.status_code = 401
        return page
    answer = begin_session(request, services, begun, form.read("next"))
    return give_back(request, answer, held) if held else answer


@router.post("/sign-out")
def take_sign_out(request: Request, person: PersonDep, session: PageTransaction) -> Response:
    """End the session on both sides."""
    end_session(session, person.token)
    answer = RedirectResponse("/sign-in", 303)
    drop_cookie(request, answer)
    answer.headers["Clear-Site-Data"] = '"cache", "storage"'
    return answer


@router.get("/")
def show_first(person: PersonDep) -> Response:
    """Go to the first page of the person's navigation."""
    return RedirectResponse(next(place.address for place in PLACES if person.may(place.role)), 303)


def begin_session(request: Request, services: Services, begun: NewSession, to: str) -> Response:
    """Give the browser a session that has begun, in place of the one that it may hold, which ends."""
    before = find_person(request, services)
    if before is not None:
        with services.database.transaction(tenant_id=before.tenant_id) as session:
            end_session(session, before.token)
    answer = RedirectResponse(choose_target(to), 303)
    set_cookie(request, answer, begun.token, SESSION_S)
    return answer


def give_back(request: Request, begun: Response, held: Typed) -> Response:
    """Show what was typed before signing in, and the way to where ``begun`` leads, with its cookie."""
    page = render(request, "given_back.html", typed=held, target=begun.headers["location"])
    page.headers["Set-Cookie"] = begun.headers["set-cookie"]
    return page


def choose_target(wanted: str) -> str:
    """Return where to go after signing in: a path of this host, whatever the address has asked for."""
    is_path = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if is_path and "\\" not in wanted else "/"


def check_tries(request: Request, services: Services) -> None:
    """Count one more try to sign in from an address. Raises ``Problem`` (RATE_LIMITED) after too many."""
    left = services.limits.strangers.take(find_address(request))
    if left.is_refused:
        raise Problem(
            Reason.RATE_LIMITED,
            "too many tries from this address",
            headers={"Retry-After": str(left.retry_s)},
        )


def show_form(
    request: Request,
    services: Services,
    *,
    to: str,
    organisation: str = "",
    email: str = "",
    refusal: str = "",
    typed: Typed = (),
) -> HTMLResponse:
    """Return the page with the form, and the way to the identity provider where there is one.

    A browser that we do not know yet gets a token to bind the form to; one with a session keeps it as it is.
    """
    token = read_cookie(request) or make_token()
    page = render(
        request,
        "sign_in.html",
        token=token,
        next=choose_target(to),
        organisation=organisation,
        email=email,
        refusal=refusal,
        typed=typed,
        held=hold(typed),
        provider=None if services.provider is None else services.provider.label,
        target_query=urlencode({"next": choose_target(to)}),
    )
    if find_person(request, services) is None:
        set_cookie(request, page, token, FORM_S)
    return page
