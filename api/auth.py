"""Whose request it is: the key in ``Authorization: Bearer``, and nowhere else."""

import re

from starlette.requests import HTTPConnection

from api.problems import Problem
from api.services import Services
from fakesieve.reasons import Reason
from fakesieve.records.tenants import Caller, find_caller

_KEY = re.compile(r"fsk_[0-9a-f]{64}")


def authenticate(request: HTTPConnection, services: Services) -> Caller:
    """Return the caller. Raises ``Problem`` (UNAUTHENTICATED) for no key, a wrong one or one that has ended.

    All of these read the same, so that nobody learns which keys there were.
    """
    header = request.headers.get("authorization", "")
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise Problem(Reason.UNAUTHENTICATED, "the request carries no key")
    caller = None
    if _KEY.fullmatch(secret):
        with services.database.transaction(tenant_id=None) as session:
            caller = find_caller(session, secret)
    if caller is None:
        raise Problem(Reason.UNAUTHENTICATED, "the key is unknown, revoked or expired")
    return caller
