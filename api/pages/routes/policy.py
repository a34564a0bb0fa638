"""What other rules would change: verdicts that move and hours that people spend, and applying them."""

from collections.abc import Collection, Mapping

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.dependencies import ServicesDep
from api.pages.forms import FormDep
from api.pages.notices import DoneDep, go_back
from api.pages.people import Person, PersonDep
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.rules import RULES, read_new_policy, read_rules, write_rules
from api.pages.templates import render
from api.problems import not_found
from engine.policy import DEFAULT_POLICY, PRESETS
from engine.results import VerdictValue
from fakesieve.filters.check import read_filter
from fakesieve.policy_changes import change_policy
from fakesieve.records.model_lists import ModelLine, list_models
from fakesieve.records.model_policies import OwnPolicies, count_strays, load_own_policies
from fakesieve.records.policies import (
    PolicyLine,
    create_policy,
    find_policy_line,
    list_policies,
    show_active_policy,
)
from fakesieve.records.policy_sql import Preview, preview_policy
from fakesieve.records.review_known import count_left_out
from fakesieve.values.people import UserRole
from fakesieve.values.policies import NAME_LENGTH_MAX, OWN

MOVED_SHOWN = 20
MINUTES_EACH = 4.0
REVIEWED = (VerdictValue.LIKELY_MANIPULATED, VerdictValue.INCONCLUSIVE)
_MINUTES_AN_HOUR = 60.0
_ADMIN = [require_role(UserRole.ADMIN)]

router = PageRouter()


_NOTICES = {
    "kept": "The policy is kept. It judges nothing before it is applied.",
    "own": "Each model's own policy judges from now on. Verdicts that have moved: {count:,}.",
    "own_kept": "Each model's own policy judges from now on. Verdicts that have moved: {count:,}. Verdicts"
    " that stay as they stood, as no host has said which policy their model brings: {left:,}.",
    "applied": "The policy judges from now on. Verdicts that have moved: {count:,}.",
}


@router.get("/policies")
def show_policies(request: Request, person: PersonDep, session: PageTransaction, done: DoneDep) -> Response:
    """Show the policies, and what rules would change over all that is stored: ``RULES`` of the address."""
    active = show_active_policy(session, person.tenant_id)
    own = load_own_policies(session, person.tenant_id) if active is None else None
    judging = (active if own is None else own.policy) or PRESETS[DEFAULT_POLICY]
    rules = read_rules(request.query_params, like=judging)
    found = preview_policy(session, person.tenant_id, rules, read_filter(None), moved_max=MOVED_SHOWN)
    strays = count_strays(session, person.tenant_id) if active is None else None
    return render(
        request,
        "policies.html",
        lines=list_policies(session),
        own=own,
        strays=strays,
        unknown=_list_lines(session, person, strays.unknown if strays else ()),
        own_name=OWN,
        active=active,
        rules=rules,
        texts=write_rules(rules),
        name_max=NAME_LENGTH_MAX,
        preview=found,
        told=tell_preview(found),
        peak=max(1, *found.histogram),
        minutes=MINUTES_EACH,
        kept=count_left_out(session),
        notice=done.say(_NOTICES),
    )


@router.get("/policies/preview")
def send_preview(request: Request, person: PersonDep, session: PageTransaction) -> JSONResponse:
    """Say what the rules of the address, each of ``RULES``, would change, for the fields of the page."""
    rules = read_rules(request.query_params)
    return JSONResponse(
        tell_preview(preview_policy(session, person.tenant_id, rules, read_filter(None), moved_max=0))
    )


@router.post("/policies", dependencies=_ADMIN)
def keep_policy(form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Keep rules under a name; nothing is judged by them yet."""
    body = read_new_policy({name: form.read(name) for name in (*RULES, "name", "note")})
    create_policy(session, person.tenant_id, body.make(body.name), body.note, actor=person.id)
    return go_back(person, "/policies", "kept")


@router.get("/policies/{policy}/apply", dependencies=_ADMIN)
def ask_apply(policy: str, request: Request, person: PersonDep, session: PageTransaction) -> Response:
    """Ask whether a policy is to judge, or each model's own, and say which verdicts it moves."""
    line = None if policy == OWN else _find(session, policy)
    own = load_own_policies(session, person.tenant_id) if line is None else OwnPolicies(line.policy)
    found = preview_policy(
        session,
        person.tenant_id,
        own.policy,
        read_filter(None),
        others=own.others,
        kept=own.kept,
        moved_max=0,
    )
    return render(
        request,
        "apply.html",
        line=line,
        own=own,
        unknown=_list_lines(session, person, found.kept),
        asked=policy,
        own_name=OWN,
        active=show_active_policy(session, person.tenant_id),
        preview=found,
        told=tell_preview(found),
        kept=count_left_out(session),
    )


@router.post("/policies/{policy}/apply", dependencies=_ADMIN)
def apply_from_page(policy: str, person: PersonDep, services: ServicesDep) -> Response:
    """Judge what is stored again by a policy, and from now on what comes."""
    # A transaction of its own: the change has many, and this one would wait idle beside them.
    with services.database.transaction(tenant_id=person.tenant_id) as session:
        chosen = None if policy == OWN else _find(session, policy).policy
    change = change_policy(services.database, person.tenant_id, chosen, actor=person.id)
    act = "applied" if chosen else "own_kept" if change.kept else "own"
    return go_back(person, "/policies", act, change.moved, left=change.kept)


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


def _list_lines(session: Session, person: Person, model_ids: Collection[str]) -> list[ModelLine]:
    """Return models by their ids, newest first, to be named."""
    if not model_ids:
        return []
    return [line for line in list_models(session, person.tenant_id) if line.id in model_ids]


def _find(session: Session, policy: str) -> PolicyLine:
    line = find_policy_line(session, policy)
    if line is None:
        raise not_found("policy", policy)
    return line
