"""Models: cards, what each is used for, what flips between two, and scoring again by filter."""

from contextlib import ExitStack
from typing import Annotated

from fastapi import Path, Query, Request, Response

from api.caller_filters import read_caller_filter
from api.dependencies import CallerDep, Jobs, ServicesDep, Transaction, Transactions, require_scope
from api.idempotency import HEADER
from api.pagination import Page
from api.problems import describe_responses, not_found
from api.request_jobs import open_quota, read_places
from api.rescoring import RescoreOrder, RescorePlan, plan_rescore, start_rescore, take_turn
from api.router import ApiRouter
from api.routes.analyses import FilterText
from api.schemas.models import (
    ComparisonOut,
    FlipOut,
    LeftModelOut,
    ModelOut,
    PromoteBody,
    RescoreBody,
    RescoreOut,
    RollBackBody,
    RolledBackOut,
)
from api.schemas.policies import MoveOut
from fakesieve.model_changes import change_alias, foresee_back, go_back
from fakesieve.reasons import Reason
from fakesieve.records.model_comparisons import FLIPS_MAX, Comparison, compare_models
from fakesieve.records.model_lists import ModelLine, find_model_line, list_models
from fakesieve.records.tenants import Caller, load_quota
from fakesieve.scopes import Scope

router = ApiRouter(tags=["models"])
_READ, _ADMIN = [require_scope(Scope.RESULTS_READ)], [require_scope(Scope.MODELS_ADMIN)]
_RESCORE = [require_scope(Scope.RESULTS_READ, Scope.JOBS_WRITE)]
_CHANGE_RESPONSES = describe_responses(Reason.STATE_CONFLICT, Reason.UNSUPPORTED_MEDIA_TYPE)
_RESCORE_RESPONSES = describe_responses(
    Reason.STATE_CONFLICT, Reason.REQUEST_IN_PROGRESS, Reason.QUOTA_EXCEEDED, Reason.UNSUPPORTED_MEDIA_TYPE
)

ModelName = Annotated[str, Path(max_length=100, description="Id, or what it is used for: `champion`.")]


@router.get("/v1/models", dependencies=_READ)
def list_all_models(caller: CallerDep, session: Transaction) -> Page[ModelOut]:
    """List the models that have made a score or that a host runs, newest first, all on one page."""
    return Page[ModelOut](data=[_write(line) for line in list_models(session, caller.tenant_id)])


@router.get("/v1/models:compare", dependencies=_READ)
def compare_two_models(
    caller: CallerDep,
    session: Transaction,
    base: Annotated[str, Query(max_length=100, description="Id or use.")] = "champion",
    other: Annotated[str, Query(max_length=100, description="Id or use.")] = "challenger",
    wanted: FilterText = None,
    flips_max: Annotated[int, Query(ge=0, le=FLIPS_MAX)] = 100,
) -> ComparisonOut:
    """Say what flips between two models, over the videos that both have scored. The filter is of the base."""
    read = read_caller_filter(wanted, caller)
    first, second = _find(session, caller, base), _find(session, caller, other)
    found = compare_models(session, caller.tenant_id, first.id, second.id, read, flips_max=flips_max)
    return _write_comparison(found, first, second)


@router.post("/v1/models:rollback", dependencies=_ADMIN, responses=_CHANGE_RESPONSES)
def roll_back_model(
    caller: CallerDep, session: Transaction, body: RollBackBody | None = None
) -> RolledBackOut:
    """Use the model before again, and name both. A second roll-back goes back one more.

    `dry_run` names them and changes nothing.
    """
    asked = body or RollBackBody()
    if asked.dry_run:
        way = foresee_back(session, caller.tenant_id, asked.alias)
    else:
        way = go_back(session, caller.tenant_id, asked.alias, actor=caller.key_id)
    found, left = (_find(session, caller, model_id) for model_id in (way.to_id, way.from_id))
    return RolledBackOut(
        **dict(_write(found)),
        alias=asked.alias,
        from_model=LeftModelOut(id=left.id, name=left.name, weights_sha256=left.weights_sha256),
        is_done=not asked.dry_run,
    )


@router.get("/v1/models/{model}", dependencies=_READ)
def show_model(model: ModelName, caller: CallerDep, session: Transaction) -> ModelOut:
    """Show one model with its card."""
    return _write(_find(session, caller, model))


@router.post("/v1/models/{model}:promote", dependencies=_ADMIN, responses=_CHANGE_RESPONSES)
def promote_model(
    model: ModelName, caller: CallerDep, session: Transaction, body: PromoteBody | None = None
) -> ModelOut:
    """Call a model champion, challenger or shadow, for comparisons and scoring again.

    The name changes neither which model hosts run, which is set where they are started, nor which results
    are shown.
    """
    line, alias = _find(session, caller, model), (body or PromoteBody()).alias
    change_alias(session, caller.tenant_id, line, alias, actor=caller.key_id)
    return _write(_find(session, caller, line.id))


@router.post("/v1/analyses:rescore", status_code=202, dependencies=_RESCORE, responses=_RESCORE_RESPONSES)
def rescore_analyses(
    body: RescoreBody,
    request: Request,
    response: Response,
    caller: CallerDep,
    services: ServicesDep,
    jobs: Jobs,
    begin: Transactions,
) -> RescoreOut:
    """Score videos again by another model: those whose analyses fit a filter and that it has not scored.

    A job runs on whatever host takes it, so all running hosts must have the model; else nothing is started
    (ENGINE_UNAVAILABLE). `dry_run` counts and says so. Videos that cannot be reached are counted and passed
    over, as are those of which a job waits or runs. Jobs are submitted in steps: a call that was cut off goes
    on in its batch when it is sent again under the same `Idempotency-Key`, and takes no more than the first
    time. Two calls at once take no video twice: the second waits for the first, and where that takes longer
    than five seconds it has to ask again (REQUEST_IN_PROGRESS).
    """
    key, wanted = request.headers.get(HEADER), read_caller_filter(body.filter, caller)
    with ExitStack() as turn:
        if not body.dry_run:  # in a transaction that reads nothing, as it goes on until the jobs are there
            take_turn(turn.enter_context(begin()), caller.tenant_id)
        with begin() as session:
            line = _find(session, caller, body.model)
            order = RescoreOrder(line, wanted, body.videos_max, body.lane, key)
            places = read_places(load_quota(session, caller.tenant_id), services.settings.bucket)
            plan = plan_rescore(session, caller, places, order)
            if plan.begun is None:
                open_quota(session, caller.tenant_id, wanted=0)
        if body.dry_run or not plan.job_count:
            return _write_plan(plan, None)
        batch_id = start_rescore(jobs, begin, caller, plan)
    response.headers["Location"] = f"/v1/batches/{batch_id}"
    return _write_plan(plan, batch_id)


def _find(session: Transaction, caller: Caller, name: str) -> ModelLine:
    line = find_model_line(session, caller.tenant_id, name)
    if line is None:
        raise not_found("model", name)
    return line


def _write(line: ModelLine) -> ModelOut:
    return ModelOut.model_validate(
        {
            "id": line.id,
            "name": line.name,
            "weights_sha256": line.weights_sha256,
            "create_time": line.create_time,
            "aliases": list(line.aliases),
            "hosts": line.hosts,
            "card": line.card,
        }
    )


def _write_plan(plan: RescorePlan, batch_id: str | None) -> RescoreOut:
    return RescoreOut(
        model_id=plan.line.id,
        videos=plan.video_count,
        unreachable=plan.unreachable,
        unreachable_video_ids=list(plan.unreachable_ids),
        live=plan.live,
        is_whole=plan.is_whole,
        hosts=plan.line.hosts,
        other_hosts=plan.other_hosts,
        can_run=plan.can_run,
        batch_id=batch_id,
    )


def _write_comparison(found: Comparison, base: ModelLine, other: ModelLine) -> ComparisonOut:
    return ComparisonOut(
        base=base.id,
        other=other.id,
        videos=found.video_count,
        flip_count=found.flip_count,
        counts=[MoveOut(before=before, after=after, count=count) for before, after, count in found.counts],
        mean_difference=found.mean_difference,
        mean_distance=found.mean_distance,
        flips=[
            FlipOut(
                video_id=flip.video_id,
                base_id=flip.base_id,
                other_id=flip.other_id,
                base=flip.base,
                other=flip.other,
                base_score=flip.base_score,
                other_score=flip.other_score,
            )
            for flip in found.flips
        ],
    )
