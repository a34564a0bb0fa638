"""Analyses whose truth is known: listed, declared and taken back by admins, and by nobody who reviews."""

from fastapi import Request, Response

from api.dependencies import ServicesDep
from api.pages.forms import FormDep
from api.pages.notices import DoneDep, go_back
from api.pages.paging import LINES, PageToken, open_paging
from api.pages.people import PersonDep
from api.pages.review_words import DISPOSITIONS
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.templates import render
from api.problems import Problem
from fakesieve.people.accounts import name_people
from fakesieve.reasons import Reason
from fakesieve.reviews.known import declare_known, list_known, take_back_known
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import KNOWN_NOTE_LETTERS_MAX, Disposition, KnownDraft, Truth

_ADMIN = [require_role(UserRole.ADMIN)]
_NOTICES = {
    "declared": "Kept. Queues with a share of known answers show it to reviewers.",
    "taken": "Forgotten. What was said of it counts for nobody.",
}
_TRUTHS = {truth: DISPOSITIONS[Disposition(truth)] for truth in Truth}
router = PageRouter()


@router.get("/known", dependencies=_ADMIN)
def show_known(
    request: Request,
    person: PersonDep,
    services: ServicesDep,
    session: PageTransaction,
    done: DoneDep,
    token: PageToken = "",
) -> Response:
    """Show what is known, the newest first."""
    paging = open_paging(services, person, "known", {}, token)
    lines = list_known(session, before=paging.time_and_id, limit=LINES + 1)
    shown, more = paging.cut(lines, lambda line: (line.create_time.isoformat(), line.analysis_id))
    return render(
        request,
        "queue_known.html",
        lines=shown,
        people=name_people(session, {line.declared_by for line in shown}),
        more=more,
        truths=_TRUTHS,
        note_letters_max=KNOWN_NOTE_LETTERS_MAX,
        notice=done.say(_NOTICES),
    )


@router.post("/known", dependencies=_ADMIN)
def take_known(form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Declare that the truth of an analysis is known."""
    try:
        draft = KnownDraft(form.read_choice("truth", Truth), form.read("note").strip())
    except ValueError as fault:
        raise Problem(Reason.INVALID_REQUEST, str(fault)) from fault
    analysis_id = form.read("analysis").strip()
    declare_known(session, person.tenant_id, analysis_id, draft, actor=person.id)
    return go_back(person, "/known", "declared")


@router.post("/known/{analysis_id}/remove", dependencies=_ADMIN)
def forget_known(analysis_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """Forget what was known of an analysis."""
    take_back_known(session, analysis_id, actor=person.id)
    return go_back(person, "/known", "taken")
