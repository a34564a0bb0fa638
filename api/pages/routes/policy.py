"""What other thresholds would change: verdicts that move and hours that people spend, and applying them."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from api.dependencies import ServicesDep
from api.pages.forms import Form, FormDep
from api.pages.notices import DoneDep, go_back
from api.pages.people import PersonDep
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.templates import render
from api.problems import Problem, not_found
from api.schemas.policies import NewPolicyBody, Rules
from engine.policy import DEFAULT_POLICY, Policy, find_policy
from engine.results import VerdictValue
from fakesieve.filters.check import read_filter
from fakesieve.policy_changes import change_policy
from fakesieve.reasons import Reason
from fakesieve.records.policies import create_policy, find_policy_line, list_policies, show_active_policy
from fakesieve.records.policy_sql import Preview, preview_policy
from fakesieve.records.review_known import count_left_out
from fakesieve.values.people import UserRole

MOVED_SHOWN = 20
MINUTES_EACH = 4.0
REVIEWED = (VerdictValue.LIKELY_MANIPULATED, VerdictValue.INCONCLUSIVE)
_MINUTES_AN_HOUR = 60.0
_ADMIN = [require_role(UserRole.ADMIN)]
_Threshold = Annotated[float | None, Query(gt=0, le=1, allow_inf_nan=False)]

router = PageRouter()


_NOTICES = {
    "kept": "The policy is kept. It judges nothing before it is applied.",
    "applied": "The policy judges from now on. {count:,} verdicts have moved.",
}


@router.get("/policies")
def show_policies(
    request: Request,
    person: PersonDep,
    session: PageTransaction,
    done: DoneDep,
    low: _Threshold = None,
    high: _Threshold = None,
) -> Response:
    """Show the policies, and what two thresholds would change over all that is stored."""
    active = show_active_policy(session, person.tenant_id)
    start = active or find_policy(DEFAULT_POLICY)
    rules = _make_rules(start.low if low is None else low, start.high if high is None else high, start)
    found = preview_policy(session, person.tenant_id, rules, read_filter(None), moved_max=MOVED_SHOWN)
    return render(
        request,
        "policies.html",
        lines=list_policies(session),
        active=active,
        rules=rules,
        preview=found,
        told=tell_preview(found),
        peak=max(1, *found.histogram),
        minutes=MINUTES_EACH,
        reviewed=REVIEWED,
        kept=count_left_out(session),
        notice=done.say(_NOTICES),
    )


@router.get("/policies/preview")
def send_preview(
    person: PersonDep,
    session: PageTransaction,
    low: Annotated[float, Query(gt=0, le=1, allow_inf_nan=False)],
    high: Annotated[float, Query(gt=0, le=1, allow_inf_nan=False)],
) -> JSONResponse:
    """Say what two thresholds would change, for the sliders."""
    start = show_active_policy(session, person.tenant_id) or find_policy(DEFAULT_POLICY)
    rules = _make_rules(low, high, start)
    return JSONResponse(
        tell_preview(preview_policy(session, person.tenant_id, rules, read_filter(None), moved_max=0))
    )


@router.post("/policies", dependencies=_ADMIN)
def keep_policy(form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Keep two thresholds under a name; nothing is judged by them yet."""
    create_policy(session, person.tenant_id, _read_policy(form), form.read("note") or None, actor=person.id)
    return go_back(person, "/policies", "kept")


@router.post("/policies/{policy}/apply", dependencies=_ADMIN)
def apply_from_page(policy: str, person: PersonDep, services: ServicesDep) -> Response:
    """Judge what is stored again by a policy, and from now on what comes."""
    # A transaction of its own: the change has many, and this one would wait idle beside them.
    with services.database.transaction(tenant_id=person.tenant_id) as session:
        line = find_policy_line(session, policy)
    if line is None:
        raise not_found("policy", policy)
    change = change_policy(services.database, person.tenant_id, line.policy, actor=person.id)
    return go_back(person, "/policies", "applied", change.moved)


def tell_preview(found: Preview) -> Mapping[str, float]:
    """Return the counts that the page shows and its module renews."""
    before, after = found.count_before(REVIEWED), found.count_after(REVIEWED)
    likely = (VerdictValue.LIKELY_MANIPULATED,)
    return {
        "analyses": found.analysis_count,
        "moved": found.moved_count,
        "likely_before": found.count_before(likely),
        "likely_after": found.count_after(likely),
        "reviewed_before": before,
        "reviewed_after": after,
        "hours_before": round(before * MINUTES_EACH / _MINUTES_AN_HOUR, 1),
        "hours_after": round(after * MINUTES_EACH / _MINUTES_AN_HOUR, 1),
    }


def _make_rules(low: float, high: float, like: Policy) -> Policy:
    try:
        Rules(low=low, high=high)
    except ValidationError as fault:
        raise Problem(Reason.INVALID_REQUEST, "the lower threshold lies over the upper one") from fault
    return Policy("preview", 1, low, high, like.min_coverage, like.min_peak_frames)


def _read_policy(form: Form) -> Policy:
    try:
        body = NewPolicyBody(
            name=form.read("name"), low=float(form.read("low")), high=float(form.read("high"))
        )
    except ValueError as fault:
        raise Problem(
            Reason.INVALID_REQUEST,
            "a policy has a name of letters, digits, '.', '_' and '-', and two thresholds",
        ) from fault
    return body.make(body.name)
