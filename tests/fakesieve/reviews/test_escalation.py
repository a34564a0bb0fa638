"""Who passes an item on hands it to somebody else, who is told what was said unless they judge blindly."""

import pytest

from fakesieve.errors import RequestRefused
from fakesieve.reviews.again import appeal_decision, ask_second_opinion
from fakesieve.reviews.agreement import list_pairs
from fakesieve.reviews.claim import claim_item, claim_next
from fakesieve.reviews.decide import decide_item, undo_decision
from fakesieve.reviews.items import ItemFilter, find_dispositions, list_items, view_item
from fakesieve.reviews.narrow import Narrowing, list_matches
from fakesieve.reviews.queues import load_queue
from fakesieve.values.reviews import DecisionDraft, Disposition, ReasonCode, ReviewKind
from tests.fakesieve.reviews.bench import ANA, BEN, REAL
from tests.fakesieve.reviews.conftest import Desk, make_queue

PASSED_ON = DecisionDraft(Disposition.ESCALATED, ReasonCode.NEEDS_EXPERT, comment="is this a filter?")
CLEO = "usr_cleo"


def escalate(desk: Desk, who: str, queue_id: str | None = None) -> str:
    """Take the next item and pass it on; return its id."""
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim_next(session, queue_id or desk.queue_id, who)
        assert item is not None
        decide_item(session, item, who, PASSED_ON)
        return item


def test_it_is_offered_to_somebody_else_before_all_others_and_their_word_counts(desk: Desk) -> None:
    item = escalate(desk, ANA)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        assert view_item(session, str(claim_next(session, desk.queue_id, ANA))).analysis_id != (
            view_item(session, item).analysis_id
        )
        child = view_item(session, str(claim_next(session, desk.queue_id, BEN)))
        assert (child.parent_id, child.kind, child.is_blind) == (item, ReviewKind.SECOND_OPINION, False)
        assert child.statement == "is this a filter?"
        decide_item(session, child.id, BEN, REAL)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        said = find_dispositions(session, desk.analyses)
        assert said == {child.analysis_id: Disposition.CONFIRMED_AUTHENTIC}
        assert list_pairs(session) == []


def test_who_passes_on_what_was_passed_on_leaves_it_to_a_third(desk: Desk) -> None:
    first, second = escalate(desk, ANA), escalate(desk, BEN)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        third = view_item(session, str(claim_next(session, desk.queue_id, CLEO)))
        assert (view_item(session, second).parent_id, third.parent_id) == (first, second)


def test_a_second_look_that_is_passed_on_is_no_disagreement(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = str(claim_next(session, desk.queue_id, ANA))
        decide_item(session, item, ANA, REAL)
        ask_second_opinion(session, item, ANA)
    escalate(desk, BEN)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        assert list_pairs(session) == []


def test_the_words_of_an_appeal_go_along(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = str(claim_next(session, desk.queue_id, ANA))
        decide_item(session, item, ANA, REAL)
        appeal_decision(session, item, "key_caller", "this is my own face")
    escalate(desk, BEN)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        child = view_item(session, str(claim_next(session, desk.queue_id, CLEO)))
        assert child.statement == "this is my own face\n\nis this a filter?"


@pytest.mark.usefixtures("long_undo")
def test_taking_it_back_takes_the_new_item_away_unless_somebody_holds_it(desk: Desk) -> None:
    item = escalate(desk, ANA)
    waiting = ItemFilter(kind=ReviewKind.SECOND_OPINION)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        undo_decision(session, item, ANA)
        assert list_items(session, waiting) == []
        decide_item(session, item, ANA, PASSED_ON)
        (child,) = list_items(session, waiting)
        claim_item(session, child.id, BEN)
        with pytest.raises(RequestRefused, match="second time"):
            undo_decision(session, item, ANA)


def test_one_item_is_opened_also_where_the_queue_asks_for_second_opinions(desk: Desk) -> None:
    queue_id = make_queue(desk.database, desk.tenant_id, name="careful", second_opinion_rate=1.0)
    escalate(desk, ANA, queue_id)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        (child,) = list_items(session, ItemFilter(kind=ReviewKind.SECOND_OPINION))
    assert not child.is_blind


def test_in_a_blind_queue_the_next_one_is_told_nothing(desk: Desk) -> None:
    queue_id = make_queue(desk.database, desk.tenant_id, name="blind", is_blind=True)
    item = escalate(desk, ANA, queue_id)
    with desk.database.transaction(tenant_id=desk.tenant_id, viewer=BEN) as session:
        child = view_item(session, str(claim_next(session, queue_id, BEN)))
        assert (child.is_blind, child.finding, child.statement) == (True, None, None)
        assert view_item(session, item).disposition is None
        said = ItemFilter(analysis_id=child.analysis_id, disposition=Disposition.ESCALATED)
        assert list_items(session, said) == []
        only = Narrowing(disposition=Disposition.ESCALATED)
        assert list_matches(session, load_queue(session, queue_id), only, None) == []


def test_the_comment_is_kept_from_whoever_judges_the_video_blindly_elsewhere(desk: Desk) -> None:
    item = escalate(desk, ANA)
    queue_id = make_queue(desk.database, desk.tenant_id, name="blind", is_blind=True)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        claim_next(session, queue_id, "key_filler")
    with desk.database.transaction(tenant_id=desk.tenant_id, viewer=BEN) as session:
        views = list_items(session, ItemFilter(analysis_id=view_item(session, item).analysis_id))
    assert {view.statement for view in views} == {None}


def test_a_queue_is_narrowed_to_what_waits_because_it_was_passed_on(desk: Desk) -> None:
    item = escalate(desk, ANA)
    only = Narrowing(disposition=Disposition.ESCALATED)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        found = list_matches(session, load_queue(session, desk.queue_id), only, None)
    assert [(view.kind, view.id == item) for view in found] == [
        (ReviewKind.SECOND_OPINION, False),
        (ReviewKind.FIRST, True),
    ]
