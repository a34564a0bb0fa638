"""What people say of an analysis, the newest decision that stands: lists are filtered and counted by it."""

import secrets
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakesieve.database import Database
from fakesieve.filters.check import read_filter
from fakesieve.records.analysis_counts import CountBy, count_analyses
from fakesieve.records.analysis_lists import AnalysisQuery, find_line, list_analyses
from fakesieve.reviews.again import appeal_decision
from fakesieve.reviews.claim import claim_item, claim_next
from fakesieve.reviews.decide import decide_item, undo_decision
from fakesieve.reviews.fill import fill_queue
from fakesieve.reviews.items import ItemFilter, find_dispositions, list_items
from fakesieve.reviews.queues import load_queue
from fakesieve.values.analysis_lines import Untold
from fakesieve.values.reviews import DecisionDraft, Disposition, ReasonCode
from tests.factories import make_tenant
from tests.fakesieve.reviews.bench import FAKE, REAL
from tests.fakesieve.reviews.conftest import UNDO_S, Desk, make_analyses, make_queue
from tests.waiting import PATIENCE_S

APPEALED, TAKEN_BACK, SILENT = range(3)


def _make_desk(database: Database) -> Desk:
    tenant_id = make_tenant(database, f"tenant {secrets.token_hex(6)}")
    return Desk(database, tenant_id, make_queue(database, tenant_id), make_analyses(database, tenant_id))


def _find(desk: Desk, wanted: str) -> set[int]:
    """Return the places, among the desk's analyses, of those that fit a filter."""
    return set(_show(desk, wanted))


def _show(desk: Desk, wanted: str | None = None) -> dict[int, Disposition | Untold | None]:
    """Return what is shown of analyses that fit a filter, by their places."""
    query = AnalysisQuery(desk.tenant_id, read_filter(wanted), with_words=True)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        return {desk.analyses.index(line.id): line.disposition for line in list_analyses(session, query)}


@pytest.fixture(scope="module")
def spoken(module_database: Database) -> Desk:
    """A desk: its first analysis was decided and appealed, of the second a decision was taken back."""
    desk = _make_desk(module_database)

    def decide(who: str, draft: DecisionDraft) -> str:
        with desk.database.transaction(tenant_id=desk.tenant_id) as session:
            item = claim_next(session, desk.queue_id, who)
            assert item is not None
            decide_item(session, item, who, draft)
            return item

    first = decide("usr_a", FAKE)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        appeal_decision(session, first, "key_author", "this is my own face")
    decide("usr_b", REAL)
    taken_back = decide("usr_a", FAKE)
    with (
        pytest.MonkeyPatch.context() as patch,
        desk.database.transaction(tenant_id=desk.tenant_id) as session,
    ):
        patch.setattr(UNDO_S, PATIENCE_S)  # a busy machine may stand still for the usual ten seconds
        undo_decision(session, taken_back, "usr_a")
    return desk


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("disposition = confirmed_authentic", {APPEALED}),
        ("disposition = confirmed_manipulated", set()),
        ("disposition:confirmed_authentic", {APPEALED}),
        ("disposition != confirmed_authentic", {TAKEN_BACK, SILENT}),
        ("disposition != escalated", {APPEALED, TAKEN_BACK, SILENT}),
        ("disposition:*", {APPEALED}),
        ("disposition = null", {TAKEN_BACK, SILENT}),
        ("NOT disposition = confirmed_authentic", {TAKEN_BACK, SILENT}),
        ("verdict:* AND disposition = confirmed_authentic", {APPEALED}),
        ("disposition = null OR tracks:(score > 0)", {APPEALED, TAKEN_BACK, SILENT}),
    ],
)
def test_a_filter_finds_what_people_say_now(spoken: Desk, wanted: str, found: set[int]) -> None:
    assert _find(spoken, wanted) == found


def test_what_was_not_asked_for_is_not_told(spoken: Desk) -> None:
    with spoken.database.transaction(tenant_id=spoken.tenant_id) as session:
        listed = list_analyses(session, AnalysisQuery(spoken.tenant_id))
        one = find_line(session, spoken.tenant_id, spoken.analyses[APPEALED])
        told = find_line(session, spoken.tenant_id, spoken.analyses[APPEALED], with_words=True)
    assert {line.disposition for line in listed} == {Untold.UNTOLD}
    assert one is not None
    assert told == replace(one, disposition=Disposition.CONFIRMED_AUTHENTIC)


def test_analyses_are_counted_by_what_people_say(spoken: Desk) -> None:
    with spoken.database.transaction(tenant_id=spoken.tenant_id) as session:
        counts = count_analyses(session, spoken.tenant_id, [CountBy.OUTCOME, CountBy.DISPOSITION])
    assert [(group.keys[1], group.count) for group in counts.groups] == [
        ("confirmed_authentic", 1),
        (None, 2),
    ]
    assert counts.total == 3


_WORDS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(Disposition)), max_size=5)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=_WORDS)
def test_a_filter_finds_what_the_page_shows(
    module_database: Database, words: list[tuple[int, Disposition]]
) -> None:
    """Whoever speaks last of an analysis is heard, in whichever queue."""
    desk = _make_desk(module_database)
    for number, (place, said) in enumerate(words):
        queue_id = make_queue(desk.database, desk.tenant_id, name=f"queue {number}")
        with desk.database.transaction(tenant_id=desk.tenant_id) as session:
            fill_queue(session, load_queue(session, queue_id))
            wanted = ItemFilter(queue_id=queue_id, analysis_id=desk.analyses[place])
            (item,) = list_items(session, wanted)
            claim_item(session, item.id, f"usr_{number}")
            decide_item(session, item.id, f"usr_{number}", DecisionDraft(said, ReasonCode.NEEDS_EXPERT))
    last = dict(words)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        shown = find_dispositions(session, desk.analyses)
    assert {desk.analyses.index(analysis_id): said for analysis_id, said in shown.items()} == last
    assert _show(desk) == {0: None, 1: None, 2: None} | last
    assert _show(desk, "disposition = null") == dict.fromkeys({0, 1, 2} - set(last))
    for each in Disposition:
        fitting = {place for place, said in last.items() if said is each}
        assert _show(desk, f"disposition = {each}") == dict.fromkeys(fitting, each)
        assert _find(desk, f"disposition != {each}") == {0, 1, 2} - fitting
    assert _find(desk, "disposition:*") == set(last)
