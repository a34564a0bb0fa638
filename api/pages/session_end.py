"""What a request is answered behind the end of its session: a way to sign in, beside what was typed."""

from urllib.parse import quote, urlencode

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from api.dependencies import get_services
from api.pages.held import hold
from api.pages.people import is_own_origin, make_token, read_cookie, set_cookie
from api.pages.refusals import find_form_page, list_typed
from api.pages.templates import render
from api.problems import Problem, write_problem
from fakesieve.reasons import Reason

FORM_S = 3600
"""So long a browser that nobody has signed in with may take over a form."""


def refuse_session() -> Problem:
    """Return the refusal of who has no session any more."""
    return Problem(Reason.UNAUTHENTICATED, "your session is over", hint="sign in again")


def ask_in(request: Request, unread: Problem | None = None) -> Response:
    """Lead to the sign-in: whoever opens a page and back to it, and whoever sends a form with its text.

    ``unread`` says why the form could not be read, where it could not.
    A module of ours that asked is told that the session is over.
    """
    if "text/html" not in request.headers.get("accept", ""):
        return write_problem(request, refuse_session())
    if request.method == "GET":
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?next={quote(back, safe='/')}", 303)
    if request.url.path == "/sign-out":  # what was wanted is so already
        return RedirectResponse("/sign-in", 303)
    return _keep_typed(request, unread)


def _keep_typed(request: Request, unread: Problem | None) -> Response:
    """Say that the session has ended and nothing was done, and ask for the password beside what was typed."""
    request.state.reason = Reason.UNAUTHENTICATED
    token = read_cookie(request)
    if token is None and is_own_origin(request):  # the browser dropped it at the end of its time
        token = make_token()
    typed, target = list_typed(request), find_form_page(request) or "/"
    provider = get_services(request).provider
    page = render(
        request,
        "session_end.html",
        status=refuse_session().status,
        token=token,
        next=target,
        typed=typed,
        held=hold(typed),
        unread=unread,
        provider=None if provider is None else provider.label,
        target_query=urlencode({"next": target}),
    )
    # Another site's form comes without the cookie, also of who has signed in: theirs is not to be replaced.
    if token is not None:
        set_cookie(request, page, token, FORM_S)
    return page
