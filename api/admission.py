"""Who may ask now: whose key a request carries, and whether that key has requests left.

A key that was right before is known in memory. That lets nobody in, but it spares a question: the first
statement of the transaction that a GET begins asks whether the key still is, and one that is over its rate
is refused before anything else is looked at.
"""

from functools import partial
from typing import cast

from fastapi import Request

from api.auth import authenticate, read_secret
from api.dependencies import Unproved, check_rights
from api.limits import Left, RequestLimits, name_address
from api.problems import Problem
from api.services import Services
from fakesieve.errors import FleetError
from fakesieve.logging import get_logger
from fakesieve.reasons import Reason
from fakesieve.records.tenants import Caller, hash_key

_log = get_logger(__name__)


def refuse_empty(request: Request, limits: RequestLimits) -> Problem | None:
    """Return the refusal of a known key that has no request left; None for all others.

    It takes nothing and asks nobody: whoever sends far over their rate costs others as little as can be.
    """
    try:
        before = limits.known.get(hash_key(read_secret(request)))
    except Problem:  # said by the route, if it wants a key at all
        return None
    left = None if before is None else limits.requests.find_empty(before.key_id)
    if left is None:
        return None
    request.state.caller = before
    return _refuse_request(request, left)


async def admit(request: Request, services: Services, *, may_prove_later: bool) -> Caller:
    """Return the caller, who has a request left. Raises ``Problem``.

    Where a question begins a transaction, that asks itself whether a key that was right before still is.
    """
    limits = services.limits
    try:
        digest = hash_key(read_secret(request))
        before = limits.known.get(digest)
        if before is not None and may_prove_later and request.method == "GET":
            _take_request(request, limits, before)
            request.state.unproved = Unproved(digest, before)
            return before
        caller = await _find_caller(request, digest, services)
    except Problem as fault:
        if fault.reason is Reason.UNAUTHENTICATED:
            _note_stranger(limits, find_address(request))
        raise
    _take_request(request, limits, caller)
    return caller


async def prove_at_last(request: Request, services: Services) -> None:
    """Ask about a key that no transaction has asked about.

    Raises ``Problem`` (UNAUTHENTICATED) for one that has ended, whatever else is wrong with its request, and
    ``TransactionConflict`` for one whose rights have changed.
    """
    unproved = cast("Unproved | None", getattr(request.state, "unproved", None))
    if unproved is None:
        return
    try:
        caller = await _find_caller(request, unproved.digest, services)
    except Problem as fault:
        if fault.reason is Reason.UNAUTHENTICATED:
            request.state.caller, request.state.rate_headers = None, {}
            _note_stranger(services.limits, find_address(request))
        raise
    check_rights(unproved, caller)


def note_miss(limits: RequestLimits, caller: Caller, fault: Exception) -> None:
    """Count an id that the tenant does not have. Raises ``Problem`` for who seems to be guessing."""
    if not isinstance(fault, Problem | FleetError) or fault.reason is not Reason.NOT_FOUND:
        return
    left = limits.misses.take(caller.key_id)
    if left.is_refused:
        _log.warning("api.id_guessing", key=caller.key_id, tenant=caller.tenant_id)
        raise _refuse_rate("too many ids that do not exist", left.retry_s)


def find_address(request: Request) -> str:
    """Return what a caller is counted by who has not said who it is."""
    return name_address(request.client.host if request.client else "")


def _take_request(request: Request, limits: RequestLimits, caller: Caller) -> None:
    """Take one request off what a caller has left. Raises ``Problem`` where that is none."""
    request.state.caller = caller
    left = limits.requests.take(caller.key_id)
    request.state.rate_headers = left.headers
    if left.is_refused:
        raise _refuse_request(request, left)


def _refuse_request(request: Request, left: Left) -> Problem:
    request.state.rate_headers = left.headers
    return _refuse_rate(f"more than {left.rate.per_s:g} requests a second", left.retry_s)


async def _find_caller(request: Request, digest: str, services: Services) -> Caller:
    """Return whose key it is.

    From where too many were wrong, a key that is not known is looked up only while nobody waits for that.
    """
    secret, limits, address = read_secret(request), services.limits, find_address(request)
    is_trusted = limits.known.get(digest) is not None or not limits.strangers.is_empty(address)
    try:
        caller = await services.slots.look(partial(authenticate, secret, services), is_patient=is_trusted)
    except Problem as fault:
        if fault.reason is Reason.UNAUTHENTICATED:
            limits.known.forget(digest)
        if is_trusted or fault.reason is Reason.UNAUTHENTICATED:
            raise
        raise _refuse_rate("too many wrong keys from this address", 1) from None
    limits.known.keep(digest, caller)
    return caller


def _note_stranger(limits: RequestLimits, address: str) -> None:
    """Count a wrong key. Raises ``Problem`` for who seems to be guessing."""
    left = limits.strangers.take(address)
    if left.is_refused:
        _log.warning("api.key_guessing", address=address)
        raise _refuse_rate("too many wrong keys from this address", left.retry_s) from None


def _refuse_rate(seen: str, retry_s: int) -> Problem:
    return Problem(Reason.RATE_LIMITED, seen, headers={"Retry-After": str(retry_s)})
