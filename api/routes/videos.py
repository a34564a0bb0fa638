"""Videos: the bytes that were submitted, each once."""

from typing import Annotated

from fastapi import Query

from api.dependencies import CallerDep, Transaction, require_scope
from api.pagination import Page, PageQuery
from api.problems import not_found
from api.router import ApiRouter
from api.schemas.jobs import Sha256, VideoOut
from api.writing import read_before, write_video
from fakesieve.jobs.submit import KEY_LENGTH_MAX
from fakesieve.records.video_lists import list_videos
from fakesieve.records.videos import list_sources, load_video
from fakesieve.scopes import Scope

router = ApiRouter(tags=["videos"])
_READ = [require_scope(Scope.RESULTS_READ)]


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
    return query.make(
        Page[VideoOut], lines, write_video, lambda line: (line.create_time.isoformat(), line.id)
    )


@router.get("/v1/videos/{video_id}", dependencies=_READ)
def show_video(video_id: str, session: Transaction) -> VideoOut:
    """Show a video and where it was seen."""
    video = load_video(session, video_id)
    if video is None or video.delete_time is not None:
        raise not_found("video", video_id)
    return write_video(video, list_sources(session, video_id))
