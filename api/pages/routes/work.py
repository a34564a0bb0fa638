"""Jobs, and the newest batches: how far they are, why some failed, and what to start again."""

from typing import Annotated

from fastapi import Query, Request, Response
from sqlalchemy.orm import Session

from api.dependencies import ServicesDep
from api.pages.notices import DoneDep, go_back
from api.pages.paging import LINES, PageToken, open_paging
from api.pages.people import Person, PersonDep
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.templates import render
from api.problems import Problem, not_found
from api.request_jobs import RequestJobs, open_quota
from api.writing import find_stage
from fakesieve.jobs.cancel import cancel_job, retry_job
from fakesieve.jobs.states import RETRY_STATES, JobState
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.batch_lists import list_batches
from fakesieve.records.job_lists import list_jobs, load_job
from fakesieve.values.people import UserRole

BATCHES = 10
_ADMIN = [require_role(UserRole.ADMIN)]
_NOTICES = {
    "cancelled": "It was cancelled.",
    "retried": "It starts again.",
}

router = PageRouter()


@router.get("/jobs")
def show_jobs(
    request: Request,
    person: PersonDep,
    services: ServicesDep,
    session: PageTransaction,
    state: JobState | None = None,
    batch: Annotated[str | None, Query(max_length=60)] = None,
    token: PageToken = "",
) -> Response:
    """Show the newest batches, and jobs page by page."""
    asked = {name: str(value) for name, value in (("state", state), ("batch", batch)) if value is not None}
    paging = open_paging(services, person, "jobs", asked, token)
    lines = list_jobs(session, state=state, batch_id=batch, before=paging.time_and_id, limit=LINES + 1)
    shown, more = paging.cut(lines, lambda line: (line.create_time.isoformat(), line.id))
    return render(
        request,
        "jobs.html",
        batches=[] if batch or token else list_batches(session, limit=BATCHES),
        lines=[(line, find_stage(line)) for line in shown],
        states=tuple(JobState),
        state=state,
        batch=batch,
        more=more,
    )


@router.get("/jobs/{job_id}")
def show_job(job_id: str, request: Request, session: PageTransaction, done: DoneDep) -> Response:
    """Show one job with its pieces of work and every try."""
    found = load_job(session, job_id)
    if found is None:
        raise not_found("job", job_id)
    return render(
        request,
        "job.html",
        job=found,
        line=found.line,
        stage=find_stage(found.line),
        may_retry=found.line.state in RETRY_STATES,
        notice=done.say(_NOTICES),
    )


@router.post("/jobs/{job_id}/cancel", dependencies=_ADMIN)
def cancel_from_page(job_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """Cancel a job that has not ended."""
    if load_job(session, job_id) is None:
        raise not_found("job", job_id)
    if not cancel_job(RequestJobs(session), job_id, "cancelled on its page"):
        raise Problem(Reason.STATE_CONFLICT, f"{job_id} has ended already")
    _note(session, person, "job.cancelled", job_id)
    return go_back(person, f"/jobs/{job_id}", "cancelled")


@router.post("/jobs/{job_id}/retry", dependencies=_ADMIN)
def retry_from_page(job_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """Start a job again that did not succeed."""
    if load_job(session, job_id) is None:
        raise not_found("job", job_id)
    open_quota(session, person.tenant_id, wanted=1)
    if not retry_job(RequestJobs(session), job_id):
        raise Problem(Reason.STATE_CONFLICT, f"{job_id} cannot be started again as it stands")
    _note(session, person, "job.retried", job_id)
    return go_back(person, f"/jobs/{job_id}", "retried")


def _note(session: Session, person: Person, action: str, job_id: str) -> None:
    record_audit(session, tenant_id=person.tenant_id, actor=person.id, action=action, subject=job_id)
