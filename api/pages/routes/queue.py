"""The queues: what waits, what is being looked at, and the way to the next item."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from math import isfinite

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from api.pages.forms import FormDep
from api.pages.notices import DoneDep, go_back
from api.pages.people import PersonDep
from api.pages.review_words import write_entry
from api.pages.router import PageRouter, PageTransaction, require_role
from api.pages.routes.views import list_links
from api.pages.templates import format_code, render
from api.problems import Problem
from engine.results import FaceRegion, Outcome, VerdictValue
from fakesieve.people.accounts import name_people
from fakesieve.reasons import Reason
from fakesieve.records.review_known import count_left_out
from fakesieve.records.reviews import ReviewQueue
from fakesieve.records.saved_views import ViewPage
from fakesieve.reviews.accuracy import SURE_MIN, Accuracy, measure_reviewers
from fakesieve.reviews.agreement import PAIRS_MIN, list_pairs, measure, measure_people, measure_queues
from fakesieve.reviews.claim import claim_next
from fakesieve.reviews.entries import list_entries
from fakesieve.reviews.items import view_item
from fakesieve.reviews.narrow import count_bands
from fakesieve.reviews.queues import change_queue, count_items, create_queue, list_queues
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import (
    KNOWN_SHARE_MAX,
    LEASE_S,
    REGION_SHARE_MIN,
    EntryKind,
    QueueDraft,
    QueueOrder,
    QueueRule,
    ReviewState,
)

RECENT = 20
_NOTICES = {
    "skipped": "Skipped. It is offered to others.",
    "empty": "Nothing waits in that queue.",
    "made": "The queue is there. It fills when somebody asks for its next item.",
    "changed": "The queue was changed.",
}
_ORDERS = {
    QueueOrder.OLDEST: "oldest first",
    QueueOrder.HIGHEST_SCORE: "highest score first",
    QueueOrder.NEAREST_MIDDLE: "nearest to the middle first",
}
router = PageRouter()


@router.get("/queue")
def show_queues(
    request: Request,
    person: PersonDep,
    session: PageTransaction,
    done: DoneDep,
) -> Response:
    """Show the queues with what is in them, and what was decided last."""
    queues = list_queues(session)
    counts = count_items(session, [queue.id for queue in queues])
    entries = list_entries(session, kinds=(EntryKind.DECISION, EntryKind.SKIP), limit=RECENT)
    pairs = list_pairs(session)
    people = measure_people(pairs)
    may_measure = person.may(UserRole.ADMIN)
    accuracy: Mapping[str, Accuracy] = measure_reviewers(session) if may_measure else {}
    names = name_people(session, {entry.reviewer for entry in entries} | set(people) | set(accuracy))
    return render(
        request,
        "queue.html",
        queues=[(queue, _say_rule(queue), counts[queue.id], count_bands(session, queue)) for queue in queues],
        states=tuple(ReviewState),
        recent=[(entry, write_entry(entry, names)) for entry in entries],
        links=list_links(session, person, ViewPage.QUEUE),
        kept=count_left_out(session),
        agreement=measure(pairs),
        by_queue=measure_queues(pairs),
        by_person=[(names.get(who, who), found) for who, found in people.items()],
        pairs_min=PAIRS_MIN,
        accuracy=[(names.get(who, who), found) for who, found in accuracy.items()],
        sure_min=SURE_MIN,
        known_share_max=KNOWN_SHARE_MAX,
        verdicts=tuple(VerdictValue),
        outcomes=tuple(Outcome),
        regions=tuple(FaceRegion),
        region_share_min=REGION_SHARE_MIN,
        lease_min=LEASE_S / 60,
        orders=_ORDERS,
        notice=done.say(_NOTICES),
    )


@router.post("/queue", dependencies=[require_role(UserRole.ADMIN)])
def take_queue(form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Make a queue."""
    try:
        draft = QueueDraft(
            name=form.read("name"),
            rule=QueueRule(
                verdicts=tuple(VerdictValue(value) for value in form.fields.get("verdict", ())),
                score_min=_read_share(form.read("score_min")),
                score_max=_read_share(form.read("score_max")),
                coverage_max=_read_share(form.read("coverage_max")),
                outcomes=tuple(Outcome(value) for value in form.fields.get("outcome", ())),
                region=form.find_choice("region", FaceRegion),
                region_share_min=_read_number(form.read("region_share_min"), REGION_SHARE_MIN),
                tags=_read_tags(form.read("tag")),
                since=_read_day(form.read("since")),
                sample_rate=_read_number(form.read("sample_rate"), 1.0),
            ),
            order=form.read_choice("order", QueueOrder),
            is_blind=form.read("blind") == "yes",
            lease_s=round(60 * _read_number(form.read("lease_min"), LEASE_S / 60)),
            second_opinion_rate=_read_share(form.read("second")) or 0.0,
            known_share=_read_share(form.read("known")) or 0.0,
        )
    except ValueError as fault:
        raise Problem(Reason.INVALID_REQUEST, str(fault)) from fault
    create_queue(session, person.tenant_id, draft, actor=person.id)
    return go_back(person, "/queue", "made")


@router.post("/queue/{queue_id}/active", dependencies=[require_role(UserRole.ADMIN)])
def switch_queue(queue_id: str, form: FormDep, person: PersonDep, session: PageTransaction) -> Response:
    """Open or close a queue."""
    change_queue(session, queue_id, is_active=form.read("active") == "yes", actor=person.id)
    return go_back(person, "/queue", "changed")


@router.post("/queue/{queue_id}/next", dependencies=[require_role(UserRole.REVIEWER)])
def take_next(queue_id: str, person: PersonDep, session: PageTransaction) -> Response:
    """Give the person the next item and go to its page."""
    item_id = claim_next(session, queue_id, person.id)
    if item_id is None:
        return go_back(person, "/queue", "empty")
    return RedirectResponse(f"/r/{view_item(session, item_id).analysis_id}", 303)


def _read_share(text: str) -> float | None:
    return float(text) if text else None


def _read_number(text: str, default: float) -> float:
    number = float(text) if text else default
    if not isfinite(number):
        raise ValueError(f"{text} is no number that can be used")
    return number


def _read_day(text: str) -> datetime | None:
    """Return when a day begins, in UTC. Raises ValueError."""
    return datetime.combine(date.fromisoformat(text), time(), UTC) if text else None


def _read_tags(text: str) -> tuple[tuple[str, str], ...]:
    """Return the tags of a text, one a line. Raises ValueError."""
    return tuple(_read_tag(line) for line in text.splitlines() if line.strip())


def _read_tag(text: str) -> tuple[str, str]:
    name, _, value = (part.strip() for part in text.partition("="))
    if not (name and value):
        raise ValueError("a tag is written as name=value, one a line")
    return name, value


def _say_rule(queue: ReviewQueue) -> str:
    """Return the filter of a queue in words."""
    rule = QueueRule.from_json(queue.rule)
    parts = [format_code(verdict.value) for verdict in rule.verdicts]
    parts += [format_code(outcome.value) for outcome in rule.outcomes]
    said = " or ".join(parts) or "everything"
    if rule.score_min is not None:
        said += f", score from {rule.score_min:g}"
    if rule.score_max is not None:
        said += f", score to {rule.score_max:g}"
    if rule.coverage_max is not None:
        said += f", coverage to {rule.coverage_max:.0%}"
    if rule.region is not None:
        said += f", {format_code(rule.region.value)} from {rule.region_share_min:.0%}"
    said += "".join(f", {name}={value}" for name, value in rule.tags)
    if rule.since is not None:
        said += f", since {rule.since.astimezone(UTC):%Y-%m-%d}"
    if rule.sample_rate < 1:
        said += f", a share of {rule.sample_rate:g}"
    said += f"; {_ORDERS[queue.order]}, held for {queue.lease_s / 60:g} min"
    if queue.second_opinion_rate > 0:
        said += f", {queue.second_opinion_rate:.0%} looked at by a second person"
    if queue.known_share > 0:
        said += f", {100 * queue.known_share:g}% of what is given out has a known answer"
    return said
