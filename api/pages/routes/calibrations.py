"""Calibrations that were fitted from decisions: the list of them, and a new fit, which moves no score."""

from collections.abc import Sequence
from functools import partial

from fastapi import Request, Response
from pydantic import ValidationError
from sqlalchemy.orm import Session

from api.dependencies import ServicesDep
from api.pages.forms import Form, FormDep
from api.pages.notices import Done, DoneDep, go_back
from api.pages.once import do_once, make_number
from api.pages.paging import LINES, PageToken, open_paging
from api.pages.people import Person, PersonDep
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.routes.models import ModelQuery
from api.pages.templates import render
from api.problems import Problem, find_status, not_found
from api.schemas.reviews import NewCalibrationBody
from api.services import Services
from fakesieve.calibration.fit import Method
from fakesieve.calibration.fits import (
    COUNT_MIN,
    COUNT_MIN_OF_EACH,
    PLATT_COUNT,
    SAMPLES_MAX,
    fit_model,
    list_fits,
)
from fakesieve.errors import RequestRefused
from fakesieve.people.accounts import name_people
from fakesieve.reasons import Reason
from fakesieve.records.model_lists import ModelLine, list_models
from fakesieve.values.people import UserRole

PLACE = "/models/calibrations"
_ADMIN = [require_role(UserRole.ADMIN)]
_NOTICES = {"fitted": "The fit is kept. It moves no score and no verdict."}
_IN_PLACE = (Reason.TOO_FEW_DECISIONS, Reason.STATE_CONFLICT)
"""Refusals that are said beside the form: the decisions give no fit."""
_METHODS = {
    "": "as the number of decisions says",
    Method.TEMPERATURE.value: "temperature: a slope alone",
    Method.PLATT.value: "Platt: slope and intercept",
}

router = PageRouter()


@router.get(PLACE)
def show_calibrations(
    request: Request,
    person: PersonDep,
    services: ServicesDep,
    session: PageTransaction,
    done: DoneDep,
    model: ModelQuery = "",
    token: PageToken = "",
) -> Response:
    """Show what was fitted, newest first, of all models or of one."""
    return _show(request, person, services, session, model, token=token, done=done)


@router.post(PLACE, dependencies=_ADMIN)
def take_fit(
    request: Request, form: FormDep, person: PersonDep, services: ServicesDep, session: PageTransaction
) -> Response:
    """Fit a calibration from decisions, or say beside the form why there are not enough of them."""
    try:
        return do_once(request, session, person, form, partial(_fit, form, person, session))
    except RequestRefused as refusal:
        if refusal.reason not in _IN_PLACE:
            raise
        return _show(request, person, services, session, form.read("model_id"), refusal=refusal)


def _fit(form: Form, person: Person, session: Session) -> Response:
    body = _read(form)
    fit_model(session, person.tenant_id, person.id, body.model_id, method=body.method, prior=body.prior)
    return go_back(person, PLACE, "fitted", query={"model": body.model_id})


def _read(form: Form) -> NewCalibrationBody:
    given = {name: form.read(name) for name in ("model_id", "method", "prior")}
    try:
        return NewCalibrationBody.model_validate_strings({name: text for name, text in given.items() if text})
    except ValidationError as fault:
        seen = "a fit is of a model, by a method of the list, at a share over 0 and below 1"
        raise Problem(Reason.INVALID_REQUEST, seen) from fault


def _show(
    request: Request,
    person: Person,
    services: Services,
    session: Session,
    model: str,
    *,
    token: str = "",
    done: Done | None = None,
    refusal: RequestRefused | None = None,
) -> Response:
    lines = list_models(session, person.tenant_id)
    chosen = _pick(lines, model) if model else None
    asked = {} if chosen is None else {"model": chosen.id}
    paging = open_paging(services, person, "calibrations", asked, token)
    found = list_fits(session, model_id=asked.get("model"), before=paging.time_and_id, limit=LINES + 1)
    shown, more = paging.cut(found, lambda fit: (fit.create_time.isoformat(), fit.id))
    return render(
        request,
        "calibrations.html",
        status=200 if refusal is None else find_status(refusal.reason),
        fits=shown,
        more=more,
        models={line.id: line for line in lines},
        chosen=chosen,
        names=name_people(session, {fit.created_by for fit in shown}),
        methods=_METHODS,
        least=COUNT_MIN,
        least_of_each=COUNT_MIN_OF_EACH,
        platt=PLATT_COUNT,
        most=SAMPLES_MAX,
        number=make_number(),
        refusal=refusal,
        notice="" if done is None else done.say(_NOTICES),
    )


def _pick(lines: Sequence[ModelLine], name: str) -> ModelLine:
    for line in lines:
        if name == line.id or name in line.aliases:
            return line
    raise not_found("model", name)
