"""Counts of results, and results as files: streamed, or written to the object store."""

import re
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse

from api.dependencies import CallerDep, Objects, ServicesDep, Transaction, require_scope
from api.files import PAUSE, send_file
from api.idempotency import keep_instead
from api.problems import Problem, describe_responses, not_found
from api.router import NO_STORE, ApiRouter
from api.routes.analyses import LINK_S, FilterText, OrderText
from api.schemas.analyses import CountsOut, GroupOut
from api.schemas.exports import ExportOut, NewExportBody
from api.services import Services
from fakesieve.filters.check import read_filter
from fakesieve.filters.order import read_order
from fakesieve.ids import IdPrefix, new_id
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.analysis_counts import BY_MAX, CountBy, count_analyses, count_faults
from fakesieve.records.analysis_lists import (
    PAGE_MAX,
    AnalysisLine,
    AnalysisQuery,
    count_up_to,
    list_analyses,
)
from fakesieve.records.tenants import Caller
from fakesieve.result_files import check_format, write_csv, write_jsonl, write_parquet, write_parquet_groups
from fakesieve.scopes import Scope
from fakesieve.values.files import FileFormat

router = ApiRouter(tags=["analyses"])
_READ = [require_scope(Scope.RESULTS_READ)]
ROWS_MAX = 200_000
_FOLDER = "exports"
_ID = re.compile(rf"{IdPrefix.EXPORT}_[0-9a-z]{{26}}")
_COPY_BYTES = 1 << 16
_EXPORT_RESPONSES = describe_responses(Reason.REQUEST_TOO_LARGE, Reason.UNSUPPORTED_MEDIA_TYPE)
_FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file",
        "content": {form.media_type.partition(";")[0]: {} for form in FileFormat},
    }
}


@router.get("/v1/analyses:count", dependencies=_READ)
def count_results(
    caller: CallerDep,
    session: Transaction,
    by: Annotated[str, Query(max_length=100, description="As `verdict` or `day,verdict`.")] = "verdict",
    wanted: FilterText = None,
) -> CountsOut:
    """Count analyses by verdict, outcome, reason, verdict_reason, day, model, policy or tenant.

    `error_reason` counts jobs without a result, alone and without a filter. A tenant sees itself alone.
    """
    names = [name.strip() for name in by.split(",")]
    if names == ["error_reason"] and not wanted:
        found = count_faults(session, caller.tenant_id)
    else:
        found = count_analyses(session, caller.tenant_id, _read_by(names), read_filter(wanted))
    return CountsOut(
        by=names,
        total=found.total,
        is_cut=found.is_cut,
        data=[
            GroupOut(keys=dict(zip(names, group.keys, strict=True)), count=group.count)
            for group in found.groups
        ],
    )


def _read_by(names: list[str]) -> list[CountBy]:
    known = [each.value for each in CountBy]
    if len(names) > BY_MAX or len(set(names)) < len(names) or not set(names) <= set(known):
        hint = f"name up to {BY_MAX} of {', '.join(known)}; or error_reason alone, without a filter"
        raise Problem(Reason.INVALID_REQUEST, "by: results cannot be counted like that", hint=hint)
    return [CountBy(name) for name in names]


@router.get("/v1/analyses:export", dependencies=_READ, response_class=StreamingResponse, responses=_FILES)
def export_results(
    caller: CallerDep,
    services: ServicesDep,
    form: Annotated[FileFormat, Query(alias="format")] = FileFormat.CSV,
    wanted: FilterText = None,
    order_by: OrderText = None,
) -> StreamingResponse:
    """Stream analyses as CSV, JSONL or Parquet, a page of rows at a time.

    A Parquet file is written here before it is sent, so it has at most 200,000 rows.
    """
    query = AnalysisQuery(caller.tenant_id, read_filter(wanted), read_order(order_by), limit=PAGE_MAX)
    check_format(form)
    if form is FileFormat.PARQUET:
        _check_count(services, query, caller)
    lines = _begin(walk_lines(services, query, caller))
    name = f"results.{form.value}"
    return send_file(_write(lines, form), caller, services, media_type=form.media_type, name=name)


def _check_count(services: Services, query: AnalysisQuery, caller: Caller) -> None:
    with services.database.transaction(tenant_id=caller.tenant_id, viewer=caller.key_id) as session:
        if count_up_to(session, query, ROWS_MAX + 1) > ROWS_MAX:
            raise _refuse_size()


def walk_lines(services: Services, query: AnalysisQuery, caller: Caller) -> Generator[AnalysisLine]:
    """Yield all lines, each page in a transaction of its own: a slow reader holds none open."""
    while True:
        with services.database.transaction(tenant_id=query.tenant_id, viewer=caller.key_id) as session:
            page = list_analyses(session, query)
        yield from page
        if len(page) < query.limit:
            return
        query = AnalysisQuery(query.tenant_id, query.wanted, query.order, page[-1].position, query.limit)


def _begin(lines: Iterator[AnalysisLine]) -> Iterator[AnalysisLine]:
    """Read the first line now, so that what is refused is refused before the answer has begun."""
    return chain([first for first in [next(lines, None)] if first is not None], lines)


def _write(lines: Iterator[AnalysisLine], form: FileFormat) -> Iterator[bytes]:
    if form is FileFormat.CSV:
        return write_csv(lines)
    return write_jsonl(lines) if form is FileFormat.JSONL else _write_parquet(lines)


def _write_parquet(lines: Iterator[AnalysisLine]) -> Iterator[bytes]:
    """Write the file first: its end says where its parts are."""
    with tempfile.TemporaryFile() as file:
        for _ in write_parquet_groups(
            lines,
            file,  # pyright: ignore[reportArgumentType] - a wrapper of a BinaryIO
        ):
            yield PAUSE
        file.seek(0)
        while part := file.read(_COPY_BYTES):
            yield part


@router.post("/v1/exports", status_code=201, dependencies=_READ, responses=_EXPORT_RESPONSES)
def create_export(
    body: NewExportBody,
    request: Request,
    response: Response,
    caller: CallerDep,
    services: ServicesDep,
    objects: Objects,
) -> ExportOut:
    """Write up to 200,000 analyses to a file in the fleet's bucket, in the tenant's own folder.

    The place cannot be chosen: the fleet's key may write where the caller may not. More rows than that are
    streamed by `GET /v1/analyses:export`.
    """
    query = AnalysisQuery(
        caller.tenant_id, read_filter(body.filter), read_order(body.order_by), limit=PAGE_MAX
    )
    export_id = new_id(IdPrefix.EXPORT)
    bucket, key = services.settings.bucket, f"{_FOLDER}/{caller.tenant_id}/{export_id}.{body.format.value}"
    counter = _Counter(_begin(walk_lines(services, query, caller)))
    with _hold_export(services, caller), tempfile.TemporaryDirectory(prefix="fakesieve-export-") as folder:
        path = Path(folder) / "results"
        with path.open("wb") as file:
            if body.format is FileFormat.PARQUET:
                write_parquet(counter, file)
            else:
                file.writelines(_write(counter, body.format))
        facts = objects.upload(path, bucket, key, content_type=body.format.media_type)
    response.headers["Location"] = f"/v1/exports/{export_id}"
    made = _describe(services, export_id, VideoRef(bucket, key), facts.size_bytes, counter.count)
    keep_instead(request, made.model_copy(update={"href": None, "expire_time": None}))
    return made


@contextmanager
def _hold_export(services: Services, caller: Caller) -> Generator[None]:
    """Count one more file that is written for a tenant. Raises ``Problem`` (RATE_LIMITED) at the limit."""
    exports = services.limits.exports
    if not exports.enter(caller.tenant_id):
        seen = f"{exports.limit} exports are being written already"
        raise Problem(Reason.RATE_LIMITED, seen, headers={"Retry-After": "10"})
    try:
        yield
    finally:
        exports.leave(caller.tenant_id)


class _Counter:
    """Counts lines as they pass, and ends an export that grows too large."""

    def __init__(self, lines: Iterator[AnalysisLine]) -> None:
        self._lines, self.count = lines, 0

    def __iter__(self) -> Iterator[AnalysisLine]:
        return self

    def __next__(self) -> AnalysisLine:
        line = next(self._lines)
        self.count += 1
        if self.count > ROWS_MAX:
            raise _refuse_size()
        return line


def _refuse_size() -> Problem:
    hint = "narrow the filter, or stream them as CSV or JSONL: GET /v1/analyses:export"
    return Problem(Reason.REQUEST_TOO_LARGE, f"more than {ROWS_MAX} analyses", hint=hint)


@router.get("/v1/exports/{export_id}", dependencies=_READ)
def show_export(
    export_id: str, response: Response, caller: CallerDep, services: ServicesDep, objects: Objects
) -> ExportOut:
    """Show an export of the tenant, with a new link."""
    response.headers["Cache-Control"] = NO_STORE
    if not _ID.fullmatch(export_id):
        raise not_found("export", export_id)
    prefix = f"{_FOLDER}/{caller.tenant_id}/{export_id}."
    found = next(iter(objects.list_objects(services.settings.bucket, prefix)), None)
    if found is None:
        raise not_found("export", export_id)
    return _describe(services, export_id, found.ref.loosen(), found.size_bytes, None)


def _describe(
    services: Services, export_id: str, ref: VideoRef, size_bytes: int, rows: int | None
) -> ExportOut:
    links = services.links
    return ExportOut(
        id=export_id,
        format=FileFormat(ref.key.rpartition(".")[2]),
        uri=ref.uri,
        size_bytes=size_bytes,
        rows=rows,
        href=None if links is None else links.link_get(ref, expire_s=LINK_S),
        expire_time=None if links is None else datetime.now(UTC) + timedelta(seconds=LINK_S),
    )
