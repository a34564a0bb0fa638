"""Jobs, and the newest batches: how far they are, why some failed, and what to start again."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Protocol
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from sqlalchemy.orm import Session

from api.dependencies import ServicesDep
from api.pages.notices import DoneDep, go_back
from api.pages.people import Person, PersonDep
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.templates import render
from api.pagination import TOKEN_LETTERS_MAX, Key, read_token, sign_token
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

LINES, BATCHES = 50, 10
_ADMIN = [require_role(UserRole.ADMIN)]
_NOTICES = {
    "cancelled": "It was cancelled.",
    "retried": "It starts again.",
}

router = PageRouter()


class _Line(Protocol):
    @property
    def create_time(self) -> datetime: ...

    @property
    def id(self) -> str: ...


@router.get("/jobs")
def show_jobs(
    request: Request,
    person: PersonDep,
    services: ServicesDep,
    session: PageTransaction,
    state: JobState | None = None,
    batch: Annotated[str | None, Query(max_length=60)] = None,
    page: Annotated[str, Query(max_length=TOKEN_LETTERS_MAX)] = "",
) -> Response:
    """Show the newest batches, and jobs page by page."""
    binding = json.dumps([person.tenant_id, "jobs page", state, batch])
    before = _read_position(read_token(services.token_key, page, binding)) if page else None
    lines = list_jobs(session, state=state, batch_id=batch, before=before, limit=LINES + 1)
    query = {name: value for name, value in (("state", state), ("batch", batch)) if value is not None}
    token = _sign_next(services.token_key, lines, binding)
    return render(
        request,
        "jobs.html",
        batches=[] if batch or page else list_batches(session, limit=BATCHES),
        lines=[(line, find_stage(line)) for line in lines[:LINES]],
        states=tuple(JobState),
        state=state,
        batch=batch,
        more=None if token is None else urlencode(query | {"page": token}),
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


def _read_position(keys: Sequence[Key]) -> tuple[datetime, str]:
    time, line_id = keys
    return datetime.fromisoformat(str(time)), str(line_id)


def _sign_next(key: bytes, lines: Sequence[_Line], binding: str) -> str | None:
    if len(lines) <= LINES:
        return None
    last = lines[LINES - 1]
    return sign_token(key, [last.create_time.isoformat(), last.id], binding)
