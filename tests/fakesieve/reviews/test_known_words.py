"""What is said of known items: where it must not arrive, and what it says of who has said it."""

import secrets
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from fakesieve.calibration.fits import load_samples
from fakesieve.filters.check import read_filter
from fakesieve.records.analysis_lists import AnalysisQuery, find_line, list_analyses
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.reviews import KnownAnalysis, ReviewDecision, ReviewItem
from fakesieve.records.videos import Video
from fakesieve.records.webhooks import Event
from fakesieve.reviews.accuracy import measure_reviewers
from fakesieve.reviews.again import appeal_decision
from fakesieve.reviews.agreement import list_pairs
from fakesieve.reviews.claim import claim_item, claim_next, release_item
from fakesieve.reviews.decide import decide_item, skip_item, undo_decision
from fakesieve.reviews.entries import give_feedback, list_entries, page_entries
from fakesieve.reviews.fill import fill_queue
from fakesieve.reviews.items import ItemFilter, find_dispositions, list_items
from fakesieve.reviews.known import declare_known, take_back_known
from fakesieve.reviews.narrow import count_bands
from fakesieve.reviews.notes import NoteDraft, add_note, list_notes
from fakesieve.reviews.queues import load_queue
from fakesieve.reviews.sightings import list_sightings, note_sighting
from fakesieve.values.reviews import (
    DecisionDraft,
    Disposition,
    FeedbackCategory,
    KnownDraft,
    ReasonCode,
    ReviewState,
    Truth,
)
from tests.fakesieve.reviews.bench import ANA, BEN, FAKE, LEAD, REAL, Bench, always, make_bench, never, take
from tests.fakesieve.reviews.conftest import Desk, make_queue

SPOKEN_OF = read_filter("disposition:*")


@pytest.fixture
def bench(desk: Desk) -> Bench:
    return make_bench(desk)


def test_a_decision_on_it_moves_nothing_that_others_see(bench: Bench) -> None:
    desk = bench.desk
    events = bench.as_(None, lambda s: s.scalar(select(func.count()).select_from(Event)))
    before = bench.counts(BEN)
    decision = bench.decide(ANA, take(bench, ANA))
    assert bench.as_(None, lambda s: s.scalar(select(func.count()).select_from(Event))) == events
    # It is a row of the log, which its reviewer alone is shown, and no file for programs holds it.
    kept = bench.as_(None, lambda s: s.get(ReviewDecision, decision))
    assert kept is not None
    assert (kept.reviewer, kept.disposition) == (ANA, Disposition.CONFIRMED_MANIPULATED)
    for who, seen in ((ANA, True), (BEN, False), (LEAD, False), (None, False)):
        told = {entry.id for entry in bench.as_(who, list_entries)}
        filed = {entry.id for entry in page_entries(desk.database, desk.tenant_id, who)}
        said = bench.as_(who, lambda s: find_dispositions(s, [bench.known]))
        listed = bench.as_(who, lambda s: list_analyses(s, AnalysisQuery(desk.tenant_id, SPOKEN_OF)))
        shown = bench.as_(who, lambda s: find_line(s, desk.tenant_id, bench.known, with_words=True))
        assert shown is not None
        assert shown.disposition == (Disposition.CONFIRMED_MANIPULATED if seen else None), who
        assert (decision in told, decision in filed, bench.known in said) == (seen, seen, seen), who
        assert [line.id for line in listed] == ([bench.known] if seen else []), who
    assert [*page_entries(desk.database, desk.tenant_id, ANA, real_only=True)] == []
    model = bench.as_(None, lambda s: s.scalar(select(Analysis.model_id).limit(1)))
    assert bench.as_(None, lambda s: load_samples(s, str(model))) == []
    assert {state: rows for state, rows in bench.counts(BEN).items() if state is not ReviewState.OPEN} == {
        state: rows for state, rows in before.items() if state is not ReviewState.OPEN
    }
    real = bench.decide(LEAD, str(bench.claim(LEAD)))
    assert bench.as_(None, lambda s: s.scalar(select(func.count()).select_from(Event))) == events + 1
    assert [each.id for each in page_entries(desk.database, desk.tenant_id, ANA, real_only=True)] == [real]
    assert len(bench.as_(None, lambda s: load_samples(s, str(model)))) == 1


def test_counts_of_open_work_are_those_of_real_items(bench: Bench) -> None:
    bench.as_(None, lambda s: fill_queue(s, load_queue(s, bench.queue_id)))
    assert bench.counts(None) == {ReviewState.OPEN: 2}
    item = take(bench, ANA)
    assert bench.counts(BEN) == bench.counts(None) == {ReviewState.OPEN: 2}
    # To its reviewer it was one of those that waited, as any other, until new matches move the number.
    assert bench.counts(ANA) == {ReviewState.OPEN: 1, ReviewState.CLAIMED: 1}
    bench.as_(ANA, lambda s: release_item(s, item, ANA))
    assert bench.counts(ANA) == {ReviewState.OPEN: 2}
    bench.as_(ANA, lambda s: claim_item(s, item, ANA))
    bench.decide(ANA, item)
    assert bench.counts(ANA) == {ReviewState.OPEN: 1, ReviewState.DECIDED: 1}
    newer = update(ReviewItem).where(ReviewItem.made_for.is_(None)).values(create_time=func.now())
    bench.as_(None, lambda s: s.execute(newer))
    assert bench.counts(ANA) == {ReviewState.OPEN: 2, ReviewState.DECIDED: 1}
    queue = bench.as_(None, lambda s: load_queue(s, bench.queue_id))
    assert sum(bench.as_(None, lambda s: count_bands(s, queue)).values()) == 2


@pytest.mark.usefixtures("long_undo")
def test_passing_it_on_moves_the_counts_as_for_any_item(bench: Bench) -> None:
    bench.as_(None, lambda s: fill_queue(s, load_queue(s, bench.queue_id)))
    passed_on = DecisionDraft(Disposition.ESCALATED, ReasonCode.NEEDS_EXPERT)
    known = take(bench, ANA)
    bench.as_(ANA, lambda s: decide_item(s, known, ANA, passed_on))
    assert bench.counts(ANA) == {ReviewState.OPEN: 2, ReviewState.DECIDED: 1}
    assert bench.counts(BEN) == {ReviewState.OPEN: 2}
    bench.as_(ANA, lambda s: undo_decision(s, known, ANA))
    assert bench.counts(ANA) == {ReviewState.OPEN: 1, ReviewState.CLAIMED: 1}


def test_work_that_waits_is_never_said_to_be_over(bench: Bench) -> None:
    bench.decide(ANA, take(bench, ANA))
    while sum(bench.counts(None).values()) - bench.counts(None).get(ReviewState.DECIDED, 0) > 0:
        assert bench.counts(ANA)[ReviewState.OPEN] == 1
        bench.decide(ANA, str(bench.claim(ANA)))
    assert bench.counts(ANA) == {ReviewState.OPEN: 0, ReviewState.DECIDED: 3}


def test_second_looks_at_it_are_offered_to_nobody(desk: Desk) -> None:
    bench = make_bench(desk, second_opinion_rate=1.0)
    item = take(bench, ANA)
    bench.decide(ANA, item)
    bench.as_(ANA, lambda s: appeal_decision(s, item, ANA, "look again"))
    mine = bench.as_(ANA, lambda s: list_items(s, ItemFilter(analysis_id=bench.known)))
    assert sorted(view.kind.value for view in mine) == ["appeal", "first", "second_opinion"]
    assert bench.as_(BEN, lambda s: list_items(s, ItemFilter(analysis_id=bench.known))) == []
    offered = bench.claim(BEN, never)
    assert offered is not None
    assert bench.shown(BEN, offered) == desk.analyses[0]
    assert bench.as_(None, list_pairs) == []


def test_of_what_others_did_with_it_the_reviewer_sees_nothing(desk: Desk) -> None:
    def look(session: Session) -> tuple[int, int, int, object]:
        ana = desk.analyses[0]
        shown = list_analyses(session, AnalysisQuery(desk.tenant_id, with_words=True))
        said = find_dispositions(session, [ana]).get(ana)
        assert [line.disposition for line in shown if line.id == ana] == [said]
        return (
            len(list_entries(session, analysis_id=ana)),
            len(list_notes(session, ana)),
            len(list_sightings(session, desk.tenant_id, ana)),
            said,
        )

    bench = make_bench(desk, known=desk.analyses[0])
    item = take(bench, ANA)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        give_feedback(session, desk.tenant_id, desk.analyses[0], "key_a", FeedbackCategory.CONFIRMATION)
        add_note(session, desk.analyses[0], BEN, NoteDraft(0, 0, "the mouth slides"))
        note_sighting(session, desk.tenant_id, desk.analyses[0], BEN, is_hidden=False)
    assert bench.as_(ANA, look) == (0, 0, 0, None)
    bench.decide(ANA, item, REAL)
    assert bench.as_(ANA, look) == (1, 0, 0, Disposition.CONFIRMED_AUTHENTIC)
    assert bench.as_(LEAD, look) == (1, 1, 1, None)
    assert [
        view.id for view in bench.as_(ANA, lambda s: list_items(s, ItemFilter(analysis_id=bench.known)))
    ] == [item]


def decide_first(session: Session, desk: Desk) -> None:
    decide_item(session, str(claim_next(session, desk.queue_id, BEN)), BEN, FAKE)


def hold_first(session: Session, desk: Desk) -> None:
    claim_next(session, desk.queue_id, BEN)


def judge_first(session: Session, desk: Desk) -> None:
    give_feedback(session, desk.tenant_id, desk.analyses[0], BEN, FeedbackCategory.CONFIRMATION)


def note_first(session: Session, desk: Desk) -> None:
    add_note(session, desk.analyses[0], BEN, NoteDraft(0, 0, "the mouth slides"))


@pytest.mark.parametrize("act", [decide_first, hold_first, judge_first, note_first])
def test_nothing_that_others_did_vanishes_when_an_item_is_given(
    desk: Desk, act: Callable[[Session, Desk], None]
) -> None:
    def look(session: Session) -> object:
        said = {
            line.id: line.disposition
            for line in list_analyses(session, AnalysisQuery(desk.tenant_id, with_words=True))
        }
        held = {view.id: view.state for view in list_items(session, ItemFilter(queue_id=desk.queue_id))}
        log = [entry.id for entry in list_entries(session)]
        return said, held, log, [note.id for each in desk.analyses for note in list_notes(session, each)]

    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        act(session, desk)
    bench = make_bench(desk, known=desk.analyses[0])
    before = bench.as_(ANA, look)
    item = bench.claim(ANA)
    assert item is not None
    assert bench.shown(ANA, item) != bench.known
    assert bench.as_(ANA, look) == before


def test_a_note_of_its_reviewer_takes_it_from_nobody_else(bench: Bench) -> None:
    take(bench, BEN)
    bench.as_(BEN, lambda s: add_note(s, bench.known, BEN, NoteDraft(0, 0, "the mouth slides")))
    take(bench, ANA)


@pytest.mark.usefixtures("long_undo")
def test_undone_and_taken_back_words_do_not_count(bench: Bench) -> None:
    item = take(bench, ANA)
    bench.decide(ANA, item, REAL)
    found = bench.as_(None, measure_reviewers)[ANA]
    assert (found.wrong, [miss.item_id for miss in found.misses]) == (1, [item])
    bench.as_(ANA, lambda s: undo_decision(s, item, ANA))
    assert ANA not in bench.as_(None, measure_reviewers)
    bench.decide(ANA, item, FAKE)
    assert bench.as_(None, measure_reviewers)[ANA].right == 1
    bench.as_(None, lambda s: take_back_known(s, bench.known, actor=LEAD))
    assert bench.as_(None, measure_reviewers) == {}


def test_a_deleted_video_is_named_by_no_miss(bench: Bench) -> None:
    bench.decide(ANA, take(bench, ANA), REAL)
    video = select(Analysis.video_id).where(Analysis.id == bench.known).scalar_subquery()
    gone = update(Video).where(Video.id == video).values(delete_time=func.now(), purge_time=func.now())
    bench.as_(None, lambda s: s.execute(gone))
    found = bench.as_(None, measure_reviewers)[ANA]
    assert (found.wrong, found.misses) == (1, ())


WORDS = st.sampled_from([*Disposition, None])


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.tuples(st.sampled_from([ANA, BEN]), WORDS), min_size=1, max_size=8))
def test_the_figure_counts_what_was_said_whoever_comes_when(
    desk: Desk, words: list[tuple[str, Disposition | None]]
) -> None:
    truths = (Truth.CONFIRMED_MANIPULATED, Truth.CONFIRMED_AUTHENTIC)
    queue_id = make_queue(desk.database, desk.tenant_id, name=secrets.token_hex(6), known_share=0.2)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        session.execute(delete(ReviewItem))  # one that was passed on takes the item behind it along
        for row in session.scalars(select(KnownAnalysis)).all():
            session.delete(row)
        session.flush()
        for analysis, truth in zip(desk.analyses[:2], truths, strict=True):
            declare_known(session, desk.tenant_id, analysis, KnownDraft(truth, "sure"), actor=LEAD)
    expected: dict[str, list[int]] = {}
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        for who, said in words:
            item = claim_next(session, queue_id, who, draw=always)
            row = None if item is None else session.get_one(ReviewItem, item)
            if row is None or row.made_for is None:
                if row is not None:
                    release_item(session, row.id, who)
                continue
            truth = session.get_one(KnownAnalysis, row.analysis_id).truth
            tally = expected.setdefault(who, [0] * 5)
            if said is None:
                skip_item(session, row.id, who, ReasonCode.NEEDS_EXPERT)
                tally[4] += 1
                continue
            decide_item(session, row.id, who, DecisionDraft(said, ReasonCode.NO_SIGN_FOUND))
            place = {Disposition.INCONCLUSIVE: 2, Disposition.ESCALATED: 3}
            tally[place.get(said, int(said.value != truth.value))] += 1
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        found = measure_reviewers(session)
    assert {
        who: [each.right, each.wrong, each.inconclusive, each.escalated, each.skipped]
        for who, each in found.items()
    } == expected
    assert all(len(each.misses) == each.wrong for each in found.values())
