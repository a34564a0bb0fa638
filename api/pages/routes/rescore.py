"""Scoring videos again by another model: what it would take, said before it is started, and its start."""

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import Query, Request, Response
from pydantic import ValidationError
from sqlalchemy.orm import Session

from api.dependencies import ServicesDep
from api.pages.forms import Form, FormDep
from api.pages.notices import DoneDep, go_back
from api.pages.once import do_once, make_number, name_form
from api.pages.people import Person, PersonDep
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.routes.results import FILTER_LETTERS_MAX
from api.pages.templates import render
from api.problems import Problem, not_found
from api.request_jobs import read_places
from api.rescoring import RescoreOrder, RescorePlan, check_start, plan_rescore, start_rescore, take_turn
from api.schemas.models import RESCORE_MAX, RescoreBody
from api.services import Services
from fakesieve.errors import FleetError
from fakesieve.filters.check import read_filter
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import Lane
from fakesieve.reasons import Reason
from fakesieve.records.batch_lists import load_batch
from fakesieve.records.model_lists import ModelLine, find_model_line, list_models
from fakesieve.records.review_known import count_left_out
from fakesieve.records.tenants import Caller, Quota, load_quota
from fakesieve.records.video_lists import Length, add_lengths
from fakesieve.scopes import Scope
from fakesieve.values.models import ModelAlias
from fakesieve.values.people import UserRole

PLACE = "/models/rescore"
VIDEOS_MAX = 1000
"""Videos that a page asks for unless it is told otherwise; as over ``/v1``."""
_ADMIN = [require_role(UserRole.ADMIN)]
_NOTICES = {
    "started": "Videos that are on their way to be scored again: {count:,}.",
    "nothing": "Nothing was started: no video is left that fits and can be reached.",
    "stopped": "Nothing was started: counting stopped before it found any. A narrower filter may find some.",
}
NameQuery = Annotated[str, Query(max_length=100)]

router = PageRouter()


@dataclass(frozen=True)
class Counted:
    """What an order would take, and why it cannot be started now, if it cannot."""

    plan: RescorePlan
    length: Length
    quota: Quota
    refusal: Problem | None


@router.get(PLACE, dependencies=_ADMIN)
def show_rescore(
    request: Request,
    person: PersonDep,
    services: ServicesDep,
    session: PageTransaction,
    done: DoneDep,
    *,
    model: NameQuery = "",
    asked: Annotated[str, Query(alias="filter", max_length=FILTER_LETTERS_MAX)] = "",
    lane: Lane = Lane.BULK,
    videos_max: Annotated[int, Query(ge=1, le=RESCORE_MAX)] = VIDEOS_MAX,
    batch: NameQuery = "",
    by: NameQuery = "",
) -> Response:
    """Show what scoring again would take, or where what was started is to be seen."""
    chosen = _find(session, person, model) if model else None
    counted, fault = None, None
    if chosen is not None:
        try:
            order = RescoreOrder(chosen, read_filter(asked or None), videos_max, lane)
            with session.begin_nested():  # as in the results: what a slow filter ends is not the page
                counted = _count(session, person, services, order)
        except FleetError as failure:
            if failure.reason is not Reason.INVALID_FILTER:
                raise
            fault = failure
    return render(
        request,
        "rescore.html",
        status=200 if fault is None else 422,
        lines=list_models(session, person.tenant_id),
        chosen=chosen,
        asked=asked,
        lane=lane,
        lanes=tuple(Lane),
        videos_max=videos_max,
        limit=RESCORE_MAX,
        counted=counted,
        fault=fault,
        number=make_number(),
        kept=count_left_out(session),
        started=load_batch(session, batch) if batch else None,
        by=find_model_line(session, person.tenant_id, by) if by else None,
        champion=find_model_line(session, person.tenant_id, ModelAlias.CHAMPION.value),
        notice=done.say(_NOTICES),
    )


@router.post(PLACE, dependencies=_ADMIN)
def take_rescore(
    request: Request, form: FormDep, person: PersonDep, services: ServicesDep, session: PageTransaction
) -> Response:
    """Start what was counted, and no more videos than that."""
    return do_once(request, session, person, form, partial(_start, form, person, services, session))


def _start(form: Form, person: Person, services: Services, session: Session) -> Response:
    body = _read(form)
    line = _find(session, person, body.model)
    key = name_form(person, form)
    order = RescoreOrder(line, read_filter(body.filter), body.videos_max, body.lane, key)
    caller = _act_for(person)
    places = read_places(load_quota(session, person.tenant_id), services.settings.bucket)
    take_turn(session, person.tenant_id)
    plan = plan_rescore(session, caller, places, order)
    if not plan.job_count:
        return go_back(person, PLACE, "nothing" if plan.is_whole else "stopped")
    # The steps of the batch are transactions of their own; this one has the answer, as under a key of /v1.
    store = SqlJobStore(services.database, person.tenant_id)
    batch_id = start_rescore(store, partial(nullcontext, session), caller, plan)
    return go_back(person, PLACE, "started", plan.job_count, {"batch": batch_id, "by": line.id})


def _count(session: Session, person: Person, services: Services, order: RescoreOrder) -> Counted:
    quota = load_quota(session, person.tenant_id)
    plan = plan_rescore(session, _act_for(person), read_places(quota, services.settings.bucket), order)
    refusal = None
    try:
        check_start(session, person.tenant_id, plan)
    except Problem as problem:
        refusal = problem
    return Counted(plan, add_lengths(session, list(plan.jobs)), quota, refusal)


def _read(form: Form) -> RescoreBody:
    given = {name: form.read(name) for name in ("model", "filter", "lane", "videos_max")}
    try:
        return RescoreBody.model_validate_strings({name: text for name, text in given.items() if text})
    except ValidationError as fault:
        seen = f"a model, a lane and 1 to {RESCORE_MAX:,} videos are needed"
        raise Problem(Reason.INVALID_REQUEST, seen) from fault


def _find(session: Session, person: Person, name: str) -> ModelLine:
    line = find_model_line(session, person.tenant_id, name)
    if line is None:
        raise not_found("model", name)
    return line


def _act_for(person: Person) -> Caller:
    scopes = (Scope.RESULTS_READ, Scope.JOBS_WRITE, Scope.REVIEW_READ)
    return Caller(person.id, person.tenant_id, frozenset(scope.value for scope in scopes))
