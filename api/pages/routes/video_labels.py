"""What an organisation says of one of its videos: the class that keeps it, and tags to filter results by."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Query, Request, Response
from pydantic import ValidationError
from sqlalchemy.orm import Session

from api.pages.forms import FormDep
from api.pages.keeping import Keeping, find_keeping
from api.pages.notices import go_back
from api.pages.people import Person, PersonDep
from api.pages.retention_words import check_said, read_name
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.templates import render
from api.problems import Problem, not_found
from api.routes.videos import change_video
from api.schemas.videos import ChangeVideoBody
from fakesieve.erasure.retention import (
    check_stays,
    check_there,
    classify_video,
    lock_video,
    lock_video_and_classes,
)
from fakesieve.reasons import Reason
from fakesieve.records.erasure import RetentionClass
from fakesieve.records.tags import read_tags
from fakesieve.records.tenants import Caller
from fakesieve.records.video_names import name_videos
from fakesieve.records.videos import Video, load_video
from fakesieve.scopes import Scope
from fakesieve.values.people import UserRole
from fakesieve.values.videos import TAG_NAME_LENGTH_MAX, TAG_VALUE_LENGTH_MAX, TAGS_MAX

_ADMIN = [require_role(UserRole.ADMIN)]

router = PageRouter()


@router.get("/videos/{video_id}/classify", dependencies=_ADMIN)
def ask_class(
    video_id: str,
    request: Request,
    session: PageTransaction,
    given: Annotated[str, Query(alias="retention_class", max_length=100)] = "",
) -> Response:
    """Ask whether a class is to keep a video, and say when that erases it."""
    video = load_video(session, video_id)
    if video is None:
        raise not_found("video", video_id)
    check_there(video)
    chosen = _read_class(session, video, given)
    then = find_keeping(session, video, chosen)
    return render(
        request,
        "classify.html",
        video=video,
        name=name_videos(session, [video_id]).get(video_id, video_id),
        chosen=chosen,
        now=find_keeping(session, video, video.retention_class),
        then=then,
        is_due=_is_due(video, then),
    )


@router.post("/videos/{video_id}/classify", dependencies=_ADMIN)
def take_class(video_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Put a video into a class, or into none, if that erases it at once only where the page has said so."""
    video = lock_video_and_classes(session, video_id)
    check_there(video)
    chosen = _read_class(session, video, form.read("retention_class"))
    check_said(form, int(_is_due(video, find_keeping(session, video, chosen))))
    classify_video(session, video_id, person.id, chosen)
    return go_back(person, f"/videos/{video_id}", "classified")


@router.post("/videos/{video_id}/tag", dependencies=_ADMIN)
def take_tag(video_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Put a tag on a video; one of the same name gets another value."""
    before = _lock_tags(session, video_id)
    _keep_tags(session, person, video_id, {**before, form.read("name"): form.read("value")})
    return go_back(person, f"/videos/{video_id}", "tagged")


@router.post("/videos/{video_id}/untag", dependencies=_ADMIN)
def take_untag(video_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Take a tag off a video."""
    before, name = _lock_tags(session, video_id), form.fields.get("name", ("",))[0]
    if name not in before:
        return go_back(person, f"/videos/{video_id}", "no_tag")
    _keep_tags(session, person, video_id, {each: before[each] for each in before if each != name})
    return go_back(person, f"/videos/{video_id}", "untagged")


def _is_due(video: Video, then: Keeping) -> bool:
    """Whether the next sweep would erase a video, which is not deleted, by its class."""
    return then.is_over and video.hold_time is None


def _read_class(session: Session, video: Video, text: str) -> str | None:
    """Return the class that was chosen, None for none.

    Raises ``Problem`` (NOT_FOUND) for an unknown one, RequestRefused for one that is being removed.
    """
    if not text:
        return None
    name = read_name(text)
    found = session.get(RetentionClass, (video.tenant_id, name))
    if found is None:
        raise not_found("retention class", name)
    check_stays(found)
    return name


def _lock_tags(session: Session, video_id: str) -> Mapping[str, str]:
    """Return the tags of a video that nobody else changes until the transaction ends."""
    lock_video(session, video_id)
    return read_tags(session, [video_id]).get(video_id, {})


def _keep_tags(session: Session, person: Person, video_id: str, tags: Mapping[str, str]) -> None:
    caller = Caller(person.id, person.tenant_id, frozenset({Scope.JOBS_WRITE.value}))
    try:
        body = ChangeVideoBody(tags=dict(tags))
    except ValidationError as fault:
        seen = (
            f"a tag has a name of 1 to {TAG_NAME_LENGTH_MAX} letters and a value of up to "
            f"{TAG_VALUE_LENGTH_MAX}, and a video has {TAGS_MAX} tags at most"
        )
        raise Problem(Reason.INVALID_REQUEST, seen) from fault
    change_video(video_id, body, Response(), caller, session)
