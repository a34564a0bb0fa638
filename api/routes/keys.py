"""Keys of the caller's tenant, its limits and what it has used."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query, Request, Response
from sqlalchemy.orm import Session

from api.dependencies import CallerDep, ServicesDep, Transaction, require_scope
from api.idempotency import keep_instead
from api.pagination import PAGE_SIZE_MAX, Page, PageQuery
from api.problems import Problem, describe_responses
from api.router import ApiRouter
from api.routes.batches import ITEMS_MAX, LISTED_MAX
from api.routes.uploads import OPEN_MAX
from api.schemas.keys import (
    KeyOut,
    LimitsOut,
    NewKeyBody,
    RateOut,
    RotateBody,
    UsageDay,
    UsageOut,
    WhoAmI,
)
from api.waiting import WAIT_S_MAX
from api.writing import read_before
from fakesieve.key_changes import KeyDraft, create_tenant_key, end_key, find_key, renew_key
from fakesieve.reasons import Reason
from fakesieve.records.tenants import ApiKey, NewKey, list_keys, load_quota
from fakesieve.records.usage_lists import list_usage
from fakesieve.scopes import Scope

router = ApiRouter(tags=["keys"])
_ADMIN = [require_scope(Scope.KEYS_ADMIN)]
_RESPONSES = describe_responses(Reason.STATE_CONFLICT, Reason.UNSUPPORTED_MEDIA_TYPE)


@router.get("/v1/whoami", dependencies=[require_scope()])
def show_caller(caller: CallerDep) -> WhoAmI:
    """Say whose key this is and what it may do."""
    return WhoAmI(key_id=caller.key_id, tenant_id=caller.tenant_id, scopes=sorted(caller.scopes))


@router.get("/v1/limits", dependencies=[require_scope()])
def show_limits(caller: CallerDep, services: ServicesDep, session: Transaction) -> LimitsOut:
    """Say how much a request may bring, and what the tenant may use."""
    settings, quota = services.settings, load_quota(session, caller.tenant_id)
    return LimitsOut(
        body_bytes=settings.api_body_bytes_max,
        page_size=PAGE_SIZE_MAX,
        batch_items=ITEMS_MAX,
        batch_listed=LISTED_MAX,
        upload_bytes=settings.upload_bytes_max,
        upload_form_s=settings.upload_s,
        uploads_open=OPEN_MAX,
        wait_s=WAIT_S_MAX,
        streams=settings.api_streams_max,
        rate=RateOut(burst=settings.api_burst, per_s=settings.api_rate_per_s),
        places=list(quota.places),
        jobs_live=quota.jobs_max,
        month_video_ms=quota.month_ms_max,
    )


@router.get("/v1/usage", dependencies=[require_scope(Scope.USAGE_READ)])
def show_usage(
    caller: CallerDep, session: Transaction, days: Annotated[int, Query(ge=1, le=366)] = 31
) -> UsageOut:
    """Say what the tenant has used: live jobs, this month's video time, and the last days."""
    quota = load_quota(session, caller.tenant_id)
    return UsageOut(
        jobs_live=quota.jobs_live,
        month_video_ms=quota.month_ms,
        days=[
            UsageDay(day=each.day.isoformat(), jobs=each.jobs, video_ms=each.video_ms)
            for each in list_usage(session, days)
        ],
    )


@router.post("/v1/keys", status_code=201, dependencies=_ADMIN, responses=_RESPONSES)
def make_key(
    body: NewKeyBody, request: Request, response: Response, caller: CallerDep, session: Transaction
) -> KeyOut:
    """Make a key of the caller's tenant. Its secret is in this answer and nowhere else."""
    missing = sorted(set(body.scopes) - caller.scopes)
    if missing:
        seen = f"this key lacks the scope {missing[0]} and so cannot give it"
        raise Problem(Reason.MISSING_SCOPE, seen)
    draft = KeyDraft(body.name, frozenset(body.scopes), body.expire_time)
    made = create_tenant_key(session, caller.tenant_id, draft, actor=caller.key_id)
    response.headers["Location"] = f"/v1/keys/{made.id}"
    return _answer_once(request, session, made)


@router.get("/v1/keys", dependencies=_ADMIN)
def list_all_keys(caller: CallerDep, session: Transaction, page: PageQuery) -> Page[KeyOut]:
    """List the tenant's keys, newest first, those that have ended too."""
    query = page.bind(caller, "keys")
    rows = list_keys(session, read_before(query.position), page.limit)
    return query.make(Page[KeyOut], rows, _write, lambda row: (row.create_time.isoformat(), row.id))


@router.get("/v1/keys/{key_id}", dependencies=_ADMIN)
def show_key(key_id: str, session: Transaction) -> KeyOut:
    """Show a key, without its secret."""
    return _write(find_key(session, key_id))


@router.post("/v1/keys/{key_id}:rotate", status_code=201, dependencies=_ADMIN, responses=_RESPONSES)
def rotate_one_key(
    key_id: str,
    request: Request,
    response: Response,
    caller: CallerDep,
    session: Transaction,
    body: RotateBody | None = None,
) -> KeyOut:
    """Make a key that takes over from another, which works beside it until the overlap has passed."""
    found = find_key(session, key_id)
    missing = sorted(set(found.scopes) - caller.scopes)
    if missing:
        raise Problem(Reason.MISSING_SCOPE, f"this key lacks the scope {missing[0]} of {key_id}")
    overlap_s = (body or RotateBody()).overlap_s
    made = renew_key(session, caller.tenant_id, key_id, actor=caller.key_id, overlap_s=overlap_s)
    response.headers["Location"] = f"/v1/keys/{made.id}"
    return _answer_once(request, session, made)


@router.post("/v1/keys/{key_id}:revoke", dependencies=_ADMIN, responses=_RESPONSES)
def revoke_one_key(key_id: str, caller: CallerDep, session: Transaction) -> KeyOut:
    """End a key at once."""
    return _write(end_key(session, caller.tenant_id, key_id, actor=caller.key_id))


def _answer_once(request: Request, session: Session, made: NewKey) -> KeyOut:
    """Return a new key with its secret, which is kept nowhere."""
    shown = _write(find_key(session, made.id))
    keep_instead(request, shown)
    return shown.model_copy(update={"secret": made.secret})


def _write(row: ApiKey) -> KeyOut:
    is_over = row.expire_time is not None and row.expire_time <= datetime.now(UTC)
    return KeyOut(
        id=row.id,
        name=row.name,
        shown=row.shown,
        scopes=sorted(row.scopes),
        is_active=row.revoke_time is None and not is_over,
        next_key_id=row.next_key_id,
        create_time=row.create_time,
        expire_time=row.expire_time,
        revoke_time=row.revoke_time,
    )
