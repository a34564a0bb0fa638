"""Policies: thresholds of a tenant, tried over history and applied without scoring anything again."""

from typing import Annotated

from fastapi import Path, Response

from api.caller_filters import read_caller_filter
from api.dependencies import CallerDep, ServicesDep, Transaction, Transactions, require_scope
from api.pagination import Page
from api.problems import describe_responses, not_found
from api.router import ApiRouter
from api.schemas.policies import (
    AppliedOut,
    ApplyBody,
    MovedOut,
    MoveOut,
    NewPolicyBody,
    PolicyOut,
    PreviewAsk,
    PreviewOut,
    TryRulesBody,
    WorkOut,
)
from engine.policy import Policy
from fakesieve.policy_changes import change_policy
from fakesieve.reasons import Reason
from fakesieve.records.model_policies import OwnPolicies, load_own_policies
from fakesieve.records.policies import (
    PolicyLine,
    create_policy,
    find_policy_line,
    list_policies,
    show_active_policy,
)
from fakesieve.records.policy_sql import Preview, preview_policy
from fakesieve.records.tenants import Caller
from fakesieve.scopes import Scope
from fakesieve.values.policies import OWN

router = ApiRouter(tags=["policies"])
_READ, _WRITE = [require_scope(Scope.RESULTS_READ)], [require_scope(Scope.POLICIES_WRITE)]
_CHANGE_RESPONSES = describe_responses(Reason.STATE_CONFLICT, Reason.UNSUPPORTED_MEDIA_TYPE)
_MINUTES_AN_HOUR = 60.0

PolicyName = Annotated[
    str, Path(max_length=200, description="Id, name (its newest version) or `name@version`; presets by name.")
]
JudgeName = Annotated[
    str,
    Path(
        max_length=200,
        description="Id, name (its newest version) or `name@version`. `-` is each model's own.",
    ),
]


@router.get("/v1/policies", dependencies=_READ)
def list_all_policies(caller: CallerDep, session: Transaction) -> Page[PolicyOut]:
    """List the presets, the models' own policies and all versions of the tenant's, all on one page."""
    active = show_active_policy(session, caller.tenant_id)
    return Page[PolicyOut](data=[_write(line, active) for line in list_policies(session)])


@router.post("/v1/policies", status_code=201, dependencies=_WRITE, responses=_CHANGE_RESPONSES)
def create_one_policy(
    body: NewPolicyBody, response: Response, caller: CallerDep, session: Transaction
) -> PolicyOut:
    """Keep a policy, or the next version of one. It judges nothing before it is applied."""
    line = create_policy(session, caller.tenant_id, body.make(body.name), body.note, actor=caller.key_id)
    response.headers["Location"] = f"/v1/policies/{line.id}"
    return _write(line, show_active_policy(session, caller.tenant_id))


@router.get("/v1/policies/{policy}", dependencies=_READ)
def show_policy(policy: PolicyName, caller: CallerDep, session: Transaction) -> PolicyOut:
    """Show one policy."""
    return _write(_find(session, policy), show_active_policy(session, caller.tenant_id))


@router.post("/v1/policies:preview", dependencies=_READ, responses=_CHANGE_RESPONSES)
def try_rules(body: TryRulesBody, caller: CallerDep, session: Transaction) -> PreviewOut:
    """Say what rules would change that are not kept, over all of history or a part of it."""
    return _preview(session, caller, OwnPolicies(body.make("preview")), "preview", body)


@router.post("/v1/policies/{policy}:preview", dependencies=_READ, responses=_CHANGE_RESPONSES)
def preview_one_policy(
    policy: JudgeName, caller: CallerDep, session: Transaction, body: PreviewAsk | None = None
) -> PreviewOut:
    """Say what a policy would change: how many verdicts move, which, and what it asks of reviewers.

    `-` is each model's own policy for the analyses of its model. Where it is not known which one a model
    brings, its analyses stay as they stand (`kept`).
    """
    asked = body or PreviewAsk()
    if policy == OWN:
        return _preview(session, caller, load_own_policies(session, caller.tenant_id), OWN, asked)
    line = _find(session, policy)
    return _preview(session, caller, OwnPolicies(line.policy), line.label, asked)


@router.post("/v1/policies/{policy}:apply", dependencies=_WRITE, responses=_CHANGE_RESPONSES)
def apply_one_policy(
    policy: JudgeName,
    caller: CallerDep,
    services: ServicesDep,
    begin: Transactions,
    body: ApplyBody | None = None,
) -> AppliedOut:
    """Judge history again, and what comes from now on. Scores stay; earlier verdicts stay on record.

    Long histories are judged in steps; a call that was cut off is completed by making it again. `-` goes back
    to where no policy is chosen: the policy of each model judges what its model has scored and will score.
    Analyses of a model of which no host has said which policy it brings stay as they stand (`kept`).
    """
    asked = body or ApplyBody()
    wanted = read_caller_filter(asked.filter, caller)
    line = None
    if policy != OWN:
        with begin() as session:
            line = _find(session, policy)
    change = change_policy(
        services.database,
        caller.tenant_id,
        None if line is None else line.policy,
        wanted,
        actor=caller.key_id,
        is_activated=asked.activate,
    )
    label = OWN if line is None else line.label
    return AppliedOut(
        policy=label, is_active=asked.activate, judged=change.judged, moved=change.moved, kept=change.kept
    )


def _find(session: Transaction, name: str) -> PolicyLine:
    line = find_policy_line(session, name)
    if line is None:
        raise not_found("policy", name)
    return line


def _write(line: PolicyLine, active: Policy | None) -> PolicyOut:
    policy = line.policy
    return PolicyOut(
        id=line.id,
        name=policy.name,
        version=policy.version,
        low=policy.low,
        high=policy.high,
        min_coverage=policy.min_coverage,
        min_peak_frames=policy.min_peak_frames,
        extrapolated=policy.extrapolated,
        is_preset=line.is_preset,
        is_active=line.is_judging(active),
        model_ids=list(line.models),
        note=line.note,
        create_time=line.create_time,
    )


def _preview(
    session: Transaction, caller: Caller, judging: OwnPolicies, label: str, asked: PreviewAsk
) -> PreviewOut:
    wanted = read_caller_filter(asked.filter, caller)
    found = preview_policy(
        session,
        caller.tenant_id,
        judging.policy,
        wanted,
        others=judging.others,
        kept=judging.kept,
        moved_max=asked.moved_max,
    )
    return PreviewOut(
        policy=label,
        analyses=found.analysis_count,
        moved_count=found.moved_count,
        counts=[MoveOut(before=before, after=after, count=count) for before, after, count in found.counts],
        review=_write_work(found, asked),
        kept=found.kept_count,
        kept_model_ids=list(found.kept),
        histogram=list(found.histogram),
        moved=[
            MovedOut(
                analysis_id=each.analysis_id,
                video_id=each.video_id,
                before=each.before,
                after=each.after,
                score=each.score,
            )
            for each in found.moved
        ],
    )


def _write_work(found: Preview, asked: PreviewAsk) -> WorkOut:
    before, after = found.count_before(asked.reviewed), found.count_after(asked.reviewed)
    return WorkOut(
        videos_before=before,
        videos_after=after,
        hours_before=before * asked.review_minutes / _MINUTES_AN_HOUR,
        hours_after=after * asked.review_minutes / _MINUTES_AN_HOUR,
        minutes_each=asked.review_minutes,
        reviewed=asked.reviewed,
    )
