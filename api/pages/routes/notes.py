"""Notes on spans of a video, kept and removed from the review page."""

from fastapi import Response

from api.pages.forms import Form, FormDep
from api.pages.items import find_item
from api.pages.notices import go_back
from api.pages.people import PersonDep
from api.pages.router import PageRouter, PageTransaction, require_role
from api.problems import Problem
from fakesieve.reasons import Reason
from fakesieve.reviews.notes import NoteDraft, add_note, find_noted, remove_note
from fakesieve.values.people import UserRole

_REVIEWER = [require_role(UserRole.REVIEWER)]
_US = 1_000_000

router = PageRouter()


@router.post("/r/{analysis_id}/notes", dependencies=_REVIEWER)
def take_note(analysis_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Keep a note and go back to the moment where it begins."""
    find_noted(session, analysis_id)
    if find_item(session, analysis_id, person).is_hidden:
        raise Problem(Reason.STATE_CONFLICT, "say first what you see without the score")
    draft = _read_draft(form)
    add_note(session, analysis_id, person.id, draft)
    place = {"t": f"{draft.start_us / _US:.3f}"}
    track = {} if draft.ordinal is None else {"track": str(draft.ordinal)}
    return go_back(person, f"/r/{analysis_id}", "noted", query=place | track)


@router.post("/r/{analysis_id}/notes/{note_id}/remove", dependencies=_REVIEWER)
def drop_note(analysis_id: str, note_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """Remove a note: one's own, or as an admin anybody's."""
    remove_note(session, analysis_id, note_id, person.id, is_admin=person.may(UserRole.ADMIN))
    return go_back(person, f"/r/{analysis_id}", "unnoted")


def _read_draft(form: Form) -> NoteDraft:
    """Return the note of a form, whose times are seconds with a fraction."""
    try:
        start_us, end_us = (round(float(form.read(name)) * _US) for name in ("start_s", "end_s"))
        track = form.read("track")
        return NoteDraft(start_us, end_us, form.read("text"), int(track) if track else None)
    except (ValueError, OverflowError) as fault:
        raise Problem(Reason.INVALID_REQUEST, f"the note cannot be read: {fault}") from fault
