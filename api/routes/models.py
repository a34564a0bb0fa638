"""Models: cards, what each is used for, what flips between two, and scoring again by filter."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import Path, Query, Request, Response
from sqlalchemy.orm import Session

from api.caller_filters import read_caller_filter
from api.dependencies import CallerDep, Jobs, ServicesDep, Transaction, Transactions, require_scope
from api.idempotency import HEADER
from api.pagination import Page
from api.problems import Problem, describe_responses, not_found
from api.request_jobs import open_quota, read_places
from api.router import ApiRouter
from api.routes.analyses import FilterText
from api.schemas.models import (
    ComparisonOut,
    FlipOut,
    ModelOut,
    PromoteBody,
    RescoreBody,
    RescoreOut,
    RollBackBody,
)
from api.schemas.policies import MoveOut
from fakesieve.jobs.submit import NewBatch, NewJob, submit_batch
from fakesieve.model_changes import change_alias, go_back
from fakesieve.objects import VideoRef
from fakesieve.places import Places
from fakesieve.reasons import Reason
from fakesieve.records.model_comparisons import FLIPS_MAX, Comparison, compare_models
from fakesieve.records.model_lists import (
    ModelLine,
    Target,
    count_hosts,
    find_model_line,
    find_targets,
    list_models,
)
from fakesieve.records.tenants import Caller
from fakesieve.records.videos import map_sources
from fakesieve.scopes import Scope

router = ApiRouter(tags=["models"])
_READ, _ADMIN = [require_scope(Scope.RESULTS_READ)], [require_scope(Scope.MODELS_ADMIN)]
_RESCORE = [require_scope(Scope.RESULTS_READ, Scope.JOBS_WRITE)]
_CHANGE_RESPONSES = describe_responses(Reason.STATE_CONFLICT, Reason.UNSUPPORTED_MEDIA_TYPE)
_RESCORE_RESPONSES = describe_responses(
    Reason.STATE_CONFLICT, Reason.QUOTA_EXCEEDED, Reason.UNSUPPORTED_MEDIA_TYPE
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
def roll_back_model(caller: CallerDep, session: Transaction, body: RollBackBody | None = None) -> ModelOut:
    """Use the model before again. A second roll-back goes back one more."""
    alias = (body or RollBackBody()).alias
    model_id = go_back(session, caller.tenant_id, alias, actor=caller.key_id)
    return _write(_find(session, caller, model_id))


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
    (ENGINE_UNAVAILABLE). `dry_run` counts and says so. Jobs are submitted in steps: a call that was cut off
    goes on in its batch when it is sent again under the same `Idempotency-Key`.
    """
    key, wanted = request.headers.get(HEADER), read_caller_filter(body.filter, caller)
    with begin() as session:
        line = _find(session, caller, body.model)
        hosts = count_hosts(session)
        places = read_places(open_quota(session, caller.tenant_id, wanted=0), services.settings.bucket)
        targets = find_targets(session, caller.tenant_id, line.id, wanted, limit=body.videos_max)
        found = _make_jobs(session, caller, body, targets, places, key)
    others = sum(count for model_id, count in hosts.items() if model_id != line.id)
    answer = RescoreOut(
        model_id=line.id,
        videos=len(targets),
        unreachable=len(targets) - len(found),
        hosts=line.hosts,
        other_hosts=others,
        can_run=line.hosts > 0 and others == 0,
        batch_id=None,
    )
    if body.dry_run or not found:
        return answer
    _check_hosts(line, others)
    with begin() as session:
        open_quota(session, caller.tenant_id, wanted=len(found))
    batch = NewBatch(
        caller.tenant_id,
        f"rescore by {line.name}",
        body.lane,
        idempotency_key=None if key is None else f"api:{key}",
    )
    batch_id = submit_batch(jobs, batch, found).batch_id
    response.headers["Location"] = f"/v1/batches/{batch_id}"
    return answer.model_copy(update={"batch_id": batch_id})


def _check_hosts(line: ModelLine, others: int) -> None:
    """Refuse what no host would do, or what hosts with another model might take."""
    short = f"{line.name} ({line.weights_sha256[:8]})"
    if line.hosts == 0:
        raise Problem(
            Reason.ENGINE_UNAVAILABLE,
            f"no running host has {short}",
            hint="start hosts with FAKESIEVE_MODEL set to it, then ask again",
        )
    if others:
        raise Problem(
            Reason.ENGINE_UNAVAILABLE,
            f"{others} of {others + line.hosts} running hosts have another model than {short}",
            hint="a job cannot choose its host: set FAKESIEVE_MODEL on all of them, then ask again",
        )


def _make_jobs(
    session: Session,
    caller: Caller,
    body: RescoreBody,
    targets: Sequence[Target],
    places: Places,
    key: str | None,
) -> list[NewJob]:
    """Return a job for the newest place of each video that the tenant may still name."""
    sources = map_sources(session, [target.video_id for target in targets])
    # By video, not by place in the list: what was scored meanwhile is missing when the call is sent again.
    prefix = None if key is None else f"rescore/{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    jobs = list[NewJob]()
    for target in targets:
        for source in reversed(sources.get(target.video_id, ())):
            ref = VideoRef(source.bucket, source.key, source.version_id, source.etag, source.size_bytes)
            if places.may_read(ref):
                new = NewJob(
                    caller.tenant_id, ref, body.lane, external_id=target.external_id, source_kind=source.kind
                )
                named = None if prefix is None else f"{prefix}/{target.video_id}"
                jobs.append(replace(new, idempotency_key=named))
                break
    return jobs


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
