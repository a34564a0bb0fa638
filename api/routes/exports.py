"""Counts of results, and results as files: streamed, or written to the object store."""

import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, BinaryIO, cast

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session

from api.acts import note_act
from api.caller_filters import asks_for_words, check_may_read_words, may_read_words, read_caller_filter
from api.dependencies import CallerDep, Objects, ServicesDep, Transaction, prove_key, require_scope
from api.files import PAUSE, send_file
from api.idempotency import keep_instead
from api.problems import Problem, describe_responses, not_found
from api.router import NO_STORE, ApiRouter
from api.routes.analyses import FilterText, OrderText
from api.schemas.analyses import CountsOut, GroupOut
from api.schemas.exports import ExportOut, NewExportBody
from api.services import Services
from api.video_links import LINK_S
from fakesieve.erasure.objects import remove_object
from fakesieve.filters.check import Filter
from fakesieve.filters.order import read_order
from fakesieve.object_stores.faults import explain_disk
from fakesieve.objects import ObjectStore, VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.analysis_counts import BY_MAX, CountBy, count_analyses, count_faults
from fakesieve.records.analysis_lists import (
    PAGE_MAX,
    AnalysisQuery,
    count_up_to,
    list_analyses,
)
from fakesieve.records.exports import (
    Export,
    begin_export,
    finish_export,
    forget_exports,
    hold_export,
    load_export,
    note_videos,
)
from fakesieve.records.tenants import Caller
from fakesieve.result_files import check_format, write_csv, write_jsonl, write_parquet, write_parquet_groups
from fakesieve.scopes import Scope
from fakesieve.values.analysis_lines import AnalysisLine
from fakesieve.values.files import FileFormat

PageReader = Callable[[Session, AnalysisQuery], Sequence[AnalysisLine]]

router = ApiRouter(tags=["analyses"])
_READ = [require_scope(Scope.RESULTS_READ)]
ROWS_MAX = 200_000
_COPY_BYTES = 1 << 16
_EXPORT_RESPONSES = describe_responses(
    Reason.STATE_CONFLICT, Reason.REQUEST_TOO_LARGE, Reason.UNSUPPORTED_MEDIA_TYPE
)
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
    """Count analyses by verdict, outcome, reason, verdict_reason, day, model, policy, disposition or tenant.

    `error_reason` counts jobs without a result, alone and without a filter. A tenant sees itself alone.
    """
    names = [name.strip() for name in by.split(",")]
    if names == ["error_reason"] and not wanted:
        found = count_faults(session, caller.tenant_id)
    else:
        keys = _read_by(names)
        if CountBy.DISPOSITION in keys:
            check_may_read_words(caller)
        found = count_analyses(session, caller.tenant_id, keys, read_caller_filter(wanted, caller))
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
    request: Request,
    caller: CallerDep,
    services: ServicesDep,
    form: Annotated[FileFormat, Query(alias="format")] = FileFormat.CSV,
    wanted: FilterText = None,
    order_by: OrderText = None,
) -> StreamingResponse:
    """Stream analyses as CSV, JSONL or Parquet, a page of rows at a time.

    A Parquet file is written here before it is sent, so it has at most 200,000 rows. With `review:read`
    the last column is `disposition`: what people say.
    """
    read, order = read_caller_filter(wanted, caller), read_order(order_by)
    query = AnalysisQuery(caller.tenant_id, read, order, limit=PAGE_MAX, with_words=may_read_words(caller))
    prove = partial(prove_key, request)
    return send_results(request, caller, services, query, form, viewer=caller.key_id, prove=prove)


def send_results(
    request: Request,
    caller: Caller,
    services: Services,
    query: AnalysisQuery,
    form: FileFormat,
    *,
    viewer: str,
    prove: Callable[[], object],
) -> StreamingResponse:
    """Answer with a file of all that a query finds, and note in the audit log that it was taken out.

    ``viewer`` is whose blind looks it spares, ``prove`` as in :func:`send_file`. Raises ``Problem``:
    RATE_LIMITED, REQUEST_TOO_LARGE for a Parquet file of more than 200,000 rows, INVALID_REQUEST for a form
    that is not installed.
    """
    check_format(form)

    def begin() -> Iterator[bytes]:
        if form is FileFormat.PARQUET:
            _check_count(services, query, viewer)
        lines = _begin(walk_lines(services, query, viewer))
        if form is FileFormat.PARQUET:
            return _write_parquet(lines, services.settings.scratch_dir, with_words=query.with_words)
        return _write_text(lines, form, with_words=query.with_words)

    answer = send_file(
        request,
        begin,
        caller,
        services,
        prove=prove,
        media_type=form.media_type,
        name=f"results.{form.value}",
    )
    # Behind the limit: a file that is refused was not taken out.
    with services.database.transaction(tenant_id=caller.tenant_id) as session:
        note_act(session, caller, "results.exported", caller.tenant_id, {"format": form.value})
    return answer


def _check_count(services: Services, query: AnalysisQuery, viewer: str) -> None:
    with services.database.transaction(tenant_id=query.tenant_id, viewer=viewer) as session:
        if count_up_to(session, query, ROWS_MAX + 1) > ROWS_MAX:
            raise _refuse_size()


def walk_lines(
    services: Services, query: AnalysisQuery, viewer: str, read: PageReader = list_analyses
) -> Generator[AnalysisLine]:
    """Yield all lines, each page in a transaction of its own: a slow reader holds none open."""
    while True:
        with services.database.transaction(tenant_id=query.tenant_id, viewer=viewer) as session:
            page = read(session, query)
        yield from page
        if len(page) < query.limit:
            return
        query = replace(query, after=page[-1].position)


def _begin(lines: Iterator[AnalysisLine]) -> Iterator[AnalysisLine]:
    """Read the first line now, so that what is refused is refused before the answer has begun."""
    return chain([first for first in [next(lines, None)] if first is not None], lines)


def _write_text(lines: Iterator[AnalysisLine], form: FileFormat, *, with_words: bool) -> Iterator[bytes]:
    return write_csv(lines, with_words=with_words) if form is FileFormat.CSV else write_jsonl(lines)


def _write_parquet(lines: Iterator[AnalysisLine], folder: Path, *, with_words: bool) -> Iterator[bytes]:
    """Write the file first: its end says where its parts are."""
    with _open_file(folder) as file:
        for _ in write_parquet_groups(lines, file, with_words=with_words):
            yield PAUSE
        file.seek(0)
        while part := file.read(_COPY_BYTES):
            yield part


@contextmanager
def _open_file(folder: Path) -> Generator[BinaryIO]:
    """Give a file without a name, of which nothing is left whatever becomes of this process.

    Raises Unavailable (NO_SPACE) where it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            yield cast("BinaryIO", file)
    except OSError as fault:
        raise explain_disk(fault, "a file of results") from fault


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
    streamed by `GET /v1/analyses:export`. Every key of the tenant that reads results may fetch the file, so
    it does not say what people say, and no filter of it asks for `disposition`.
    """
    query = AnalysisQuery(
        caller.tenant_id, _read_stored_filter(body.filter, caller), read_order(body.order_by), limit=PAGE_MAX
    )
    check_format(body.format)
    with _hold_export(services, caller):
        export = _write_export(services, objects, caller, query, body.format)
    response.headers["Location"] = f"/v1/exports/{export.id}"
    made = _describe(services, export)
    keep_instead(request, made.model_copy(update={"href": None, "expire_time": None}))
    return made


def _read_stored_filter(text: str | None, caller: Caller) -> Filter:
    """Return the filter of a file that other keys may fetch: its rows must not say what people say.

    Raises as :func:`read_caller_filter`, and ``Problem`` (INVALID_REQUEST).
    """
    wanted = read_caller_filter(text, caller)
    if asks_for_words(wanted):
        seen = (
            "a file in the object store is for every key that reads results, so disposition cannot choose it"
        )
        hint = "stream the file instead: GET /v1/analyses:export"
        raise Problem(Reason.INVALID_REQUEST, seen, hint=hint)
    return wanted


def _write_export(
    services: Services, objects: ObjectStore, caller: Caller, query: AnalysisQuery, form: FileFormat
) -> Export:
    """Write a file and return its row. Of one that cannot be finished neither object nor row stays."""
    begin = partial(services.database.transaction, tenant_id=caller.tenant_id)
    with begin() as session:
        export = begin_export(session, caller.tenant_id, services.settings.bucket, form, caller.key_id)
    ref = VideoRef(export.bucket, export.key)
    with ExitStack() as undo:
        undo.callback(_drop, begin, objects, export.id, ref)
        lines = _Counter(walk_lines(services, query, caller.key_id, _PageKeeper(export)))
        with _open_file(services.settings.scratch_dir) as file:
            if form is FileFormat.PARQUET:
                write_parquet(lines, file, with_words=query.with_words)
            else:
                file.writelines(_write_text(lines, form, with_words=query.with_words))
            file.flush()
            with begin() as session:
                hold_export(session, export.id)
            # The path of an open file, as the store reads files by their names.
            place = Path(f"/dev/fd/{file.fileno()}")
            facts = objects.upload(place, ref.bucket, ref.key, content_type=form.media_type)
        with begin() as session:
            done = finish_export(
                session, export.id, lines.count, facts.size_bytes, services.settings.export_s
            )
            note_act(
                session, caller, "export.created", export.id, {"format": form.value, "rows": lines.count}
            )
        undo.pop_all()
    return done


def _drop(
    begin: Callable[[], AbstractContextManager[Session]], objects: ObjectStore, export_id: str, ref: VideoRef
) -> None:
    remove_object(objects, ref)
    with begin() as session:
        forget_exports(session, [export_id])


class _PageKeeper:
    """Reads the pages of an export and notes which videos each tells of."""

    def __init__(self, export: Export) -> None:
        self._export, self._pages = export, 0

    def __call__(self, session: Session, query: AnalysisQuery) -> Sequence[AnalysisLine]:
        export = self._export
        hold_export(session, export.id)
        page = list_analyses(session, query)
        note_videos(session, export.tenant_id, export.id, self._pages, [line.video_id for line in page])
        self._pages += 1
        return page


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
def show_export(export_id: str, response: Response, caller: CallerDep, services: ServicesDep) -> ExportOut:
    """Show an export of the tenant, with a new link, until `purge_time`."""
    response.headers["Cache-Control"] = NO_STORE
    with services.database.transaction(tenant_id=caller.tenant_id) as session:
        export = load_export(session, export_id)
    if export is None:
        raise not_found("export", export_id)
    return _describe(services, export)


def _describe(services: Services, export: Export) -> ExportOut:
    links, ref = services.links, VideoRef(export.bucket, export.key)
    return ExportOut(
        id=export.id,
        format=export.format,
        uri=ref.uri,
        size_bytes=export.size_bytes or 0,
        rows=export.n_rows or 0,
        purge_time=export.purge_time,
        href=None if links is None else links.link_get(ref, expire_s=LINK_S),
        expire_time=None if links is None else datetime.now(UTC) + timedelta(seconds=LINK_S),
    )
