"""Videos: the bytes that were submitted, each once."""

import hashlib
from typing import Annotated

from fastapi import Header, Query, Response
from sqlalchemy.orm import Session

from api.acts import note_act
from api.dependencies import CallerDep, Transaction, require_scope
from api.pagination import Page, PageQuery
from api.problems import Problem, describe_responses, not_found
from api.router import ApiRouter
from api.schemas.jobs import Sha256
from api.schemas.videos import ChangeVideoBody, VideoOut
from api.writing import read_before, write_video
from fakesieve.erasure.retention import find_kept
from fakesieve.reasons import Reason
from fakesieve.records.tags import read_tags, set_tags
from fakesieve.records.video_lists import list_videos, lock_video
from fakesieve.records.videos import Video, list_sources, load_video
from fakesieve.scopes import Scope
from fakesieve.values.jobs import KEY_LENGTH_MAX

router = ApiRouter(tags=["videos"])
_READ = [require_scope(Scope.RESULTS_READ)]
_CALLERS_OWN = {"external_id", "tags"}


@router.get("/v1/videos", dependencies=_READ)
def list_all_videos(
    caller: CallerDep,
    session: Transaction,
    page: PageQuery,
    content_sha256: Annotated[Sha256 | None, Query()] = None,
    external_id: Annotated[str | None, Query(max_length=KEY_LENGTH_MAX)] = None,
) -> Page[VideoOut]:
    """List videos, newest first, without the places where they were seen."""
    query = page.bind(caller, "videos", {"sha256": content_sha256, "external_id": external_id})
    lines = list_videos(
        session,
        sha256=content_sha256,
        external_id=external_id,
        before=read_before(query.position),
        limit=page.limit,
    )
    tags, kept = read_tags(session, [line.id for line in lines]), find_kept(session, lines)
    return query.make(
        Page[VideoOut],
        lines,
        lambda line: write_video(line, tags.get(line.id, {}), kept[line.id]),
        lambda line: (line.create_time.isoformat(), line.id),
    )


@router.get("/v1/videos/{video_id}", dependencies=_READ)
def show_video(video_id: str, response: Response, session: Transaction) -> VideoOut:
    """Show a video and where it was seen. Its ETag is what a change may be bound to."""
    shown = _show(session, _find(load_video(session, video_id), video_id))
    response.headers["ETag"] = _find_etag(shown)
    return shown


@router.patch(
    "/v1/videos/{video_id}",
    dependencies=[require_scope(Scope.JOBS_WRITE)],
    responses=describe_responses(Reason.PRECONDITION_FAILED, Reason.UNSUPPORTED_MEDIA_TYPE),
)
def change_video(
    video_id: str,
    body: ChangeVideoBody,
    response: Response,
    caller: CallerDep,
    session: Transaction,
    if_match: Annotated[str | None, Header(max_length=200, description="The ETag that was read.")] = None,
) -> VideoOut:
    """Give a video a name and tags of one's own; under ``If-Match`` only if nobody did so meanwhile.

    Where else the video was seen meanwhile does not matter to that.
    """
    video = _find(lock_video(session, video_id), video_id)
    if if_match is not None and not _fits(if_match, _find_etag(_show(session, video))):
        raise Problem(Reason.PRECONDITION_FAILED, f"{video_id} has changed since it was read")
    if "external_id" in body.model_fields_set:
        video.external_id = body.external_id
    if body.tags is not None:
        set_tags(session, caller.tenant_id, video_id, body.tags)
    session.flush()
    note_act(session, caller, "video.changed", video_id, {"fields": sorted(body.model_fields_set)})
    shown = _show(session, video)
    response.headers["ETag"] = _find_etag(shown)
    return shown


def _find(video: Video | None, video_id: str) -> Video:
    if video is None or video.delete_time is not None:
        raise not_found("video", video_id)
    return video


def _show(session: Session, video: Video) -> VideoOut:
    tags = read_tags(session, [video.id]).get(video.id, {})
    kept = find_kept(session, [video])[video.id]
    return write_video(video, tags, kept, list_sources(session, video.id))


def _find_etag(shown: VideoOut) -> str:
    """Return an ETag in two parts: of what callers may change, and of all the rest."""
    own = shown.model_dump_json(include=_CALLERS_OWN)
    return f'"{_digest(own)}.{_digest(shown.model_dump_json(exclude=_CALLERS_OWN))}"'


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _fits(header: str, etag: str) -> bool:
    """Whether ``If-Match`` names what a caller may change as it is; a proxy may have made its ETag weak."""
    own = etag.partition(".")[0]
    named = [each.strip().removeprefix("W/").partition(".")[0] for each in header.split(",")]
    return header.strip() == "*" or own in named
