"""Whose request it is: the key in ``Authorization: Bearer``, and nowhere else."""

import re

from starlette.requests import HTTPConnection

from api.problems import Problem
from api.services import Services
from fakesieve.reasons import Reason
from fakesieve.records.tenants import Caller, find_caller

_KEY = re.compile(r"fsk_[0-9a-f]{64}")


def read_secret(request: HTTPConnection) -> str:
    """Return the key of a request. Raises ``Problem`` (UNAUTHENTICATED) for none, and for no key of ours."""
    header = request.headers.get("authorization", "")
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise Problem(Reason.UNAUTHENTICATED, "the request carries no key")
    if not _KEY.fullmatch(secret):
        raise refuse_key()
    return secret


def authenticate(secret: str, services: Services) -> Caller:
    """Return the caller. Raises ``Problem`` (UNAUTHENTICATED) for a wrong key or one that has ended.

    All of these read the same, so that nobody learns which keys there were.
    """
    with services.database.transaction(tenant_id=None) as session:
        caller = find_caller(session, secret)
    if caller is None:
        raise refuse_key()
    return caller


def refuse_key() -> Problem:
    """Return the answer to every key that is not right."""
    return Problem(Reason.UNAUTHENTICATED, "the key is unknown, revoked or expired")
