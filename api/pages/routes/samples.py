"""What the modules of the review page ask for: packed samples, a link to the video, what a person prefers."""

from typing import Annotated

from fastapi import Path, Response
from fastapi.responses import JSONResponse

from api.dependencies import ServicesDep
from api.pages.forms import FormDep
from api.pages.items import find_item
from api.pages.packing import MEDIA_TYPE, pack_faces, pack_lanes, pack_regions
from api.pages.people import PersonDep
from api.pages.router import PageRouter, PageTransaction
from api.pages.routes.review import SEGMENT_US, say_quality
from api.problems import Problem, not_found
from api.video_links import LINK_S, find_places, link_video
from fakesieve.people.accounts import Preferences, store_preferences
from fakesieve.reasons import Reason
from fakesieve.records.analysis_lists import find_video_id
from fakesieve.records.evidence import load_evidence, load_faces
from fakesieve.records.score_series import load_lanes, load_regions
from fakesieve.reviews.notes import find_noted

SEGMENTS_MAX = 100_000

router = PageRouter()


@router.get("/r/{analysis_id}/lanes")
def send_lanes(analysis_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """Send the scores of all faces over time."""
    if find_item(session, analysis_id, person).is_hidden:
        raise Problem(Reason.STATE_CONFLICT, "the scores are hidden until you have said what you see")
    found = load_lanes(session, analysis_id)
    if found is None:
        raise not_found("analysis", analysis_id)
    return Response(pack_lanes(found), media_type=MEDIA_TYPE)


@router.get("/r/{analysis_id}/regions")
def send_regions(analysis_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """Send where in each face it was over time."""
    find_noted(session, analysis_id)
    if find_item(session, analysis_id, person).is_hidden:
        raise Problem(Reason.STATE_CONFLICT, "it is hidden until you have said what you see")
    return Response(pack_regions(load_regions(session, analysis_id)), media_type=MEDIA_TYPE)


@router.get("/r/{analysis_id}/quality")
def send_quality(analysis_id: str, person: PersonDep, session: PageTransaction) -> JSONResponse:
    """Send a sentence for each face on what its samples were like, where they are too many for the page."""
    evidence = load_evidence(session, analysis_id)
    if evidence is None:
        raise not_found("analysis", analysis_id)
    if find_item(session, analysis_id, person).is_hidden:
        raise Problem(Reason.STATE_CONFLICT, "it is hidden until you have said what you see")
    return JSONResponse({str(ordinal): text for ordinal, text in say_quality(session, evidence).items()})


@router.get("/r/{analysis_id}/faces/{segment}")
def send_faces(
    analysis_id: str,
    segment: Annotated[int, Path(ge=0, le=SEGMENTS_MAX)],
    person: PersonDep,
    session: PageTransaction,
) -> Response:
    """Send boxes and maps of one piece of the video; no maps while the score is hidden."""
    found = load_faces(session, analysis_id, segment * SEGMENT_US, (segment + 1) * SEGMENT_US)
    if found is None:
        raise not_found("analysis", analysis_id)
    faces, maps = found
    is_hidden = find_item(session, analysis_id, person).is_hidden
    return Response(pack_faces(faces, () if is_hidden else maps), media_type=MEDIA_TYPE)


@router.get("/r/{analysis_id}/video")
def send_link(analysis_id: str, person: PersonDep, services: ServicesDep) -> JSONResponse:
    """Send a link under which the browser gets the video from the object store for a while."""
    # A transaction of its own, which is over when the store is asked.
    with services.database.transaction(tenant_id=person.tenant_id) as session:
        video_id = find_video_id(session, analysis_id)
        if video_id is None:
            raise not_found("analysis", analysis_id)
        refs = find_places(session, services.settings.bucket, person.tenant_id, video_id)
    link = link_video(services, refs)
    return JSONResponse({"url": link.url, "expire_s": LINK_S})


@router.post("/preferences")
def take_preferences(form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Keep how pictures and sound are to be given to this person, and whether keys act for them."""
    wanted = Preferences(
        is_blurred=form.read("blur") == "true",
        is_grey=form.read("grey") == "true",
        is_muted=form.read("mute") == "true",
        has_keys=form.read("keys") != "false",  # a page from before this could be said leaves them on
    )
    store_preferences(session, person.id, wanted)
    return Response(status_code=204)
