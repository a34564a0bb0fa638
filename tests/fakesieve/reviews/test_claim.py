"""No two people hold one item, leases end, and nobody judges their own decision."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from engine.results import FaceRegion, Outcome, VerdictValue
from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.records.tags import set_tags
from fakesieve.reviews import fill
from fakesieve.reviews.again import ask_second_opinion
from fakesieve.reviews.claim import claim_item, claim_next, release_item
from fakesieve.reviews.decide import decide_item, reopen_item, skip_item
from fakesieve.reviews.fill import fill_queue
from fakesieve.reviews.items import ItemFilter, list_items, view_item
from fakesieve.reviews.queues import change_queue, count_items, load_queue
from fakesieve.values.reviews import (
    DecisionDraft,
    Disposition,
    QueueOrder,
    QueueRule,
    ReasonCode,
    ReviewState,
)
from tests.factories import make_tenant, make_video
from tests.fakesieve.reviews.conftest import Desk, make_queue
from tests.waiting import PATIENCE_S, wait_until

REAL = DecisionDraft(Disposition.CONFIRMED_AUTHENTIC, ReasonCode.NO_SIGN_FOUND)


def claim(desk: Desk, reviewer: str, queue_id: str | None = None) -> str | None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        return claim_next(session, queue_id or desk.queue_id, reviewer)


def analysis_of(desk: Desk, item_id: str | None) -> str:
    assert item_id is not None
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        return view_item(session, item_id).analysis_id


def end_lease(desk: Desk, item_id: str | None) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        session.execute(
            text("UPDATE review_item SET claim_until = now() - interval '1 s' WHERE id = :id"),
            {"id": item_id},
        )


def test_the_oldest_match_is_offered_first_and_each_to_one_person(desk: Desk) -> None:
    claimed = [analysis_of(desk, claim(desk, f"usr_{number}")) for number in range(3)]
    assert claimed == list(desk.analyses)
    assert claim(desk, "usr_late") is None


def test_whoever_holds_an_item_gets_it_again(desk: Desk) -> None:
    assert claim(desk, "usr_a") == claim(desk, "usr_a")


def test_of_many_who_ask_at_once_no_two_get_the_same(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill, "FILL_WAIT_S", PATIENCE_S)  # those who find nothing wait for each other
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        assert fill_queue(session, load_queue(session, desk.queue_id)) == 3
    with ThreadPoolExecutor(8) as people:
        got = list(people.map(lambda number: claim(desk, f"usr_{number}"), range(8)))
    taken = [item for item in got if item is not None]
    assert len(taken) == len(set(taken)) == 3


WAITS_FOR_A_ROW = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


def test_who_asks_while_somebody_else_fills_the_queue_gets_what_was_filled(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill, "FILL_WAIT_S", PATIENCE_S)

    def is_waited_for() -> bool:
        with desk.database.transaction(tenant_id=None) as session:
            return session.scalar(WAITS_FOR_A_ROW) == 2

    with ThreadPoolExecutor(2) as people:
        with desk.database.transaction(tenant_id=desk.tenant_id) as session:
            assert fill_queue(session, load_queue(session, desk.queue_id)) == 3
            asked = [people.submit(claim, desk, f"usr_{number}") for number in range(2)]
            wait_until(is_waited_for)
        got = {analysis_of(desk, each.result()) for each in asked}
    assert got == set(desk.analyses[:2])


def test_an_item_is_free_again_when_its_lease_is_over(desk: Desk) -> None:
    first = claim(desk, "usr_a")
    assert claim(desk, "usr_b") != first
    end_lease(desk, first)
    assert claim(desk, "usr_c") == first


def test_who_lost_an_item_cannot_decide_it(desk: Desk) -> None:
    item = claim(desk, "usr_a")
    assert item is not None
    end_lease(desk, item)
    assert claim(desk, "usr_b") == item
    with (
        pytest.raises(RequestRefused) as refused,
        desk.database.transaction(tenant_id=desk.tenant_id) as session,
    ):
        decide_item(session, item, "usr_a", REAL)
    assert refused.value.reason is Reason.STATE_CONFLICT


def test_a_lease_that_is_over_still_counts_while_nobody_else_wants_the_item(desk: Desk) -> None:
    item = claim(desk, "usr_a")
    assert item is not None
    end_lease(desk, item)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        assert decide_item(session, item, "usr_a", REAL).startswith("dec_")


def test_an_item_can_be_claimed_by_its_id_and_given_back(desk: Desk) -> None:
    claim(desk, "usr_a")
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        other = next(view for view in list_items(session, ItemFilter()) if view.state is ReviewState.OPEN)
        claim_item(session, other.id, "usr_b")
        assert view_item(session, other.id).claimed_by == "usr_b"
        with pytest.raises(RequestRefused, match="somebody else holds"):
            claim_item(session, other.id, "usr_c")
        release_item(session, other.id, "usr_b")
        assert view_item(session, other.id).state is ReviewState.OPEN


def test_what_somebody_gave_back_comes_after_all_others_for_them(desk: Desk) -> None:
    first = claim(desk, "usr_a")
    assert first is not None
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        release_item(session, first, "usr_a")
    second = claim(desk, "usr_a")
    assert second not in (None, first)
    assert claim(desk, "usr_b") == first  # for others it is the first as before
    end_lease(desk, first)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        decide_item(session, str(second), "usr_a", REAL)
        decide_item(session, str(claim_next(session, desk.queue_id, "usr_a")), "usr_a", REAL)
    assert claim(desk, "usr_a") == first  # and in the end for them too


def test_who_skipped_an_item_that_was_opened_again_counts_no_more(desk: Desk) -> None:
    item = str(claim(desk, "usr_a"))
    for number, reviewer in enumerate(("usr_a", "usr_b", "usr_c")):
        with desk.database.transaction(tenant_id=desk.tenant_id) as session:
            claim_item(session, item, reviewer)
            state = skip_item(session, item, reviewer, ReasonCode.NEEDS_EXPERT)
        assert state is (ReviewState.SKIPPED if number == 2 else ReviewState.OPEN)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        reopen_item(session, item, "usr_boss")
    assert claim(desk, "usr_a") == item
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        assert skip_item(session, item, "usr_a", ReasonCode.NEEDS_EXPERT) is ReviewState.OPEN


def test_what_somebody_skipped_is_offered_to_others_alone(desk: Desk) -> None:
    item = claim(desk, "usr_a")
    assert item is not None
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        assert skip_item(session, item, "usr_a", ReasonCode.CONFLICT_OF_INTEREST) is ReviewState.OPEN
    assert claim(desk, "usr_a") != item
    assert claim(desk, "usr_b") == item


def test_whoever_decided_does_not_give_the_second_opinion(desk: Desk) -> None:
    item = claim(desk, "usr_a")
    assert item is not None
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        decide_item(session, item, "usr_a", REAL)
        second = ask_second_opinion(session, item, "usr_boss")
    assert claim(desk, "usr_a") != second
    with (
        pytest.raises(RequestRefused, match="has decided on an analysis"),
        desk.database.transaction(tenant_id=desk.tenant_id) as session,
    ):
        claim_item(session, second, "usr_a")
    assert claim(desk, "usr_b") == second  # before all others of the queue


def test_a_closed_queue_gives_nothing_out(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        change_queue(session, desk.queue_id, is_active=False, actor="usr_admin")
    with pytest.raises(RequestRefused, match="closed"):
        claim(desk, "usr_a")


def test_a_deleted_video_is_offered_to_nobody(desk: Desk) -> None:
    first = claim(desk, "usr_a")
    end_lease(desk, first)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        session.execute(text("UPDATE video SET delete_time = now(), purge_time = now() + interval '1 day'"))
    assert claim(desk, "usr_b") is None
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        assert list_items(session, ItemFilter()) == []


RULES = {
    "verdict": (QueueRule(verdicts=(VerdictValue.INCONCLUSIVE,)), {0, 1, 2}),
    "another verdict": (QueueRule(verdicts=(VerdictValue.LIKELY_MANIPULATED,)), set()),
    "outcome": (QueueRule(outcomes=(Outcome.NO_FACE,)), set()),
    "band": (QueueRule(score_min=0.2, score_max=0.3), {1}),
    "region": (QueueRule(region=FaceRegion.MOUTH, region_share_min=0.6), {0, 1, 2}),
    "region too rarely": (QueueRule(region=FaceRegion.MOUTH, region_share_min=0.8), set()),
    "coverage": (QueueRule(coverage_max=0.5), set()),
    "tag": (QueueRule(tags=(("kind", "advert"),)), {1}),
    "since": (QueueRule(since=datetime(2100, 1, 1, tzinfo=UTC)), set()),
}


@pytest.mark.parametrize("name", RULES)
def test_a_queue_holds_what_its_rule_says(desk: Desk, name: str) -> None:
    rule, expected = RULES[name]
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        video = session.scalar(text("SELECT video_id FROM analysis WHERE id = :id"), {"id": desk.analyses[1]})
        set_tags(session, desk.tenant_id, str(video), {"kind": "advert"})
    queue_id = make_queue(desk.database, desk.tenant_id, name="some", rule=rule)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        fill_queue(session, load_queue(session, queue_id))
        found = {view.analysis_id for view in list_items(session, ItemFilter(queue_id=queue_id))}
    assert found == {desk.analyses[number] for number in expected}


@pytest.mark.parametrize(
    ("order", "expected"), [(QueueOrder.HIGHEST_SCORE, 2), (QueueOrder.NEAREST_MIDDLE, 2)]
)
def test_a_queue_offers_in_its_order(desk: Desk, order: QueueOrder, expected: int) -> None:
    queue_id = make_queue(desk.database, desk.tenant_id, name="some", order=order)
    assert analysis_of(desk, claim(desk, "usr_a", queue_id)) == desk.analyses[expected]


def test_a_sample_is_a_share_and_the_same_each_time(desk: Desk) -> None:
    rule = QueueRule(sample_rate=0.5)
    for number in range(40):
        with desk.database.transaction(tenant_id=desk.tenant_id) as session:
            video_id = make_video(session, desk.tenant_id, f"more {number}")
            session.execute(  # cheap rows: only what the rule looks at
                text(
                    "INSERT INTO analysis SELECT (jsonb_populate_record(analysis, jsonb_build_object("
                    "'id', 'ana_' || cast(:number AS text), 'video_id', cast(:video AS text)))).*"
                    " FROM analysis WHERE id = :like"
                ),
                {"number": number, "video": video_id, "like": desk.analyses[0]},
            )
            session.execute(
                text(
                    "INSERT INTO standing SELECT (jsonb_populate_record(standing, jsonb_build_object("
                    "'analysis_id', 'ana_' || cast(:number AS text)))).*"
                    " FROM standing WHERE analysis_id = :like"
                ),
                {"number": number, "like": desk.analyses[0]},
            )
    found: list[set[str]] = []
    for name in ("one", "other"):
        queue_id = make_queue(desk.database, desk.tenant_id, name=name, rule=rule)
        with desk.database.transaction(tenant_id=desk.tenant_id) as session:
            fill_queue(session, load_queue(session, queue_id))
            found.append({view.analysis_id for view in list_items(session, ItemFilter(queue_id=queue_id))})
    assert found[0] == found[1]
    assert 10 < len(found[0]) < 33


def test_counts_say_how_much_waits(desk: Desk) -> None:
    end_lease(desk, claim(desk, "usr_a"))
    claim(desk, "usr_b")
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        counts = count_items(session, [desk.queue_id])
    assert counts == {desk.queue_id: {ReviewState.OPEN: 2, ReviewState.CLAIMED: 1}}


def test_a_name_of_a_queue_is_given_once(desk: Desk) -> None:
    with pytest.raises(RequestRefused, match="there is a queue"):
        make_queue(desk.database, desk.tenant_id)


def test_a_queue_of_another_tenant_is_not_there(desk: Desk) -> None:
    other = make_tenant(desk.database, "other")
    with (
        pytest.raises(RequestRefused) as refused,
        desk.database.transaction(tenant_id=other) as session,
    ):
        claim_next(session, desk.queue_id, "usr_a")
    assert refused.value.reason is Reason.NOT_FOUND


@pytest.mark.parametrize(
    "values",
    [
        {"score_min": 1.5},
        {"score_min": 0.6, "score_max": 0.5},
        {"sample_rate": 0.0},
        {"since": datetime(2026, 1, 1)},
        {"tags": tuple(("name", str(n)) for n in range(21))},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"score_min|sample_rate|since|tags"):
        QueueRule(**values)


def test_a_rule_comes_back_from_json_as_it_was() -> None:
    rule = QueueRule(
        verdicts=(VerdictValue.INCONCLUSIVE,),
        outcomes=(Outcome.SCORED,),
        score_min=0.25,
        score_max=0.75,
        coverage_max=0.9,
        region=FaceRegion.NOSE,
        region_share_min=0.125,
        tags=(("a", "b"),),
        since=datetime(2026, 1, 31, tzinfo=UTC),
        sample_rate=0.5,
    )
    assert QueueRule.from_json(rule.to_json()) == rule
