"""Jobs: one video each, from an object or an upload."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

from fastapi import Query, Request, Response
from starlette.responses import StreamingResponse

from api.acts import note_act
from api.dependencies import (
    Begin,
    CallerDep,
    LookUp,
    LookUps,
    Objects,
    ServicesDep,
    Transaction,
    Transactions,
    require_scope,
)
from api.pagination import Page, PageQuery
from api.problems import Problem, describe_responses, not_found
from api.request_jobs import RequestJobs, find_source, open_quota, read_places
from api.router import ApiRouter
from api.schemas.job_logs import JobLogOut
from api.schemas.jobs import CancelBody, JobOut, NewJobBody
from api.waiting import EVENT_STREAM, EVENTS, WAIT_S_MAX, stream_changes, wait_for
from api.writing import read_before, write_detail, write_job, write_log_line
from fakesieve.jobs.cancel import cancel_job, retry_job
from fakesieve.jobs.states import JobState
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.reasons import Reason
from fakesieve.records.job_lists import list_jobs, load_job
from fakesieve.records.job_log import load_log
from fakesieve.scopes import Scope
from fakesieve.values.job_lines import JobDetail

router = ApiRouter(tags=["jobs"])
_WRITE, _READ = [require_scope(Scope.JOBS_WRITE)], [require_scope(Scope.JOBS_READ)]
_SUBMIT_RESPONSES = describe_responses(
    Reason.SOURCE_ACCESS_DENIED,
    Reason.STATE_CONFLICT,
    Reason.REQUEST_TOO_LARGE,
    Reason.UNSUPPORTED_MEDIA_TYPE,
)
_CHANGE_RESPONSES = describe_responses(Reason.STATE_CONFLICT, Reason.UNSUPPORTED_MEDIA_TYPE)


class View(StrEnum):
    """How much of a job is shown: ``full`` has its pieces of work and every try."""

    BASIC = "basic"
    FULL = "full"


@router.post("/v1/jobs", status_code=202, dependencies=_WRITE, responses=_SUBMIT_RESPONSES)
def submit_job(
    body: NewJobBody,
    response: Response,
    caller: CallerDep,
    services: ServicesDep,
    objects: Objects,
    begin: Transactions,
) -> JobOut:
    """Submit one video. The object is looked at once: the job is about the bytes that lie there now."""
    with begin() as session:
        quota = open_quota(session, caller.tenant_id, wanted=1)
        places = read_places(quota, services.settings.bucket)
        ref, kind = find_source(session, places, body)
    new = NewJob(
        caller.tenant_id,
        objects.head(ref).ref,
        body.lane,
        deadline_s=body.deadline_s,
        external_id=body.external_id,
        source_kind=kind,
    )
    with begin() as session:
        job_id = submit_video(RequestJobs(session), new).job_id
        response.headers["Location"] = f"/v1/jobs/{job_id}"
        return write_job(_find(load_job(session, job_id), job_id).line)


@router.get("/v1/jobs", dependencies=_READ)
def list_all_jobs(
    caller: CallerDep,
    session: Transaction,
    page: PageQuery,
    state: JobState | None = None,
    batch_id: Annotated[str | None, Query(max_length=100)] = None,
) -> Page[JobOut]:
    """List jobs, newest first."""
    query = page.bind(caller, "jobs", {"state": state, "batch_id": batch_id})
    lines = list_jobs(
        session, state=state, batch_id=batch_id, before=read_before(query.position), limit=page.limit
    )
    return query.make(Page[JobOut], lines, write_job, lambda line: (line.create_time.isoformat(), line.id))


@router.get("/v1/jobs/{job_id}", dependencies=_READ)
async def show_job(
    job_id: str,
    request: Request,
    caller: CallerDep,
    services: ServicesDep,
    begin: LookUps,
    view: View = View.BASIC,
    wait: Annotated[
        float, Query(ge=0, le=WAIT_S_MAX, description="Seconds to wait at most for the job to end.")
    ] = 0,
) -> JobOut:
    """Show a job, at once or when it has ended."""
    read = _read_later(begin, job_id, view)
    return await wait_for(request, caller, services, read, _is_terminal, wait)


@router.get("/v1/jobs/{job_id}/log", dependencies=_READ)
def show_job_log(job_id: str, session: LookUp) -> JobLogOut:
    """Say what became of a job, in order of time: its states, every try, lost leases, and what waits."""
    line = _find(load_job(session, job_id), job_id).line
    lines = [write_log_line(each) for each in load_log(session, job_id) or ()]
    return JobLogOut(job_id=line.id, trace_id=line.trace_id, data=lines)


@router.get(
    "/v1/jobs/{job_id}/events",
    dependencies=_READ,
    response_class=StreamingResponse,
    responses={200: {"description": EVENTS, "content": {EVENT_STREAM: {}}}},
)
async def stream_job(
    job_id: str, request: Request, caller: CallerDep, services: ServicesDep, begin: LookUps
) -> StreamingResponse:
    """Follow a job: server-sent events whose data is the job, one for each change."""
    read = _read_later(begin, job_id, View.BASIC)
    return await stream_changes(request, caller, services, read, _is_terminal)


@router.post("/v1/jobs/{job_id}:cancel", dependencies=_WRITE, responses=_CHANGE_RESPONSES)
def cancel_one_job(
    job_id: str, caller: CallerDep, session: Transaction, body: CancelBody | None = None
) -> JobOut:
    """Cancel a job that has not ended. Work in progress is dropped within seconds."""
    before = _find(load_job(session, job_id), job_id)
    if not cancel_job(RequestJobs(session), job_id, body.message if body else ""):
        raise Problem(Reason.STATE_CONFLICT, f"{job_id} has ended: {before.line.state}")
    note_act(session, caller, "job.cancelled", job_id)
    return _show_again(session, job_id)


@router.post("/v1/jobs/{job_id}:retry", status_code=202, dependencies=_WRITE, responses=_CHANGE_RESPONSES)
def retry_one_job(job_id: str, response: Response, caller: CallerDep, session: Transaction) -> JobOut:
    """Start a job again that failed, expired or was cancelled. Nothing that it found earlier is used."""
    before = _find(load_job(session, job_id), job_id)
    open_quota(session, caller.tenant_id, wanted=1)
    if not retry_job(RequestJobs(session), job_id):
        raise Problem(Reason.STATE_CONFLICT, f"{job_id} is {before.line.state}")
    note_act(session, caller, "job.retried", job_id)
    response.headers["Location"] = f"/v1/jobs/{job_id}"
    return _show_again(session, job_id)


def _show_again(session: Transaction, job_id: str) -> JobOut:
    session.expire_all()
    return write_job(_find(load_job(session, job_id), job_id).line)


def _find(found: JobDetail | None, job_id: str) -> JobDetail:
    if found is None:
        raise not_found("job", job_id)
    return found


def _is_terminal(job: JobOut) -> bool:
    return job.is_terminal


def _read_later(begin: Begin, job_id: str, view: View) -> Callable[[], JobOut]:
    """Return a function that reads the job in a transaction of its own."""

    def read() -> JobOut:
        with begin() as session:
            detail = _find(load_job(session, job_id), job_id)
        return write_detail(detail) if view is View.FULL else write_job(detail.line)

    return read
