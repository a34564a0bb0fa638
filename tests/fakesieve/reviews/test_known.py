"""Known analyses: who is given them, and who sees what was made for one person."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, read_time_ms
from fakesieve.reasons import Reason
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.audit import AuditEntry
from fakesieve.records.blind import ONLOOKER, count_kept, is_kept
from fakesieve.records.review_known import count_left_out
from fakesieve.records.reviews import ReviewItem, ReviewQueue
from fakesieve.reviews import fill
from fakesieve.reviews.again import appeal_decision, ask_second_opinion
from fakesieve.reviews.bulk import count_decidable
from fakesieve.reviews.claim import claim_item, claim_next, find_free, release_item
from fakesieve.reviews.decide import decide_item, reveal_score, skip_item, undo_decision
from fakesieve.reviews.fill import fill_queue
from fakesieve.reviews.items import ItemFilter, list_items, view_item
from fakesieve.reviews.known import declare_known, list_known, take_back_known
from fakesieve.reviews.narrow import Narrowing, count_bands, list_matches
from fakesieve.reviews.queues import count_items, load_queue
from fakesieve.values.people import UserRole
from fakesieve.values.reviews import (
    Disposition,
    QueueOrder,
    QueueRule,
    ReasonCode,
    ReviewState,
)
from tests.fakesieve.reviews.bench import (
    ANA,
    BEN,
    FAKE,
    FORGED,
    LEAD,
    Bench,
    make_bench,
    make_person,
    never,
    take,
)
from tests.fakesieve.reviews.conftest import Desk, make_queue
from tests.waiting import PATIENCE_S


@pytest.fixture
def bench(desk: Desk) -> Bench:
    return make_bench(desk)


def test_a_reviewer_is_given_the_known_analysis_once_and_then_real_items_only(bench: Bench) -> None:
    bench.decide(ANA, take(bench, ANA))
    rest: list[str] = []
    while (item := bench.claim(ANA)) is not None:
        rest.append(bench.shown(ANA, item))
        bench.decide(ANA, item)
    assert rest == list(bench.desk.analyses[:-1])


def test_each_has_an_item_of_their_own_of_the_same_analysis(bench: Bench) -> None:
    items = {take(bench, who) for who in (ANA, BEN, "usr_cleo")}
    assert len(items) == 3


def test_of_many_who_ask_at_once_each_gets_their_own_or_waits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill, "FILL_WAIT_S", PATIENCE_S)  # those who find nothing wait for each other
    bench.as_(None, lambda s: fill_queue(s, load_queue(s, bench.queue_id)))
    people = [f"usr_{number}" for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        got = dict(zip(people, pool.map(bench.claim, people), strict=True))
    # Who finds both real items in the hands of others for that moment is given none, and asks again.
    items = [got[who] or str(bench.claim(who)) for who in people]
    assert len(set(items)) == len(people)
    assert {bench.shown(who, item) for who, item in zip(people, items, strict=True)} == {bench.known}


def test_no_row_of_it_is_held_by_somebody_else(bench: Bench) -> None:
    item = take(bench, ANA)
    stolen = update(ReviewItem).where(ReviewItem.id == item).values(claimed_by=BEN)
    with pytest.raises(IntegrityError, match="ck_review_item_made_for"):
        bench.as_(None, lambda s: s.execute(stolen))


def test_a_tenant_declares_so_many_and_no_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fakesieve.reviews.known.KNOWN_MAX", 1)
    owner, more = bench.desk.tenant_id, bench.desk.analyses[0]
    with pytest.raises(RequestRefused) as refused:
        bench.as_(None, lambda s: declare_known(s, owner, more, FORGED, actor=LEAD))
    assert refused.value.reason is Reason.QUOTA_EXCEEDED


def test_it_comes_by_chance_below_the_share_alone(bench: Bench) -> None:
    at_share = bench.claim(ANA, lambda: 0.2)
    assert at_share is not None
    assert bench.shown(ANA, at_share) == bench.desk.analyses[0]
    below = bench.claim(BEN, lambda: 0.1999)
    assert below is not None
    assert bench.shown(BEN, below) == bench.known


def test_an_empty_queue_gives_out_no_known_item_either(bench: Bench) -> None:
    for analysis in bench.desk.analyses[:-1]:
        bench.as_(None, lambda s, a=analysis: declare_known(s, bench.desk.tenant_id, a, FORGED, actor=LEAD))
    assert bench.claim(ANA) is None


def test_whoever_declared_it_is_not_asked(bench: Bench) -> None:
    item = bench.claim(LEAD)
    assert item is not None
    assert bench.shown(LEAD, item) != bench.known


@pytest.mark.parametrize("is_blind", [False, True])
def test_nothing_in_the_item_gives_it_away(desk: Desk, is_blind: bool) -> None:
    bench = make_bench(desk, is_blind=is_blind)
    real_id, known_id = bench.claim(BEN, never), take(bench, ANA)
    assert real_id is not None
    real = bench.as_(BEN, lambda session: view_item(session, real_id))
    known = bench.as_(ANA, lambda session: view_item(session, known_id))
    own = {
        "id": "",
        "analysis_id": "",
        "video_id": "",
        "claimed_by": "",
        "claim_until": None,
        "finding": None,
    }
    assert replace(known, **own) == replace(real, **own)
    assert (known.finding is None) == (real.finding is None) == is_blind
    # The id tells when it was made: as the others of its queue, and not when it was claimed.
    others = bench.as_(
        None, lambda s: s.scalars(select(ReviewItem.id).where(ReviewItem.id != known_id)).all()
    )
    assert read_time_ms(known_id, IdPrefix.REVIEW) in {read_time_ms(each, IdPrefix.REVIEW) for each in others}


def test_it_shares_neither_time_nor_id_with_a_single_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Any moment of a minute is drawn, and of its 60,000 milliseconds one is that of the other's id.
    monkeypatch.setattr("fakesieve.reviews.known._CHANCE", random.Random(1))
    real = bench.as_(None, lambda s: fill_and_split(s, bench))
    known = take(bench, ANA)
    rows = bench.as_(None, lambda s: {row.id: row.create_time for row in s.scalars(select(ReviewItem)).all()})
    assert rows[known] not in {rows[each] for each in real}
    assert min(rows[each] for each in real) - timedelta(minutes=1) <= rows[known] < rows[real[0]]
    assert known[:15] not in {each[:15] for each in real}


def fill_and_split(session: Session, bench: Bench) -> list[str]:
    """Take in matches as if each had come by itself, hours after its analysis."""
    fill_queue(session, load_queue(session, bench.queue_id))
    wanted = select(ReviewItem).where(ReviewItem.queue_id == bench.queue_id).order_by(ReviewItem.rank)
    items = session.scalars(wanted).all()
    for hours, item in enumerate(items, 1):
        item.create_time += timedelta(hours=hours)
    return [item.id for item in items]


def test_it_is_never_older_than_its_analysis(bench: Bench) -> None:
    early = func.now() - timedelta(days=1)
    bench.as_(None, lambda s: fill_queue(s, load_queue(s, bench.queue_id)))
    bench.as_(None, lambda s: s.execute(update(ReviewItem).values(create_time=early)))
    known = take(bench, ANA)
    made, analysed = bench.as_(
        None,
        lambda s: (s.get_one(ReviewItem, known).create_time, s.get_one(Analysis, bench.known).create_time),
    )
    assert made >= analysed
    assert read_time_ms(known, IdPrefix.REVIEW) >= int(1000 * analysed.timestamp())


@pytest.mark.parametrize(("share", "is_told"), [(0.2, False), (0.0, True)])
def test_what_waits_in_a_queue_with_known_answers_is_listed_to_leads_alone(
    desk: Desk, share: float, is_told: bool
) -> None:
    queue_id = make_queue(desk.database, desk.tenant_id, name="other", known_share=share)
    lead = make_person(desk.database, desk.tenant_id, UserRole.ADMIN)
    reviewer = make_person(desk.database, desk.tenant_id, UserRole.REVIEWER)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        fill_queue(session, load_queue(session, queue_id))
    told = {None: 3, lead: 3, reviewer: 3 * is_told, "key_none": 3 * is_told, ONLOOKER: 3 * is_told}
    for who, rows in told.items():
        with desk.database.transaction(tenant_id=desk.tenant_id, viewer=who) as session:
            queue = load_queue(session, queue_id)
            assert len(list_items(session, ItemFilter(queue_id=queue_id))) == rows, who
            assert len(list_matches(session, queue, Narrowing(), None)) == rows, who
            assert sum(count_bands(session, queue).values()) == rows, who
            assert count_items(session, [queue_id])[queue_id] == {ReviewState.OPEN: 3}
    with desk.database.transaction(tenant_id=desk.tenant_id, viewer=reviewer) as session:
        queue = load_queue(session, queue_id)
        item = claim_next(session, queue_id, reviewer, draw=never)
        assert len(list_items(session, ItemFilter(queue_id=queue_id))) == (3 if is_told else 1)
        release_item(session, str(item), reviewer)
        assert len(list_matches(session, queue, Narrowing(), None)) == 3 * is_told
        assert count_decidable(session, queue, Narrowing(), reviewer) == 3 * is_told


def test_how_many_are_kept_from_a_reviewer_is_told_where_it_gives_nothing_away(desk: Desk) -> None:
    lead = make_person(desk.database, desk.tenant_id, UserRole.ADMIN)
    bench = make_bench(desk, is_blind=True)
    bench.as_(None, lambda s: fill_queue(s, load_queue(s, bench.queue_id)))
    told = {who: bench.as_(who, count_left_out) for who in (ANA, lead, ONLOOKER, "key_none", None)}
    assert told == {ANA: None, lead: 3, ONLOOKER: 0, "key_none": 0, None: 0}
    bench.as_(None, lambda s: s.execute(update(ReviewQueue).values(is_active=False)))
    assert bench.as_(ANA, count_left_out) == 0


def test_it_fits_the_rule_of_its_queue(desk: Desk) -> None:
    # Calibrated scores 0.45, 0.25 and 0.49: the known one is outside.
    bench = make_bench(desk, rule=QueueRule(score_max=0.46))
    item = bench.claim(ANA)
    assert item is not None
    assert bench.shown(ANA, item) != bench.known


def test_of_several_the_one_that_stands_nearest_in_the_order_comes(desk: Desk) -> None:
    # Scores 0.45, 0.25 and 0.49: the real one comes first, and 0.25 would stand out before it.
    near, far, _ = desk.analyses
    bench = make_bench(desk, known=far, order=QueueOrder.HIGHEST_SCORE)
    bench.as_(None, lambda s: declare_known(s, desk.tenant_id, near, FORGED, actor=LEAD))
    for number in range(4):
        who = f"usr_{number}"
        assert bench.shown(who, str(bench.claim(who))) == near


def test_nobody_else_sees_it_or_moves_it(bench: Bench) -> None:
    item = take(bench, ANA)
    with pytest.raises(RequestRefused) as refused:
        bench.shown(BEN, item)
    assert refused.value.reason is Reason.NOT_FOUND
    for act in (
        lambda s: claim_item(s, item, BEN),
        lambda s: decide_item(s, item, BEN, FAKE),
        lambda s: release_item(s, item, BEN),
        lambda s: undo_decision(s, item, BEN),
        lambda s: ask_second_opinion(s, item, BEN),
        lambda s: appeal_decision(s, item, BEN, "it is me"),
    ):
        with pytest.raises(RequestRefused) as refused:
            bench.as_(BEN, act)
        assert refused.value.reason is Reason.NOT_FOUND
    queue = bench.as_(None, lambda s: load_queue(s, bench.queue_id))
    for who, seen in ((ANA, True), (BEN, False), (None, False)):
        every = bench.as_(who, lambda s: list_items(s, ItemFilter(queue_id=bench.queue_id)))
        lines = bench.as_(who, lambda s: list_matches(s, queue, Narrowing(), None))
        assert (item in {view.id for view in every}, item in {view.id for view in lines}) == (seen, seen)
    assert bench.as_(BEN, lambda s: find_free(s, [item], BEN)) == set()


def test_an_ended_lease_leaves_it_with_its_reviewer(bench: Bench) -> None:
    item = take(bench, ANA)
    over = update(ReviewItem).where(ReviewItem.id == item).values(claim_until=func.now() - timedelta(1))
    bench.as_(None, lambda s: s.execute(over))
    other = bench.claim(BEN, never)
    assert other != item
    assert bench.claim(ANA) == item


def test_what_was_given_back_comes_after_all_others(bench: Bench) -> None:
    item = take(bench, ANA)
    bench.as_(ANA, lambda s: release_item(s, item, ANA))
    seen = []
    while (found := bench.claim(ANA)) is not None:
        seen.append(found)
        bench.decide(ANA, found)
    assert (len(seen), seen[-1]) == (3, item)


def test_what_was_skipped_does_not_come_again(bench: Bench) -> None:
    item = take(bench, ANA)
    assert bench.as_(ANA, lambda s: skip_item(s, item, ANA, ReasonCode.NEEDS_EXPERT)) is ReviewState.OPEN
    seen = []
    while (found := bench.claim(ANA)) is not None:
        seen.append(bench.shown(ANA, found))
        bench.decide(ANA, found)
    assert seen == list(bench.desk.analyses[:-1])


def test_a_blind_queue_keeps_its_known_analyses_from_who_may_be_given_them(desk: Desk) -> None:
    bench = make_bench(desk, is_blind=True)
    kept = {who: bench.as_(who, lambda s: is_kept(s, bench.known)) for who in (ANA, LEAD, "key_a", None)}
    assert kept == {ANA: True, LEAD: False, "key_a": False, None: False}
    item = take(bench, ANA)
    with pytest.raises(RequestRefused):
        bench.as_(ANA, lambda s: reveal_score(s, item, BEN, Disposition.INCONCLUSIVE))
    bench.as_(ANA, lambda s: reveal_score(s, item, ANA, Disposition.INCONCLUSIVE))
    assert not bench.as_(ANA, lambda s: is_kept(s, bench.known))
    assert bench.as_(BEN, lambda s: is_kept(s, bench.known))
    assert bench.as_(BEN, count_kept) == 3


def test_what_a_queue_without_blindness_has_shown_stays_open_to_be_decided(bench: Bench) -> None:
    item = take(bench, ANA)
    make_queue(bench.desk.database, bench.desk.tenant_id, name="blind", is_blind=True, known_share=0.1)
    assert not bench.as_(ANA, lambda s: is_kept(s, bench.known))
    assert bench.as_(ANA, lambda s: view_item(s, item).finding) is not None


def test_a_declared_analysis_leaves_the_queues_and_comes_back(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        assert fill_queue(session, load_queue(session, desk.queue_id)) == 3
    bench = make_bench(desk)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        assert count_items(session, [desk.queue_id])[desk.queue_id] == {ReviewState.OPEN: 2}
        take_back_known(session, bench.known, actor=LEAD)
        assert list_known(session) == []
        session.execute(update(type(load_queue(session, desk.queue_id))).values(fill_time=None))
        assert fill_queue(session, load_queue(session, desk.queue_id)) == 1
        acts = session.scalars(
            select(AuditEntry.action).where(AuditEntry.subject == bench.known).order_by(AuditEntry.sequence)
        ).all()
    assert list(acts) == ["known.declared", "known.taken_back"]


def test_something_is_known_once_and_of_a_result_that_is_there(bench: Bench) -> None:
    owner = bench.desk.tenant_id
    for analysis, reason in ((bench.known, Reason.STATE_CONFLICT), ("ana_none", Reason.NOT_FOUND)):
        with pytest.raises(RequestRefused) as refused:
            bench.as_(None, lambda s, a=analysis: declare_known(s, owner, a, FORGED, actor=LEAD))
        assert refused.value.reason is reason
    with pytest.raises(RequestRefused) as refused:
        bench.as_(None, lambda s: take_back_known(s, "ana_none", actor=LEAD))
    assert refused.value.reason is Reason.NOT_FOUND
