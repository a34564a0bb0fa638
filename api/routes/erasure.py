"""How videos leave: deletion that can be taken back, erasure with a receipt, retention, legal holds."""

from typing import Annotated, Any, cast

from fastapi import Query, Response
from pydantic import JsonValue
from sqlalchemy.orm import Session

from api.dependencies import CallerDep, Objects, ServicesDep, Transaction, require_scope
from api.pagination import Page, PageQuery
from api.problems import describe_responses
from api.router import ApiRouter
from api.schemas.erasure import (
    ClassifyBody,
    ClassName,
    EraseBody,
    ErasureOut,
    RetentionBody,
    RetentionOut,
    VideoFateOut,
)
from api.services import Services
from api.writing import read_before
from fakesieve.erasure.erase import begin_erasure, erase_video, list_erasures, load_erasure
from fakesieve.erasure.removal import remove_class
from fakesieve.erasure.retention import (
    PURGE_S,
    PURGE_S_MAX,
    classify_video,
    delete_video,
    find_kept,
    hold_video,
    list_classes,
    set_class,
    undelete_video,
)
from fakesieve.errors import FleetError
from fakesieve.objects import ObjectStore
from fakesieve.reasons import Reason
from fakesieve.records.erasure import Erasure, RetentionClass
from fakesieve.records.videos import Video
from fakesieve.scopes import Scope
from fakesieve.values.erasure import ErasureState

router = ApiRouter(tags=["erasure"])
_MAY = [require_scope(Scope.ERASE_WRITE)]
# Apart from the right to erase: whoever has that alone cannot lift the hold that stands in its way.
_MAY_HOLD = [require_scope(Scope.HOLD_WRITE)]
_CHANGED = describe_responses(Reason.LEGAL_HOLD, Reason.STATE_CONFLICT, Reason.UNSUPPORTED_MEDIA_TYPE)
_BEGUN: dict[int | str, dict[str, Any]] = {202: {"description": "It goes on", "model": ErasureOut}}


@router.delete("/v1/videos/{video_id}", dependencies=_MAY, responses=_CHANGED)
def delete_one_video(
    video_id: str,
    caller: CallerDep,
    session: Transaction,
    purge_s: Annotated[
        int, Query(ge=0, le=PURGE_S_MAX, description="Seconds until it is erased for good.")
    ] = PURGE_S,
) -> VideoFateOut:
    """Hide a video and everything found in it; until ``purge_time`` it can be taken back."""
    return _write_fate(session, delete_video(session, video_id, caller.key_id, purge_s))


@router.post("/v1/videos/{video_id}:undelete", dependencies=_MAY, responses=_CHANGED)
def undelete_one_video(video_id: str, caller: CallerDep, session: Transaction) -> VideoFateOut:
    """Bring a deleted video back."""
    return _write_fate(session, undelete_video(session, video_id, caller.key_id))


@router.post("/v1/videos/{video_id}:hold", dependencies=_MAY_HOLD, responses=_CHANGED)
def hold_one_video(video_id: str, caller: CallerDep, session: Transaction) -> VideoFateOut:
    """Put a video under a legal hold: nothing deletes it, neither a caller nor its time."""
    return _write_fate(session, hold_video(session, video_id, caller.key_id, is_held=True))


@router.post("/v1/videos/{video_id}:lift_hold", dependencies=_MAY_HOLD, responses=_CHANGED)
def lift_hold_of_video(video_id: str, caller: CallerDep, session: Transaction) -> VideoFateOut:
    """Lift a legal hold."""
    return _write_fate(session, hold_video(session, video_id, caller.key_id, is_held=False))


@router.post("/v1/videos/{video_id}:classify", dependencies=_MAY, responses=_CHANGED)
def classify_one_video(
    video_id: str, body: ClassifyBody, caller: CallerDep, session: Transaction
) -> VideoFateOut:
    """Put a video into a retention class, or into none; not one that is deleted or being erased."""
    return _write_fate(session, classify_video(session, video_id, caller.key_id, body.retention_class))


@router.post("/v1/videos/{video_id}:erase", dependencies=_MAY, responses={**_CHANGED, **_BEGUN})
def erase_one_video(
    video_id: str,
    response: Response,
    caller: CallerDep,
    services: ServicesDep,
    objects: Objects,
    body: EraseBody | None = None,
) -> ErasureOut:
    """Erase a video from every store now; the answer is the receipt.

    202 and ``running`` where a worker still holds a copy or a store does not answer: the fleet goes on, and
    the receipt is completed under the same address.
    """
    with_sources = body is not None and body.with_sources
    actor = (caller.tenant_id, caller.key_id)
    erasure = begin_and_erase(services, objects, actor, video_id, with_sources=with_sources)
    response.headers["Location"] = f"/v1/erasures/{erasure.id}"
    if erasure.state is ErasureState.RUNNING:
        response.status_code = 202
    return _write(erasure)


def begin_and_erase(
    services: Services, objects: ObjectStore, actor: tuple[str, str], video_id: str, *, with_sources: bool
) -> Erasure:
    """Erase a video as far as that goes now, for a tenant and who acts for it; the fleet does the rest.

    Raises RequestRefused (NOT_FOUND, LEGAL_HOLD).
    """
    tenant_id, who = actor
    database, bucket = services.database, services.settings.bucket
    with database.transaction(tenant_id=tenant_id) as session:
        erasure_id = begin_erasure(session, video_id, who, bucket=bucket, with_sources=with_sources)
    try:
        return erase_video(database, objects, bucket, (tenant_id, erasure_id))
    except FleetError:  # it is begun, so there is a receipt; the fleet tries again
        with database.transaction(tenant_id=tenant_id) as session:
            return load_erasure(session, erasure_id)


@router.get("/v1/erasures", dependencies=_MAY)
def list_all_erasures(
    caller: CallerDep,
    session: Transaction,
    page: PageQuery,
    video_id: Annotated[str | None, Query(max_length=100)] = None,
) -> Page[ErasureOut]:
    """List erasures, newest first."""
    query = page.bind(caller, "erasures", {"video_id": video_id})
    lines = list_erasures(session, video_id=video_id, before=read_before(query.position), limit=page.limit)
    return query.make(Page[ErasureOut], lines, _write, lambda line: (line.create_time.isoformat(), line.id))


@router.get("/v1/erasures/{erasure_id}", dependencies=_MAY)
def show_erasure(erasure_id: str, session: Transaction) -> ErasureOut:
    """Show an erasure: its receipt, once it is completed."""
    return _write(load_erasure(session, erasure_id))


@router.get("/v1/retention-classes", dependencies=_MAY)
def list_retention_classes(caller: CallerDep, session: Transaction, page: PageQuery) -> Page[RetentionOut]:
    """List retention classes by their names."""
    query = page.bind(caller, "retention-classes")
    after = "" if query.position is None else str(query.position[0])
    lines = [line for line in list_classes(session) if line.name > after][: page.limit]
    return query.make(Page[RetentionOut], lines, _write_class, lambda line: (line.name,))


@router.put("/v1/retention-classes/{name}", dependencies=_MAY, responses=_CHANGED)
def set_retention_class(
    name: ClassName, body: RetentionBody, caller: CallerDep, session: Transaction
) -> RetentionOut:
    """Make a class, or change how long it keeps. ``default`` holds for videos without a class.

    Not one that is being removed: its name is free once it is no longer listed.
    """
    set_class(session, caller.tenant_id, caller.key_id, name, body.keep_s)
    return _write_class(session.get_one(RetentionClass, (caller.tenant_id, name), populate_existing=True))


@router.delete("/v1/retention-classes/{name}", status_code=204, dependencies=_MAY)
def remove_retention_class(name: ClassName, caller: CallerDep, session: Transaction) -> Response:
    """Remove a class; its videos are kept by the default one from now on.

    One of many thousand videos stays in the list with a ``remove_time`` until all have left it.
    """
    remove_class(session, caller.tenant_id, caller.key_id, name)
    return Response(status_code=204)


def _write_fate(session: Session, video: Video) -> VideoFateOut:
    return VideoFateOut(
        id=video.id,
        retention_class=find_kept(session, [video])[video.id].class_name,
        hold_time=video.hold_time,
        delete_time=video.delete_time,
        purge_time=video.purge_time,
    )


def _write_class(line: RetentionClass) -> RetentionOut:
    return RetentionOut(
        name=line.name, keep_s=line.keep_s, create_time=line.create_time, remove_time=line.remove_time
    )


def _write(erasure: Erasure) -> ErasureOut:
    return ErasureOut(
        id=erasure.id,
        video_id=erasure.video_id,
        cause=erasure.cause,
        requested_by=erasure.requested_by,
        state=erasure.state,
        stores=cast("dict[str, JsonValue]", erasure.stores),
        sha256=erasure.sha256,
        create_time=erasure.create_time,
        end_time=erasure.end_time,
    )
