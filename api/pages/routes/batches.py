"""One batch: its counts and stages, the way to cancel it, and to start again what failed in it."""

from fastapi import Request, Response
from sqlalchemy.orm import Session

from api.dependencies import ServicesDep
from api.pages.forms import FormDep
from api.pages.notices import DoneDep, go_back
from api.pages.people import Person, PersonDep
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.templates import render
from api.problems import Problem, not_found
from api.request_jobs import RequestJobs, open_quota
from api.services import Services
from fakesieve.jobs.cancel import cancel_batch, retry_jobs
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import LIVE_STATES, JobState
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.batch_lists import BatchLine, find_retryable_jobs, load_batch
from fakesieve.records.batch_stages import count_stages
from fakesieve.values.people import UserRole

RETRIES_AT_ONCE = 200
"""Jobs that one transaction starts again: their rows are locked until it ends."""
RETRIES_MAX = 2000
"""Jobs that one press of the button starts again: a few seconds of work."""
_ADMIN = [require_role(UserRole.ADMIN)]
_NOTICES = {
    "cancelled": "The batch was cancelled, with {count:,} jobs that had not ended.",
    "restarted": "{count:,} jobs start again.",
    "restarted_some": "{count:,} jobs start again. More are left: press again for the next.",
}

router = PageRouter()


@router.get("/batches/{batch_id}")
def show_batch(batch_id: str, request: Request, session: PageTransaction, done: DoneDep) -> Response:
    """Show one batch: counts, what its running jobs do, and failures by their reason."""
    found = _load(session, batch_id)
    live = _count_live(found)
    return render(
        request,
        "batch.html",
        batch=found,
        states=tuple(JobState),
        stages=count_stages(session, batch_id),
        live=live,
        may_cancel=live > 0 or not found.state.is_terminal,
        failures=sum(found.counts.reasons.values()),
        notice=done.say(_NOTICES),
    )


@router.post("/batches/{batch_id}/cancel", dependencies=_ADMIN)
def cancel_from_page(batch_id: str, person: PersonDep, services: ServicesDep) -> Response:
    """Cancel a batch and all of its jobs that have not ended, in steps of short transactions."""
    with services.database.transaction(tenant_id=person.tenant_id) as session:
        before = _load(session, batch_id)
    if before.state.is_terminal and _count_live(before) == 0:
        raise Problem(Reason.STATE_CONFLICT, f"{batch_id} has ended already: {before.state}")
    jobs = SqlJobStore(services.database, person.tenant_id)
    count = cancel_batch(jobs, batch_id, "cancelled on the page of its batch")
    with services.database.transaction(tenant_id=person.tenant_id) as session:
        _note(session, person, "batch.cancelled", batch_id, count)
    return go_back(person, f"/batches/{batch_id}", "cancelled", count)


@router.post("/batches/{batch_id}/retry", dependencies=_ADMIN)
def retry_failures(batch_id: str, form: FormDep, person: PersonDep, services: ServicesDep) -> Response:
    """Start jobs of a batch again that did not succeed: those with one reason, or all of them."""
    reason = form.find_choice("reason", Reason)
    with services.database.transaction(tenant_id=person.tenant_id) as session:
        reasons = _load(session, batch_id).counts.reasons
        left = sum(count for each, count in reasons.items() if reason in (None, each))
        open_quota(session, person.tenant_id, wanted=min(left, RETRIES_MAX))
    count = _retry_in_steps(services, person, batch_id, reason)
    act = "restarted_some" if left > count == RETRIES_MAX else "restarted"
    return go_back(person, f"/batches/{batch_id}", act, count)


def _retry_in_steps(services: Services, person: Person, batch_id: str, reason: Reason | None) -> int:
    """Start jobs again, a transaction for each few hundred; return how many there were."""
    count = 0
    while count < RETRIES_MAX:
        with services.database.transaction(tenant_id=person.tenant_id) as session:
            reasons = [] if reason is None else [reason]
            wanted = find_retryable_jobs(
                session, batch_id, reasons, min(RETRIES_AT_ONCE, RETRIES_MAX - count)
            )
            step = retry_jobs(RequestJobs(session), person.tenant_id, wanted)
            if step:
                _note(session, person, "batch.retried", batch_id, step)
        count += step
        if step == 0:  # nothing is left, or somebody else is at it
            break
    return count


def _load(session: Session, batch_id: str) -> BatchLine:
    found = load_batch(session, batch_id)
    if found is None:
        raise not_found("batch", batch_id)
    return found


def _count_live(batch: BatchLine) -> int:
    return sum(batch.counts.states.get(state, 0) for state in LIVE_STATES)


def _note(session: Session, person: Person, action: str, batch_id: str, jobs: int) -> None:
    owner = {"tenant_id": person.tenant_id, "actor": person.id}
    record_audit(session, **owner, action=action, subject=batch_id, details={"jobs": jobs})
