"""The items of one queue: narrowed, listed in the order in which they are offered, decided many at once."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, Query, Request, Response
from sqlalchemy.orm import Session

from api.dependencies import ServicesDep
from api.pages.forms import Form, FormDep
from api.pages.notices import DoneDep, go_back
from api.pages.paging import LINES, PageToken, Paging, open_paging
from api.pages.people import Person, PersonDep
from api.pages.review_words import DISPOSITIONS, REASONS
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.routes.views import list_links
from api.pages.templates import render
from api.problems import Problem
from engine.results import FaceRegion, VerdictValue
from fakesieve.people.accounts import name_people
from fakesieve.reasons import Reason
from fakesieve.records.saved_views import ViewPage
from fakesieve.records.video_names import name_videos
from fakesieve.reviews.bulk import BULK_MAX, count_decidable, decide_many
from fakesieve.reviews.decide import reopen_item
from fakesieve.reviews.fill import fill_queue
from fakesieve.reviews.items import view_item
from fakesieve.reviews.narrow import Narrowing, find_place, list_matches
from fakesieve.reviews.queues import load_queue
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import DecisionDraft, Disposition, QueueRule, ReasonCode, ReviewState

_REVIEWER = [require_role(UserRole.REVIEWER)]
_NOTICES = {
    "filled": "{count:,} matches were taken in.",
    "decided": "{count:,} items were decided.",
    "reopened": "The item is offered again, also to those who have skipped it.",
}
_HOURS_MAX = 24 * 366 * 10
Share = Annotated[str, Query(max_length=10)]

router = PageRouter()


@dataclass(frozen=True)
class Asked:
    """What a list was narrowed to, as the address says it; empty does not restrict."""

    state: str = ReviewState.OPEN.value
    verdict: str = ""
    score_min: str = ""
    score_max: str = ""
    coverage_max: str = ""
    region: str = ""
    age_h: str = ""
    disputed: str = ""
    said: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """The parts that say something, by their names in the address."""
        return {name: value for name, value in vars(self).items() if value}


def read_asked(
    state: Annotated[str, Query(max_length=20)] = ReviewState.OPEN.value,
    verdict: Annotated[str, Query(max_length=40)] = "",
    score_min: Share = "",
    score_max: Share = "",
    coverage_max: Share = "",
    region: Annotated[str, Query(max_length=40)] = "",
    age_h: Share = "",
    disputed: Annotated[str, Query(max_length=3)] = "",
    *,
    said: Annotated[str, Query(max_length=40)] = "",
) -> Asked:
    """Return what an address asks for."""
    return Asked(state, verdict, score_min, score_max, coverage_max, region, age_h, disputed, said)


AskedDep = Annotated[Asked, Depends(read_asked)]


@router.get("/queue/{queue_id}")
def show_items(
    queue_id: str,
    request: Request,
    asked: AskedDep,
    person: PersonDep,
    services: ServicesDep,
    session: PageTransaction,
    done: DoneDep,
    token: PageToken = "",
) -> Response:
    """Show the items of a queue that fit a filter, and how many a decision on all of them would touch."""
    queue, only = load_queue(session, queue_id), read_narrowing(asked)
    paging = open_paging(services, person, f"items {queue_id}", asked.fields, token)
    lines = list_matches(
        session, queue, only, _read_state(asked.state), after=_read_place(paging), limit=LINES + 1
    )
    shown, more = paging.cut(lines, lambda line: find_place(session, line.id))
    is_untold = queue.known_share > 0 and not person.may(UserRole.ADMIN)
    may_decide = person.may(UserRole.REVIEWER) and not queue.is_blind and not is_untold
    is_bulk = may_decide and asked.state == ReviewState.OPEN
    return render(
        request,
        "queue_items.html",
        queue=queue,
        asked=asked,
        kept={"queue": queue.id} | asked.fields,
        lines=shown,
        is_untold=is_untold,
        names=name_videos(session, [line.video_id for line in shown]),
        people=name_people(session, {who for line in shown if (who := line.claimed_by or line.decided_by)}),
        more=more,
        decidable=count_decidable(session, queue, only, person.id) if is_bulk else None,
        bulk_max=BULK_MAX,
        verdicts=tuple(VerdictValue),
        states=tuple(ReviewState),
        regions=tuple(FaceRegion),
        dispositions=DISPOSITIONS,
        reasons=REASONS,
        links=list_links(session, person, ViewPage.QUEUE),
        notice=done.say(_NOTICES),
    )


@router.post("/queue/{queue_id}/fill", dependencies=_REVIEWER)
def take_in(queue_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """Add items for analyses that match the queue and have none yet."""
    count = fill_queue(session, load_queue(session, queue_id))
    return go_back(person, f"/queue/{queue_id}", "filled", count)


@router.post("/queue/{queue_id}/reopen", dependencies=_REVIEWER)
def offer_again(queue_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Offer an item again that too many people have passed over, and go back to those that are left."""
    item = view_item(session, form.read("item"))
    if item.queue_id != load_queue(session, queue_id).id:
        raise Problem(Reason.NOT_FOUND, f"there is no review {item.id} in this queue")
    reopen_item(session, item.id, person.id)
    return go_back(person, f"/queue/{queue_id}", "reopened", query={"state": ReviewState.SKIPPED.value})


@router.post("/queue/{queue_id}/decide", dependencies=_REVIEWER)
def decide_all(queue_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Decide all items that fit, if they are still as many as the page has said."""
    asked = Asked(**{name: form.read(name) for name in vars(Asked())})
    count = _decide(session, queue_id, asked, form, person)
    return go_back(person, f"/queue/{queue_id}", "decided", count)


def read_narrowing(asked: Asked) -> Narrowing:
    """Return the filter that an address holds. Raises ``Problem`` (INVALID_REQUEST) where it is none."""
    try:
        rule = QueueRule(
            verdicts=(VerdictValue(asked.verdict),) if asked.verdict else (),
            score_min=_read_share(asked.score_min),
            score_max=_read_share(asked.score_max),
            coverage_max=_read_share(asked.coverage_max),
            region=FaceRegion(asked.region) if asked.region else None,
        )
        said = Disposition(asked.said) if asked.said else None
        return Narrowing(rule, asked.disputed == "yes", _read_age(asked.age_h), said)
    except ValueError as fault:
        raise Problem(Reason.INVALID_REQUEST, f"the filter cannot be read: {fault}") from fault


def _decide(session: Session, queue_id: str, asked: Asked, form: Form, person: Person) -> int:
    try:
        draft = DecisionDraft(
            form.read_choice("disposition", Disposition),
            form.read_choice("reason", ReasonCode),
            form.read("comment") or None,
        )
        expected = int(form.read("expected"))
    except ValueError as fault:
        raise Problem(Reason.INVALID_REQUEST, str(fault)) from fault
    return decide_many(session, queue_id, read_narrowing(asked), person.id, draft, expected=expected)


def _read_state(text: str) -> ReviewState | None:
    if text == "any":
        return None
    try:
        return ReviewState(text)
    except ValueError as fault:
        raise Problem(Reason.INVALID_REQUEST, "there is no such state") from fault


def _read_share(text: str) -> float | None:
    return float(text) if text else None


def _read_age(text: str) -> datetime | None:
    if not text:
        return None
    hours = float(text)
    if not 0 <= hours <= _HOURS_MAX:
        raise ValueError("an age is a number of hours, ten years at most")
    return datetime.now(UTC) - timedelta(hours=hours)


def _read_place(paging: Paging) -> tuple[float, str] | None:
    if paging.position is None:
        return None
    rank, item_id = paging.position
    return float(rank or 0.0), str(item_id)
