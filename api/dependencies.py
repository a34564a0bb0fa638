"""What routes ask for: the caller, a transaction of its tenant, the object store.

    router = ApiRouter(tags=["jobs"])                                     # from api.router

    @router.get("/v1/jobs/{job_id}", dependencies=[require_scope(Scope.JOBS_READ)])
    def show(job_id: str, caller: CallerDep, session: Transaction) -> JobOut: ...

``Transaction`` sees the rows of the caller's tenant alone (row-level security). It commits after the answer
was made and before it is sent, and is undone by any error; under an ``Idempotency-Key`` the answer is kept
in the same transaction. ``Transactions`` is for routes that talk to a store or work for long in between.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Annotated, Any, cast

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer, SecurityScopes
from sqlalchemy.orm import Session

from api.problems import Problem
from api.services import Services
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.objects import ObjectStore
from fakesieve.reasons import Reason
from fakesieve.records.tenants import Caller
from fakesieve.scopes import Scope

_BEARER = HTTPBearer(auto_error=False, description="A key of a tenant, as fsk_...", scheme_name="key")


def get_services(request: Request) -> Services:
    """Return what all requests share."""
    return cast("Services", request.app.state.services)


ServicesDep = Annotated[Services, Depends(get_services)]


def get_caller(request: Request, _: Annotated[object, Depends(_BEARER)]) -> Caller:
    """Return whose key the request carries; ``ApiRoute`` has looked it up before it read the body."""
    return cast("Caller", request.state.caller)


CallerDep = Annotated[Caller, Depends(get_caller)]


@contextmanager
def _begin(request: Request, caller: Caller, services: Services) -> Generator[Session]:
    begun = cast("Session | None", getattr(request.state, "session", None))
    if begun is not None:  # under an Idempotency-Key it is opened and committed around the whole request
        yield begun
        return
    with services.database.transaction(tenant_id=caller.tenant_id, viewer=caller.key_id) as session:
        yield session


def open_transaction(request: Request, caller: CallerDep, services: ServicesDep) -> Generator[Session]:
    """Give the transaction of this request."""
    with _begin(request, caller, services) as session:
        yield session


Transaction = Annotated[Session, Depends(open_transaction, scope="function")]
Begin = Callable[[], AbstractContextManager[Session]]


def get_transactions(request: Request, caller: CallerDep, services: ServicesDep) -> Begin:
    """Return what opens a transaction of this request; each block with it is one.

    Between two of them nothing is held. Under an ``Idempotency-Key`` all blocks are the one transaction that
    keeps the answer.
    """
    return partial(_begin, request, caller, services)


Transactions = Annotated[Begin, Depends(get_transactions)]


def get_objects(services: ServicesDep) -> ObjectStore:
    """Return the object store."""
    return services.objects


Objects = Annotated[ObjectStore, Depends(get_objects)]


def get_jobs(caller: CallerDep, services: ServicesDep) -> SqlJobStore:
    """Return the tenant's jobs for work in transactions of its own, such as a long list."""
    return SqlJobStore(services.database, caller.tenant_id)


Jobs = Annotated[SqlJobStore, Depends(get_jobs)]


def _check_scopes(wanted: SecurityScopes, caller: CallerDep) -> None:
    missing = [scope for scope in wanted.scopes if scope not in caller.scopes]
    if missing:
        raise Problem(Reason.MISSING_SCOPE, f"this key lacks the scope {missing[0]}")


def require_scope(*scopes: Scope) -> Any:
    """Return a dependency that refuses callers whose key lacks one of the scopes."""
    return Security(_check_scopes, scopes=[scope.value for scope in scopes])
