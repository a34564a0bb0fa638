"""Signing in and out, and the first page."""

from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from api.dependencies import ServicesDep
from api.pages.forms import FormDep
from api.pages.people import PersonDep, drop_cookie, make_token, read_cookie, set_cookie
from api.pages.router import PageRouter, PageTransaction
from api.pages.templates import PLACES, render
from api.problems import Problem
from fakesieve.people.sessions import SESSION_S, end_session, sign_in
from fakesieve.reasons import Reason

_FORM_S = 3600
_REFUSAL = (
    "That is not right: check the organisation, the address and the password. "
    "After too many wrong passwords an account stays shut for a quarter of an hour."
)

open_router = PageRouter(is_open=True)
router = PageRouter()


@open_router.get("/sign-in")
def show_sign_in(
    request: Request, next_: Annotated[str, Query(alias="next", max_length=2000)] = "/"
) -> Response:
    """Show the form. A browser that we do not know yet gets a token to bind it to."""
    return _show_form(request, to=next_)


@open_router.post("/sign-in")
def take_sign_in(request: Request, form: FormDep, services: ServicesDep) -> Response:
    """Begin a session, under a new token, and go where the person wanted to go."""
    address = request.client.host if request.client else ""
    left = services.limits.strangers.take(address)
    if left.is_refused:
        raise Problem(
            Reason.RATE_LIMITED,
            "too many tries from this address",
            headers={"Retry-After": str(left.retry_s)},
        )
    organisation, email = form.read("organisation"), form.read("email")
    password = form.fields.get("password", ("",))[0]
    begun = sign_in(services.database, organisation, email, password)
    if begun is None:
        page = _show_form(
            request, to=form.read("next"), organisation=organisation, email=email, refusal=_REFUSAL
        )
        page.status_code = 401
        return page
    answer = RedirectResponse(choose_target(form.read("next")), 303)
    set_cookie(request, answer, begun.token, SESSION_S)
    return answer


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


def choose_target(wanted: str) -> str:
    """Return where to go after signing in: a path of this host, whatever the address has asked for."""
    is_path = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if is_path and "\\" not in wanted else "/"


def _show_form(
    request: Request, *, to: str, organisation: str = "", email: str = "", refusal: str = ""
) -> HTMLResponse:
    token = read_cookie(request) or make_token()
    page = render(
        request,
        "sign_in.html",
        token=token,
        next=choose_target(to),
        organisation=organisation,
        email=email,
        refusal=refusal,
    )
    set_cookie(request, page, token, _FORM_S)
    return page
