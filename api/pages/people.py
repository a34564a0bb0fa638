"""Who looks at a page: a person of a tenant who has signed in, known by a cookie that says nothing itself."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Annotated, cast

from fastapi import Depends, Request, Response
from starlette.datastructures import URL

from fakesieve.values.people import UserRole

_PLAIN_COOKIE = "fakesieve"
_SECURE_COOKIE = "__Host-fakesieve"  # the browser takes it over TLS alone, for this host and all its paths
_RANKS = {role: rank for rank, role in enumerate(UserRole)}
FORM_FIELD = "form_token"
FORM_HEADER = "x-form-token"


@dataclass(frozen=True)
class Person:
    """A person who has signed in. ``token`` is what their cookie holds."""

    id: str
    tenant_id: str
    role: UserRole
    email: str
    name: str
    token: str = field(repr=False)

    def may(self, role: UserRole) -> bool:
        """Whether they may do what such a person may."""
        return _RANKS[self.role] >= _RANKS[role]


def get_person(request: Request) -> Person:
    """Return who looks at the page; ``PageRoute`` has found out before."""
    return cast("Person", request.state.person)


PersonDep = Annotated[Person, Depends(get_person)]


def read_cookie(request: Request) -> str | None:
    """Return what the browser holds of us: a token of a session, or one that only binds forms."""
    return request.cookies.get(_name_cookie(request.url)) or None


def set_cookie(request: Request, answer: Response, token: str, age_s: int) -> None:
    """Give the browser a token: no script may read it, and no other site's request carries it."""
    is_secure = request.url.scheme == "https"
    answer.set_cookie(
        _name_cookie(request.url),
        token,
        max_age=age_s,
        path="/",
        secure=is_secure,
        httponly=True,
        samesite="lax",
    )


def drop_cookie(request: Request, answer: Response) -> None:
    """Take the token back."""
    set_cookie(request, answer, "", 0)


def read_ticket(request: Request) -> str | None:
    """Return what the browser holds while its person is at the identity provider."""
    return request.cookies.get(_name_ticket(request.url)) or None


def set_ticket(request: Request, answer: Response, ticket: str, age_s: int) -> None:
    """Give the browser what binds an answer of the provider to it; it comes back with the way back alone."""
    answer.set_cookie(
        _name_ticket(request.url),
        ticket,
        max_age=age_s,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def drop_ticket(request: Request, answer: Response) -> None:
    """Take it back: it is good for one answer."""
    set_ticket(request, answer, "", 0)


def make_token() -> str:
    """Return a token for a browser of which nobody is known yet."""
    return secrets.token_urlsafe(32)


def sign_form(token: str) -> str:
    """Return what a form carries to show that it is from a page of ours, made for the browser with a token.

    Whoever lacks the token, another site above all, can neither read nor compute it.
    """
    return hashlib.sha256(b"fakesieve form " + token.encode("utf-8", "replace")).hexdigest()


def is_own_form(request: Request, token: str, given: str) -> bool:
    """Whether a request comes from a page of ours: it carries the form's token and names no other origin."""
    if "origin" in request.headers and not is_own_origin(request):
        return False
    return hmac.compare_digest(sign_form(token).encode(), given.encode("utf-8", "replace"))


def is_own_origin(request: Request) -> bool:
    """Whether the browser says that a page of ours has sent the request: no other site can make it say so."""
    return request.headers.get("origin") == _name_origin(request.url)


def _name_cookie(url: URL) -> str:
    return _SECURE_COOKIE if url.scheme == "https" else _PLAIN_COOKIE


def _name_ticket(url: URL) -> str:
    return f"{_name_cookie(url)}-ticket"


def _name_origin(url: URL) -> str:
    return f"{url.scheme}://{url.netloc}"
