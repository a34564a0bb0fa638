"""Videos and how they leave: legal holds, deletion that can be taken back, erasure with its receipt."""

from fastapi import Request, Response
from sqlalchemy.orm import Session

from api.dependencies import Objects, ServicesDep
from api.pages.erasure_words import Receipt, write_receipt
from api.pages.forms import FormDep
from api.pages.keeping import is_due_back, is_due_unheld
from api.pages.notices import DoneDep, go_back
from api.pages.people import Person, PersonDep
from api.pages.retention_words import check_said, write_keep
from api.pages.review_words import list_video_facts
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.templates import render
from api.problems import Problem, not_found
from api.routes.erasure import begin_and_erase
from fakesieve.erasure.erase import list_erasures
from fakesieve.erasure.retention import (
    PURGE_S,
    delete_video,
    find_kept,
    hold_video,
    list_classes,
    lock_video_and_classes,
    undelete_video,
)
from fakesieve.people.accounts import name_people
from fakesieve.reasons import Reason
from fakesieve.records.erasure import Erasure
from fakesieve.records.tags import read_tags
from fakesieve.records.video_lists import list_analyses_of, list_deleted
from fakesieve.records.video_names import name_videos
from fakesieve.records.videos import list_sources, load_video
from fakesieve.values.erasure import ErasureState
from fakesieve.values.people import UserRole

SHOWN = 50
_ADMIN = [require_role(UserRole.ADMIN)]
_NOTICES = {
    "held": "It is under a legal hold: nothing deletes it, neither a person nor its time.",
    "lifted": "The legal hold is lifted.",
    "deleted": "It is deleted: hidden with all that was found in it, until it is brought back or erased.",
    "back": "It is back, with all that was found in it.",
    "erased": "It is erased. Below is the receipt.",
    "classified": "Its class is as you said. Below stands until when it is kept.",
    "tagged": "The tag is kept.",
    "untagged": "The tag is gone.",
    "no_tag": "It has no such tag.",
    "erasing": "Its erasure has begun, and there is no way back. The fleet clears what is left.",
}

router = PageRouter()


@router.get("/videos", dependencies=_ADMIN)
def show_videos(request: Request, session: PageTransaction) -> Response:
    """Show what is deleted and can come back, and the newest erasures."""
    deleted = list_deleted(session, SHOWN)
    return render(
        request,
        "videos.html",
        deleted=deleted,
        names=name_videos(session, [line.id for line in deleted]),
        erasures=list_erasures(session, limit=SHOWN),
        shown=SHOWN,
    )


@router.get("/videos/{video_id}", dependencies=_ADMIN)
def show_video(video_id: str, request: Request, session: PageTransaction, done: DoneDep) -> Response:
    """Show a video, also a deleted one, with its fate; of an erased one its receipts."""
    video = load_video(session, video_id)
    erasures = list_erasures(session, video_id=video_id, limit=SHOWN)
    if video is None and not erasures:
        raise not_found("video", video_id)
    sources = list_sources(session, video_id)
    is_shown = video is not None and video.delete_time is None
    return render(
        request,
        "video.html",
        video_id=video_id,
        video=video,
        name=name_videos(session, [video_id]).get(video_id, video_id),
        facts=list_video_facts(video, sources) if video else (),
        is_due_unheld=video is not None and is_due_unheld(session, video),
        is_due_back=video is not None and is_due_back(session, video),
        kept=find_kept(session, [video])[video_id] if video else None,
        analyses=list_analyses_of(session, video_id, SHOWN) if is_shown else (),
        receipts=_write_receipts(session, erasures),
        is_erasing=any(each.state is ErasureState.RUNNING for each in erasures),
        purge_days=PURGE_S // 86_400,
        classes=[
            (each.name, write_keep(each.keep_s)) for each in list_classes(session) if each.remove_time is None
        ],
        tags=read_tags(session, [video_id]).get(video_id, {}),
        notice=done.say(_NOTICES),
    )


@router.post("/videos/{video_id}/hold", dependencies=_ADMIN)
def take_hold(video_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """Put a video under a legal hold."""
    hold_video(session, video_id, person.id, is_held=True)
    return _back(person, video_id, "held")


@router.post("/videos/{video_id}/lift", dependencies=_ADMIN)
def take_lift(video_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Lift a legal hold, if that erases the video at once only where the page has said so."""
    check_said(form, int(is_due_unheld(session, lock_video_and_classes(session, video_id))))
    hold_video(session, video_id, person.id, is_held=False)
    return _back(person, video_id, "lifted")


@router.post("/videos/{video_id}/delete", dependencies=_ADMIN)
def take_deletion(video_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """Hide a video with everything found in it; it can be brought back for some days."""
    delete_video(session, video_id, person.id)
    return _back(person, video_id, "deleted")


@router.post("/videos/{video_id}/undelete", dependencies=_ADMIN)
def take_return(video_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Bring a deleted video back, if its class erases it at once only where the page has said so."""
    check_said(form, int(is_due_back(session, lock_video_and_classes(session, video_id))))
    undelete_video(session, video_id, person.id)
    return _back(person, video_id, "back")


@router.post("/videos/{video_id}/erase", dependencies=_ADMIN)
def take_erasure(
    video_id: str, form: FormDep, person: PersonDep, services: ServicesDep, objects: Objects
) -> Response:
    """Erase a video from every store, if its id was typed to say that it is meant."""
    # Transactions of its own: none is held while the object store is asked.
    with services.database.transaction(tenant_id=person.tenant_id) as session:
        if load_video(session, video_id) is None:
            raise not_found("video", video_id)
    if form.read("typed") != video_id:
        raise Problem(
            Reason.INVALID_REQUEST,
            "what was typed is not the id of the video; nothing was erased",
            hint="type the id as the page shows it",
        )
    actor = (person.tenant_id, person.id)
    with_sources = form.read("sources") == "yes"
    erasure = begin_and_erase(services, objects, actor, video_id, with_sources=with_sources)
    return _back(person, video_id, "erased" if erasure.state is ErasureState.COMPLETED else "erasing")


def _write_receipts(session: Session, erasures: list[Erasure]) -> list[Receipt]:
    names = name_people(session, {each.requested_by for each in erasures})
    return [write_receipt(each, names) for each in erasures]


def _back(person: Person, video_id: str, act: str) -> Response:
    return go_back(person, f"/videos/{video_id}", act)
