"""What a person does with the item before them: take it, say, decide, skip, take back, have others look."""

from fastapi import Response
from sqlalchemy.orm import Session

from api.pages.forms import Form, FormDep
from api.pages.notices import go_back
from api.pages.people import Person, PersonDep
from api.pages.router import PageRouter, PageTransaction, require_role
from api.problems import Problem
from fakesieve.reasons import Reason
from fakesieve.records.evidence import list_ordinals
from fakesieve.reviews.again import appeal_decision, ask_second_opinion
from fakesieve.reviews.claim import claim_item, release_item
from fakesieve.reviews.decide import decide_item, reopen_item, reveal_score, skip_item, undo_decision
from fakesieve.reviews.items import view_item
from fakesieve.reviews.values import ReviewView
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import DecisionDraft, Disposition, ReasonCode, TrackDraft

router = PageRouter()
_REVIEWER = [require_role(UserRole.REVIEWER)]


@router.post("/r/{analysis_id}/claim", dependencies=_REVIEWER)
def take_item(analysis_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Give the item to the person."""
    item = _find(session, analysis_id, form)
    claim_item(session, item.id, person.id)
    return _back(person, analysis_id, "claimed")


@router.post("/r/{analysis_id}/release", dependencies=_REVIEWER)
def give_item_back(analysis_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Put the item back without a word."""
    item = _find(session, analysis_id, form)
    release_item(session, item.id, person.id)
    return _back(person, analysis_id, "released")


@router.post("/r/{analysis_id}/reveal", dependencies=_REVIEWER)
def take_blind_word(analysis_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Keep what the person says without the score, and show it from now on."""
    item = _find(session, analysis_id, form)
    reveal_score(session, item.id, person.id, form.read_choice("disposition", Disposition))
    return _back(person, analysis_id, "revealed")


@router.post("/r/{analysis_id}/decide", dependencies=_REVIEWER)
def take_decision(analysis_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Keep a decision."""
    item = _find(session, analysis_id, form)
    if item.finding is None:
        raise Problem(Reason.STATE_CONFLICT, "say first what you see without the score")
    draft = read_draft(form, list_ordinals(session, analysis_id))
    decide_item(session, item.id, person.id, draft)
    return _back(person, analysis_id, "decided")


@router.post("/r/{analysis_id}/skip", dependencies=_REVIEWER)
def take_skip(analysis_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Pass over the item, for the reason given, and go to the queue."""
    item = _find(session, analysis_id, form)
    reason = form.read_choice("reason", ReasonCode)
    try:
        skip_item(session, item.id, person.id, reason, form.read("comment") or None)
    except ValueError as fault:
        raise Problem(Reason.INVALID_REQUEST, str(fault)) from fault
    return go_back(person, "/queue", "skipped")


@router.post("/r/{analysis_id}/reopen", dependencies=_REVIEWER)
def offer_again(analysis_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Offer an item again that too many people have passed over."""
    item = _find(session, analysis_id, form)
    reopen_item(session, item.id, person.id)
    return _back(person, analysis_id, "reopened")


@router.post("/r/{analysis_id}/undo", dependencies=_REVIEWER)
def take_undo(analysis_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Take a decision back."""
    item = _find(session, analysis_id, form)
    undo_decision(session, item.id, person.id)
    return _back(person, analysis_id, "undone")


@router.post("/r/{analysis_id}/second", dependencies=_REVIEWER)
def take_question(analysis_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Have somebody else look at what was decided."""
    item = _find(session, analysis_id, form)
    ask_second_opinion(session, item.id, person.id)
    return _back(person, analysis_id, "asked")


@router.post("/r/{analysis_id}/appeal", dependencies=_REVIEWER)
def take_appeal(analysis_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Take an objection to a decision, which somebody looks at who did not make it."""
    item = _find(session, analysis_id, form)
    try:
        appeal_decision(session, item.id, person.id, form.read("statement"))
    except ValueError as fault:
        raise Problem(Reason.INVALID_REQUEST, str(fault)) from fault
    return _back(person, analysis_id, "appealed")


def read_draft(form: Form, ordinals: list[int]) -> DecisionDraft:
    """Return the decision that a form holds. Raises ``Problem`` (INVALID_REQUEST) for half of one."""
    try:
        return DecisionDraft(
            disposition=form.read_choice("disposition", Disposition),
            reason_code=form.read_choice("reason", ReasonCode),
            comment=form.read("comment") or None,
            policy_ref=form.read("policy_ref") or None,
            tracks=tuple(
                TrackDraft(ordinal, said, form.read_choice(f"face_{ordinal}_reason", ReasonCode))
                for ordinal in ordinals
                if (said := form.find_choice(f"face_{ordinal}", Disposition)) is not None
            ),
        )
    except ValueError as fault:
        raise Problem(Reason.INVALID_REQUEST, str(fault)) from fault


def _find(session: Session, analysis_id: str, form: Form) -> ReviewView:
    item = view_item(session, form.read("item"))
    if item.analysis_id != analysis_id:
        raise Problem(Reason.NOT_FOUND, f"there is no review {item.id} of this analysis")
    return item


def _back(person: Person, analysis_id: str, act: str) -> Response:
    return go_back(person, f"/r/{analysis_id}", act)
