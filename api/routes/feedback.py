"""What callers say of results, calibrations fitted from what reviewers say, and the log of who did what."""

from typing import Annotated

from fastapi import Query, Response
from pydantic import AwareDatetime

from api.dependencies import CallerDep, Transaction, require_scope
from api.pagination import Page, PageQuery
from api.problems import Problem, describe_responses
from api.router import ApiRouter
from api.schemas.reviews import (
    AuditCheckOut,
    AuditOut,
    CalibrationOut,
    FeedbackBody,
    FeedbackOut,
    NewCalibrationBody,
)
from api.writing import read_before
from api.writing_reviews import write_audit, write_calibration, write_feedback
from fakesieve.calibration.fits import fit_model, list_fits, load_fit
from fakesieve.reasons import Reason
from fakesieve.records.audit import AuditSearch, check_chain, list_audit
from fakesieve.records.model_lists import find_model_line
from fakesieve.reviews.entries import give_feedback, load_feedback
from fakesieve.scopes import Scope

router = ApiRouter(tags=["reviews"])
_READ, _ADMIN = [require_scope(Scope.RESULTS_READ)], [require_scope(Scope.KEYS_ADMIN)]
_FITTED = describe_responses(Reason.TOO_FEW_DECISIONS, Reason.UNSUPPORTED_MEDIA_TYPE)
_GIVEN = describe_responses(Reason.STATE_CONFLICT, Reason.UNSUPPORTED_MEDIA_TYPE)
SEQUENCE_MAX = 2**53
IdQuery = Annotated[str | None, Query(max_length=100)]


@router.post("/v1/feedback", status_code=201, dependencies=_READ, responses=_GIVEN)
def send_feedback(
    body: FeedbackBody, response: Response, caller: CallerDep, session: Transaction
) -> FeedbackOut:
    """Say that a result is wrong or right. It lies beside the decisions of reviewers, and moves no score."""
    entry = give_feedback(
        session, caller.tenant_id, body.analysis_id, caller.key_id, body.category, body.comment
    )
    response.headers["Location"] = f"/v1/feedback/{entry}"
    return write_feedback(load_feedback(session, entry, caller.key_id))


@router.get("/v1/feedback/{feedback_id}", dependencies=_READ)
def show_feedback(feedback_id: str, caller: CallerDep, session: Transaction) -> FeedbackOut:
    """Show feedback of the key that asks. That of others stands in `/v1/review-entries`."""
    return write_feedback(load_feedback(session, feedback_id, caller.key_id))


@router.post(
    "/v1/calibrations",
    status_code=201,
    dependencies=[require_scope(Scope.MODELS_ADMIN)],
    responses=_FITTED,
)
def fit_calibration(
    body: NewCalibrationBody, response: Response, caller: CallerDep, session: Transaction
) -> CalibrationOut:
    """Fit a calibration of a model from what reviewers decided. It is kept and shown, and moves no score."""
    line = find_model_line(session, caller.tenant_id, body.model_id)
    model_id = body.model_id if line is None else line.id
    fit = fit_model(session, caller.tenant_id, caller.key_id, model_id, method=body.method, prior=body.prior)
    response.headers["Location"] = f"/v1/calibrations/{fit.id}"
    return write_calibration(fit)


@router.get("/v1/calibrations", dependencies=_READ)
def list_calibrations(
    caller: CallerDep, session: Transaction, page: PageQuery, model_id: IdQuery = None
) -> Page[CalibrationOut]:
    """List fits, newest first."""
    query = page.bind(caller, "calibrations", {"model_id": model_id})
    fits = list_fits(session, model_id=model_id, before=read_before(query.position), limit=page.limit)
    return query.make(
        Page[CalibrationOut], fits, write_calibration, lambda fit: (fit.create_time.isoformat(), fit.id)
    )


@router.get("/v1/calibrations/{calibration_id}", dependencies=_READ)
def show_calibration(calibration_id: str, session: Transaction) -> CalibrationOut:
    """Show a fit."""
    return write_calibration(load_fit(session, calibration_id))


@router.get("/v1/audit-log", dependencies=_ADMIN)
def list_audit_log(
    caller: CallerDep,
    session: Transaction,
    page: PageQuery,
    subject: IdQuery = None,
    actor: IdQuery = None,
    action: IdQuery = None,
    start_time: Annotated[AwareDatetime | None, Query(description="From this time on, with a zone.")] = None,
    end_time: Annotated[AwareDatetime | None, Query(description="Before this time, with a zone.")] = None,
) -> Page[AuditOut]:
    """List who did what, newest first: to one thing, by one person or key, of one kind, within a time."""
    search = AuditSearch(subject, actor, action, start_time, end_time)
    query = page.bind(caller, "audit-log", search.write())
    before = None if query.position is None else _read_number(query.position[0])
    lines = list_audit(session, search, before=before, limit=page.limit)
    return query.make(Page[AuditOut], lines, write_audit, lambda line: (line.sequence,))


@router.get("/v1/audit-log:check", dependencies=_ADMIN)
def check_audit_log(
    caller: CallerDep,
    session: Transaction,
    after: Annotated[
        int, Query(ge=0, le=SEQUENCE_MAX, description="The number of the entry to begin behind.")
    ] = 0,
) -> AuditCheckOut:
    """Recompute the chain of the log, 100,000 entries at a call; say which does not fit the one before."""
    found = check_chain(session, caller.tenant_id, after=after)
    return AuditCheckOut(
        entries=found.entries,
        broken_at=found.broken_at,
        after_sha256=found.after_sha256,
        head_sha256=found.head_sha256,
        next_after=found.next_after,
    )


def _read_number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Problem(Reason.INVALID_PAGE_TOKEN, "page_token is of another release")
