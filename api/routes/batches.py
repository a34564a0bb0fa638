"""Batches: lists of videos as one thing, from a request, a manifest or a prefix."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Annotated

from fastapi import Query, Request, Response
from sqlalchemy.orm import Session
from starlette.responses import StreamingResponse

from api.acts import note_act
from api.dependencies import (
    Begin,
    CallerDep,
    Jobs,
    Objects,
    ServicesDep,
    Transaction,
    Transactions,
    require_scope,
)
from api.idempotency import HEADER
from api.pagination import Page, PageQuery
from api.problems import Problem, describe_responses, not_found
from api.request_jobs import RequestJobs, check_place, find_source, open_quota, read_places
from api.router import ApiRouter
from api.schemas.jobs import (
    BatchOut,
    BatchPreviewOut,
    CancelBody,
    JobSource,
    NewBatchBody,
    RetriedOut,
    RetryBatchBody,
)
from api.waiting import EVENT_STREAM, EVENTS, WAIT_S_MAX, stream_changes, wait_for
from api.writing import read_before, write_batch
from fakesieve.ingest.manifest import Manifest, ManifestRow, Part, fetch_manifest
from fakesieve.jobs.cancel import cancel_batch, retry_jobs
from fakesieve.jobs.states import BatchState
from fakesieve.jobs.submit import NewBatch, NewJob, submit_batch
from fakesieve.objects import ObjectStore, VideoRef
from fakesieve.places import NAMED_ALONE, Places, is_kept_apart
from fakesieve.reasons import Reason
from fakesieve.records.batch_lists import find_retryable_jobs, list_batches, load_batch
from fakesieve.records.tenants import Caller
from fakesieve.scopes import Scope
from fakesieve.values.videos import SourceKind

ITEMS_MAX = 1000
LISTED_MAX = 10_000
SCANNED_MAX = 20_000
"""Objects that are looked at below a prefix, of which some may be in folders of tenants."""
MANIFEST_BYTES_MAX = 64 << 20
"""Enough for 500,000 addresses of 130 bytes, taken in parts; a longer file is not fetched."""
_TOO_LONG = f"send it in parts of {LISTED_MAX} rows: first_row 1, then the next_row of each answer"
RETRIES_AT_ONCE = 500
PAGE_BATCHES = 50
_PREVIEWED = 10

router = ApiRouter(tags=["batches"])
_WRITE, _READ = [require_scope(Scope.JOBS_WRITE)], [require_scope(Scope.JOBS_READ)]
_SUBMIT_RESPONSES = describe_responses(
    Reason.SOURCE_ACCESS_DENIED,
    Reason.STATE_CONFLICT,
    Reason.REQUEST_TOO_LARGE,
    Reason.UNSUPPORTED_MEDIA_TYPE,
)
_CHANGE_RESPONSES = describe_responses(Reason.STATE_CONFLICT, Reason.UNSUPPORTED_MEDIA_TYPE)


@router.post("/v1/batches", status_code=202, dependencies=_WRITE, responses=_SUBMIT_RESPONSES)
def submit_list(
    body: NewBatchBody,
    request: Request,
    response: Response,
    caller: CallerDep,
    services: ServicesDep,
    objects: Objects,
    jobs: Jobs,
    begin: Transactions,
) -> BatchOut:
    """Submit a list of videos. All of it is checked before any of it is submitted.

    A call that was cut off is completed by sending it again under its key. A batch that gets no more jobs for
    an hour, all of whose jobs have ended, is `failed` with `submission_cut_off`; from then on, as for every
    batch that has ended, its key with jobs that it does not have is IDEMPOTENCY_CONFLICT.

    A manifest of more than 10,000 rows is sent in parts, each a batch: with `first_row` 1, then with the
    `next_row` of each answer, until that is null. With its `manifest_etag` too, a manifest that was replaced
    in between is SOURCE_CHANGED, and no row is left out or taken twice.
    """
    with begin() as session:
        # Which of its jobs are new is known once the list is: then its submission counts them.
        places = read_places(open_quota(session, caller.tenant_id, wanted=0), services.settings.bucket)
    found = _find_jobs(body, caller, begin, objects, places)
    key = request.headers.get(HEADER)
    new = NewBatch(
        caller.tenant_id,
        body.name,
        body.lane,
        body.max_failure_rate,
        # A call that was cut off and is sent again goes on in the batch that it had begun.
        idempotency_key=None if key is None else f"api:{key}",
    )
    batch_id = submit_batch(jobs, new, found.jobs).batch_id
    response.headers["Location"] = f"/v1/batches/{batch_id}"
    with begin() as session:
        return _find(session, batch_id).model_copy(update=found.read_next())


@router.post("/v1/batches:preview", dependencies=_WRITE, responses=_SUBMIT_RESPONSES)
def preview_batch(
    body: NewBatchBody, caller: CallerDep, services: ServicesDep, objects: Objects, begin: Transactions
) -> BatchPreviewOut:
    """Say what a batch would hold, after the same checks; nothing is submitted."""
    with begin() as session:
        places = read_places(open_quota(session, caller.tenant_id, wanted=0), services.settings.bucket)
    found = _find_jobs(body, caller, begin, objects, places)
    refs = [job.source for job in found.jobs]
    sizes = [ref.size_bytes for ref in refs if ref.size_bytes is not None]
    return BatchPreviewOut(
        videos=len(refs),
        size_bytes=sum(sizes) if len(sizes) == len(refs) else None,
        first=[ref.uri for ref in refs[:_PREVIEWED]],
    ).model_copy(update=found.read_next())


@dataclass(frozen=True)
class _Found:
    """The jobs of a list, or of a manifest or a part of it with its ETag and the row of the next part."""

    jobs: Sequence[NewJob]
    next_row: int | None = None
    etag: str | None = None

    def read_next(self) -> dict[str, object]:
        """Return what an answer says of the manifest, nothing where there is none."""
        return {"next_row": self.next_row, "manifest_etag": self.etag}


def _find_jobs(
    body: NewBatchBody, caller: Caller, begin: Begin, objects: ObjectStore, places: Places
) -> _Found:
    """Return the jobs of a list. Raises ``Problem`` or ``FleetError`` for the first that is wrong."""

    def make(ref: VideoRef, kind: SourceKind, external_id: str | None = None) -> NewJob:
        return NewJob(
            caller.tenant_id,
            ref,
            body.lane,
            deadline_s=body.deadline_s,
            external_id=external_id,
            source_kind=kind,
        )

    if body.items is not None:
        with begin() as session:
            return _Found(list(_find_items(body.items, session, places, make)))
    if body.manifest is None:
        return _Found([make(ref, SourceKind.API) for ref in _walk(body.prefix or "", objects, places)])
    # All parts are of one file: whoever names its ETag is refused once another one lies there.
    ref = objects.head(check_place(places, body.read_manifest_ref())).ref
    found = _fetch(objects, ref, body.first_row)
    rows = [make(_check_row(places, row), SourceKind.MANIFEST, row.external_id) for row in found.rows]
    return _Found(rows, found.next_row, ref.etag)


def _fetch(objects: ObjectStore, ref: VideoRef, first_row: int | None) -> Manifest:
    part = None if first_row is None else Part(first_row, LISTED_MAX)
    limits = {"bytes_max": MANIFEST_BYTES_MAX, "rows_max": LISTED_MAX}
    return fetch_manifest(objects, ref, **limits, part=part, cure=_TOO_LONG)


def _check_row(places: Places, row: ManifestRow) -> VideoRef:
    """Return the object of a row. Raises ``Problem`` that names the line where it is not the tenant's."""
    try:
        return check_place(places, row.ref)
    except Problem as fault:
        raise Problem(fault.reason, f"line {row.line}: {fault.detail}", hint=fault.hint) from fault


def _find_items(
    items: list[JobSource],
    session: Session,
    places: Places,
    make: Callable[[VideoRef, SourceKind, str | None], NewJob],
) -> Iterator[NewJob]:
    _check_count(len(items), ITEMS_MAX)
    for item in items:
        ref, kind = find_source(session, places, item)
        yield make(ref, kind, item.external_id)


def _walk(address: str, objects: ObjectStore, places: Places) -> list[VideoRef]:
    """Return the objects under a prefix that the tenant may name, but uploads and exports."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    VideoRef(bucket, prefix or "-")  # checks both
    if not places.may_list(bucket, prefix):
        seen = f"{address} lies outside the places of this tenant"
        raise Problem(Reason.SOURCE_ACCESS_DENIED, seen, hint="GET /v1/limits lists them; ask for more")
    listed = list(islice(objects.list_objects(bucket, prefix), SCANNED_MAX + 1))
    refs = (facts.ref for facts in listed)
    taken = (ref for ref in refs if places.may_read(ref) and not is_kept_apart(ref, places.bucket))
    found = list(islice(taken, LISTED_MAX + 1))
    _check_count(len(found), LISTED_MAX)
    if len(listed) > SCANNED_MAX:
        seen = f"more than {SCANNED_MAX} objects lie under {address}, and most are passed over"
        raise Problem(Reason.REQUEST_TOO_LARGE, seen, hint="name a folder of yours below it")
    if not found:
        raise Problem(Reason.SOURCE_NOT_FOUND, f"no object lies under {address}", hint=NAMED_ALONE)
    return found


def _check_count(count: int, limit: int) -> None:
    if count > limit:
        seen = f"{count} videos, at most {limit} are taken at once"
        raise Problem(
            Reason.REQUEST_TOO_LARGE, seen, hint="send several batches; GET /v1/limits has the limits"
        )


@router.get("/v1/batches", dependencies=_READ)
def list_all_batches(
    caller: CallerDep, session: Transaction, page: PageQuery, state: BatchState | None = None
) -> Page[BatchOut]:
    """List batches, newest first, at most 50 on a page: the jobs of each are counted."""
    page = replace(page, size=min(page.size, PAGE_BATCHES))
    query = page.bind(caller, "batches", {"state": state})
    lines = list_batches(session, state=state, before=read_before(query.position), limit=page.limit)
    return query.make(
        Page[BatchOut], lines, write_batch, lambda line: (line.create_time.isoformat(), line.id)
    )


@router.get("/v1/batches/{batch_id}", dependencies=_READ)
async def show_batch(
    batch_id: str,
    request: Request,
    caller: CallerDep,
    services: ServicesDep,
    begin: Transactions,
    wait: Annotated[
        float, Query(ge=0, le=WAIT_S_MAX, description="Seconds to wait at most for the batch to end.")
    ] = 0,
) -> BatchOut:
    """Show a batch with its counts, at once or when it has ended."""
    read = _read_later(begin, batch_id)
    return await wait_for(request, caller, services, read, _is_terminal, wait)


@router.get(
    "/v1/batches/{batch_id}/events",
    dependencies=_READ,
    response_class=StreamingResponse,
    responses={200: {"description": EVENTS, "content": {EVENT_STREAM: {}}}},
)
async def stream_batch(
    batch_id: str, request: Request, caller: CallerDep, services: ServicesDep, begin: Transactions
) -> StreamingResponse:
    """Follow a batch: server-sent events whose data is the batch, one for each change."""
    read = _read_later(begin, batch_id)
    return await stream_changes(request, caller, services, read, _is_terminal)


@router.post("/v1/batches/{batch_id}:cancel", dependencies=_WRITE, responses=_CHANGE_RESPONSES)
def cancel_list(
    batch_id: str,
    jobs: Jobs,
    caller: CallerDep,
    services: ServicesDep,
    begin: Transactions,
    body: CancelBody | None = None,
) -> BatchOut:
    """Cancel a batch and all of its jobs that have not ended."""
    # Beside the transaction of an Idempotency-Key, if there is one: jobs are cancelled in several.
    read = _read_later(partial(services.database.transaction, tenant_id=caller.tenant_id), batch_id)
    before = read()
    if before.is_terminal and before.counts.queued + before.counts.running == 0:
        raise Problem(Reason.STATE_CONFLICT, f"{batch_id} has ended: {before.state}")
    cancel_batch(jobs, batch_id, body.message if body else "")
    with begin() as session:
        note_act(session, caller, "batch.cancelled", batch_id)
    return read()


@router.post(
    "/v1/batches/{batch_id}:retry", status_code=202, dependencies=_WRITE, responses=_CHANGE_RESPONSES
)
def retry_list(
    batch_id: str,
    response: Response,
    session: Transaction,
    caller: CallerDep,
    body: RetryBatchBody | None = None,
) -> RetriedOut:
    """Start jobs of a batch again that failed, expired or were cancelled, a few hundred at a call.

    A batch that has ended runs again, and ends once more, with another `batch.completed`. The failure rate
    cuts nothing off while all jobs that are left were retried; it counts at that end.
    """
    _find(session, batch_id)
    reasons = body.reasons if body else []
    found = find_retryable_jobs(session, batch_id, reasons, RETRIES_AT_ONCE + 1)
    wanted = found[:RETRIES_AT_ONCE]
    open_quota(session, caller.tenant_id, wanted=len(wanted))
    count = retry_jobs(RequestJobs(session), caller.tenant_id, wanted)
    note_act(session, caller, "batch.retried", batch_id, {"jobs": count})
    response.headers["Location"] = f"/v1/batches/{batch_id}"
    return RetriedOut(batch_id=batch_id, count=count, has_more=len(found) > RETRIES_AT_ONCE)


def _find(session: Session, batch_id: str) -> BatchOut:
    found = load_batch(session, batch_id)
    if found is None:
        raise not_found("batch", batch_id)
    return write_batch(found)


def _is_terminal(batch: BatchOut) -> bool:
    return batch.is_terminal


def _read_later(begin: Begin, batch_id: str) -> Callable[[], BatchOut]:
    """Return a function that reads the batch in a transaction of its own."""

    def read() -> BatchOut:
        with begin() as session:
            return _find(session, batch_id)

    return read
