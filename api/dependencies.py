"""What routes ask for: the caller, a transaction of its tenant, the object store.

    router = ApiRouter(tags=["jobs"])                                     # from api.router

    @router.get("/v1/jobs/{job_id}", dependencies=[require_scope(Scope.JOBS_READ)])
    def show(job_id: str, caller: CallerDep, session: Transaction) -> JobOut: ...

``Transaction`` sees the rows of the caller's tenant alone (row-level security). It commits after the answer
was made and before it is sent, and is undone by any error; under an ``Idempotency-Key`` the answer is kept
in the same transaction. ``Transactions`` is for routes that talk to a store or work for long in between.
``LookUp`` and ``LookUps`` are the same for routes that show one thing and ask along keys alone.

What only hands something over is a coroutine, and takes it from the request: FastAPI would enter a thread
for each plain function, and walks down to all that a dependency depends on each time that it is named.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, cast

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer, SecurityScopes
from sqlalchemy.orm import Session

from api.auth import read_secret, refuse_key
from api.problems import Problem
from api.services import Services
from fakesieve.errors import TransactionConflict
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.objects import ObjectStore
from fakesieve.reasons import Reason
from fakesieve.records.tenants import Caller, enter_with_key, hash_key
from fakesieve.scopes import Scope

_BEARER = HTTPBearer(auto_error=False, description="A key of a tenant, as fsk_...", scheme_name="key")


def get_services(request: Request) -> Services:
    """Return what all requests share."""
    return cast("Services", request.app.state.services)


async def _give_services(request: Request) -> Services:
    return get_services(request)


ServicesDep = Annotated[Services, Depends(_give_services)]


async def get_caller(request: Request) -> Caller:
    """Return whose key the request carries; ``ApiRoute`` has found it before it read the body."""
    return cast("Caller", request.state.caller)


CallerDep = Annotated[Caller, Depends(get_caller)]


@dataclass(frozen=True)
class Unproved:
    """A key that was right before: the first statement of a transaction asks whether it still is."""

    digest: str
    caller: Caller


@contextmanager
def _begin(request: Request, *, is_along_keys: bool = False) -> Generator[Session]:
    services, caller = get_services(request), cast("Caller", request.state.caller)
    begun = cast("Session | None", getattr(request.state, "session", None))
    unproved = cast("Unproved | None", getattr(request.state, "unproved", None))
    if begun is not None:  # under an Idempotency-Key it is opened and committed around the whole request
        yield begun
    elif unproved is not None:
        with services.database.begin() as session:
            _prove(session, unproved, services, is_along_keys=is_along_keys)
            request.state.unproved = None
            yield session
    else:
        with services.database.transaction(
            tenant_id=caller.tenant_id, viewer=caller.key_id, is_along_keys=is_along_keys
        ) as session:
            yield session


def _prove(session: Session, unproved: Unproved, services: Services, *, is_along_keys: bool) -> None:
    """Enter a transaction with the key. Raises ``Problem`` (UNAUTHENTICATED) where it has ended meanwhile."""
    caller = enter_with_key(session, unproved.digest, is_along_keys=is_along_keys)
    if caller is None:
        services.limits.known.forget(unproved.digest)
        raise refuse_key()
    services.limits.known.keep(unproved.digest, caller)
    check_rights(unproved, caller)


def check_rights(unproved: Unproved, caller: Caller) -> None:
    """Raise ``TransactionConflict`` where a key has other rights than it was admitted with: ask once more."""
    if caller != unproved.caller:
        raise TransactionConflict(Reason.DATABASE_UNAVAILABLE, "the rights of this key have just changed")


def doubt_key(request: Request) -> None:
    """Have the next transaction of a request ask whether its key still is, as its first one did.

    For requests that go on for minutes: a key that ends meanwhile ends them at their next look.
    """
    caller = cast("Caller", request.state.caller)
    request.state.unproved = Unproved(hash_key(read_secret(request)), caller)


def is_proved(request: Request) -> bool:
    """Whether a transaction has asked about the key of a request since it was doubted."""
    return getattr(request.state, "unproved", None) is None


def prove_key(request: Request) -> None:
    """Ask at once whether the key of a request still is what it was admitted with.

    Raises ``Problem`` (UNAUTHENTICATED) where it has ended, ``TransactionConflict`` where its rights changed.
    """
    doubt_key(request)
    with _begin(request, is_along_keys=True):
        assert is_proved(request), "under an Idempotency-Key no key is doubted"


Begin = Callable[[], AbstractContextManager[Session]]


async def get_transactions(request: Request) -> Begin:
    """Return what opens a transaction of this request; each block with it is one.

    Between two of them nothing is held. Under an ``Idempotency-Key`` all blocks are the one transaction that
    keeps the answer.
    """
    return partial(_begin, request)


async def get_look_ups(request: Request) -> Begin:
    """Return what opens a transaction of this request whose statements go along keys, as above."""
    return partial(_begin, request, is_along_keys=True)


Transactions = Annotated[Begin, Depends(get_transactions)]
LookUps = Annotated[Begin, Depends(get_look_ups)]
# A route's function is given the transaction itself: see ``api/endpoints.py``.
Transaction = Annotated[Session, Depends(get_transactions)]
LookUp = Annotated[Session, Depends(get_look_ups)]


async def get_objects(services: ServicesDep) -> ObjectStore:
    """Return the object store."""
    return services.objects


Objects = Annotated[ObjectStore, Depends(get_objects)]


async def get_jobs(caller: CallerDep, services: ServicesDep) -> SqlJobStore:
    """Return the tenant's jobs for work in transactions of its own, such as a long list."""
    return SqlJobStore(services.database, caller.tenant_id)


Jobs = Annotated[SqlJobStore, Depends(get_jobs)]


async def _check_scopes(
    wanted: SecurityScopes, request: Request, _: Annotated[object, Depends(_BEARER)]
) -> None:
    caller = cast("Caller", request.state.caller)
    missing = [scope for scope in wanted.scopes if scope not in caller.scopes]
    if missing:
        raise Problem(Reason.MISSING_SCOPE, f"this key lacks the scope {missing[0]}")


def require_scope(*scopes: Scope) -> Any:
    """Return a dependency that refuses callers whose key lacks one of the scopes; any key will do for none.

    It is what tells the document that a route wants a key.
    """
    return Security(_check_scopes, scopes=[scope.value for scope in scopes])
