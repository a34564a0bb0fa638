"""What a reviewer is to judge without the score is kept from them, whichever way they ask for it."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from engine.policy import PRESETS
from fakesieve.database import Database
from fakesieve.filters.check import read_filter
from fakesieve.filters.order import read_order
from fakesieve.records.analysis_counts import CountBy, count_analyses
from fakesieve.records.analysis_lists import AnalysisQuery, count_up_to, find_line, list_analyses
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.blind import Looker, count_kept, find_looker, is_kept, keep_from_viewer
from fakesieve.records.model_comparisons import compare_models
from fakesieve.records.policy_sql import preview_policy
from fakesieve.reviews.again import ask_second_opinion
from fakesieve.reviews.claim import claim_item, claim_next, release_item
from fakesieve.reviews.decide import decide_item, reveal_score, skip_item
from fakesieve.reviews.entries import list_entries
from fakesieve.reviews.items import ItemFilter, list_items, view_item
from fakesieve.reviews.queues import change_queue, create_queue
from fakesieve.values.reviews import DecisionDraft, Disposition, QueueDraft, QueueRule, ReasonCode
from tests.api.callers import Caller, reason_of
from tests.api.results import SCORES, store_result
from tests.factories import MODEL, make_tenant

ANA, BEN, CLEO = "usr_ana", "usr_ben", "usr_cleo"
SURE = DecisionDraft(Disposition.CONFIRMED_AUTHENTIC, ReasonCode.NO_SIGN_FOUND)
LOOSE = replace(PRESETS["strict"], low=0.01, high=0.02, min_peak_frames=1)
NEWER = replace(MODEL, weights_sha256="cd" * 32)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Desk:
    """A tenant with a video in a blind queue, which two models have scored, and a video in no queue."""

    database: Database
    tenant_id: str
    queue_id: str
    item_id: str
    first: str
    second: str
    free: str

    def as_(self, viewer: str | None, work: Callable[[Session], Result]) -> Result:
        with self.database.transaction(tenant_id=self.tenant_id, viewer=viewer) as session:
            return work(session)

    def list_ids(self, viewer: str | None, wanted: str | None = None, order: str | None = None) -> set[str]:
        query = AnalysisQuery(self.tenant_id, read_filter(wanted), read_order(order))
        return {line.id for line in self.as_(viewer, lambda session: list_analyses(session, query))}

    def list_words(self, viewer: str | None) -> dict[str, object]:
        query = AnalysisQuery(self.tenant_id, with_words=True)
        lines = self.as_(viewer, lambda session: list_analyses(session, query))
        return {line.id: line.disposition for line in lines}


def make_desk(database: Database, tenant_id: str, score_min: float = 0.46) -> Desk:
    """Make one; by its lower score the second analysis is in the queue too."""
    with database.transaction(tenant_id=tenant_id) as session:
        first = store_result(session, tenant_id, "blind", SCORES["high"])
        second = store_result(session, tenant_id, "blind", SCORES["middle"], model=NEWER)
    with database.transaction(tenant_id=tenant_id) as session:
        draft = QueueDraft("blind", QueueRule(score_min=score_min), is_blind=True)
        queue_id = create_queue(session, tenant_id, draft, actor="usr_admin").id
        item_id = claim_next(session, queue_id, CLEO)
        assert item_id is not None
        chosen = view_item(session, item_id).analysis_id
        release_item(session, item_id, CLEO)
    with database.transaction(tenant_id=tenant_id) as session:
        free = store_result(session, tenant_id, "free", SCORES["middle"])
    other = second if chosen == first else first
    return Desk(database, tenant_id, queue_id, item_id, chosen, other, free)


@pytest.fixture
def desk(module_database: Database) -> Desk:
    return make_desk(module_database, make_tenant(module_database, f"tenant {uuid.uuid4().hex[:8]}"))


WAYS: dict[str, Callable[[Session, Desk], object]] = {
    "one line": lambda s, d: find_line(s, d.tenant_id, d.first),
    "one line of another analysis": lambda s, d: find_line(s, d.tenant_id, d.second),
    "a count of lines": lambda s, d: count_up_to(s, AnalysisQuery(d.tenant_id), 10) - 1 or None,
    "counts": lambda s, d: count_analyses(s, d.tenant_id, [CountBy.VERDICT]).total - 1 or None,
    "counts by reason": lambda s, d: count_analyses(s, d.tenant_id, [CountBy.REASON]).total - 1 or None,
    "counts by two lists": lambda s, d: (
        count_analyses(s, d.tenant_id, [CountBy.REASON, CountBy.VERDICT_REASON]).total - 1 or None
    ),
    "counts by what people say": lambda s, d: (
        count_analyses(s, d.tenant_id, [CountBy.DISPOSITION]).total - 1 or None
    ),
    "a preview": lambda s, d: preview_policy(s, d.tenant_id, PRESETS["strict"]).analysis_count - 1 or None,
    "its moved lines": lambda s, d: [
        each
        for each in preview_policy(s, d.tenant_id, LOOSE, moved_max=100).moved
        if each.analysis_id != d.free
    ],
    "what others said": lambda s, d: list_entries(s, analysis_id=d.first),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_leads_round_it(desk: Desk, way: str) -> None:
    desk.as_(CLEO, lambda session: claim_item(session, desk.item_id, CLEO))
    desk.as_(CLEO, lambda session: skip_item(session, desk.item_id, CLEO, ReasonCode.NEEDS_EXPERT))
    for viewer in (ANA, CLEO):
        assert not desk.as_(viewer, lambda session: WAYS[way](session, desk)), viewer
    assert desk.as_(None, lambda session: WAYS[way](session, desk))  # there is something to be kept


def test_neither_a_filter_nor_an_order_tells_anything(desk: Desk) -> None:
    for wanted in (None, "score>0.1", "NOT score>0.1", f'id="{desk.first}"', 'verdict="likely_manipulated"'):
        assert desk.list_ids(ANA, wanted) <= {desk.free}, wanted
    for order in ("score desc", "score", "create_time"):
        assert desk.list_ids(ANA, order=order) == {desk.free}
    assert desk.list_ids(None) == {desk.first, desk.second, desk.free}
    assert desk.as_(ANA, count_kept) == 2
    assert desk.as_(None, count_kept) == 0


def test_the_rule_for_a_kind_of_viewer_keeps_what_the_whole_rule_keeps(desk: Desk) -> None:
    def list_free(session: Session) -> set[str]:
        return {
            analysis_id
            for analysis_id in (desk.first, desk.second, desk.free)
            if session.scalar(
                select(Analysis.id).where(
                    Analysis.id == analysis_id, keep_from_viewer(Analysis.id, find_looker(session))
                )
            )
        }

    kinds = {viewer: desk.as_(viewer, find_looker) for viewer in (None, "key_a", ANA)}
    assert kinds == {None: Looker.NOBODY, "key_a": Looker.KEY, ANA: Looker.PERSON}
    desk.as_("key_a", lambda session: claim_item(session, desk.item_id, "key_a"))
    for viewer in (None, "key_a", "key_b", ANA):
        kept = {
            each
            for each in (desk.first, desk.second, desk.free)
            if desk.as_(viewer, partial(is_kept, analysis_id=each))
        }
        assert desk.as_(viewer, list_free) == {desk.first, desk.second, desk.free} - kept, viewer
    assert desk.as_("key_a", list_free) == {desk.free}


def test_models_are_not_compared_on_it(desk: Desk) -> None:
    lines = desk.as_(None, lambda session: list_analyses(session, AnalysisQuery(desk.tenant_id)))
    models = sorted({line.model_id for line in lines})

    def compare(session: Session) -> int:
        return compare_models(session, desk.tenant_id, models[0], models[1]).video_count

    assert desk.as_(None, compare) == 1
    assert desk.as_(ANA, compare) == 0


def test_a_word_opens_it_and_giving_it_back_does_not_close_it_again(desk: Desk) -> None:
    desk.as_(ANA, lambda session: claim_item(session, desk.item_id, ANA))
    assert desk.as_(ANA, lambda session: view_item(session, desk.item_id)).finding is None
    desk.as_(ANA, lambda session: reveal_score(session, desk.item_id, ANA, Disposition.CONFIRMED_AUTHENTIC))
    assert desk.list_ids(ANA) == {desk.first, desk.second, desk.free}
    assert desk.list_ids(BEN) == {desk.free}
    assert desk.as_(BEN, lambda session: view_item(session, desk.item_id)).finding is None
    desk.as_(ANA, lambda session: release_item(session, desk.item_id, ANA))
    assert desk.list_ids(ANA) == {desk.first, desk.second, desk.free}
    desk.as_(ANA, lambda session: claim_item(session, desk.item_id, ANA))
    assert desk.as_(ANA, lambda session: view_item(session, desk.item_id)).finding is not None
    desk.as_(ANA, lambda session: decide_item(session, desk.item_id, ANA, SURE))
    (newest, *_) = desk.as_(ANA, lambda session: list_entries(session, item_id=desk.item_id))
    assert not newest.is_blind  # the score was seen before


def test_a_decision_opens_it_to_all_but_to_who_is_to_give_the_second_opinion(desk: Desk) -> None:
    desk.as_(ANA, lambda session: claim_item(session, desk.item_id, ANA))
    desk.as_(ANA, lambda session: decide_item(session, desk.item_id, ANA, SURE))
    assert desk.list_ids(BEN) == {desk.first, desk.second, desk.free}
    child = desk.as_(ANA, lambda session: ask_second_opinion(session, desk.item_id, ANA))
    assert desk.list_ids(ANA) == {desk.first, desk.second, desk.free}
    assert desk.list_ids(BEN) == {desk.free}
    assert [desk.list_ids(who, "disposition:*") for who in (ANA, BEN)] == [{desk.first}, set()]
    assert desk.list_ids(BEN, "disposition != confirmed_authentic") == {desk.free}
    assert desk.list_words(BEN) == {desk.free: None}
    words = {desk.first: Disposition.CONFIRMED_AUTHENTIC, desk.second: None, desk.free: None}
    assert desk.list_words(ANA) == words
    assert desk.as_(BEN, lambda session: list_entries(session, analysis_id=desk.first)) == []
    views = desk.as_(BEN, lambda session: list_items(session, ItemFilter(analysis_id=desk.first)))
    assert {(view.finding, view.disposition) for view in views} == {(None, None)}
    desk.as_(BEN, lambda session: claim_item(session, child, BEN))
    desk.as_(BEN, lambda session: decide_item(session, child, BEN, SURE))
    (newest, *_) = desk.as_(BEN, lambda session: list_entries(session, item_id=child))
    assert newest.is_blind
    assert desk.list_ids(BEN) == {desk.first, desk.second, desk.free}


def test_a_word_about_one_analysis_is_one_about_the_video(module_database: Database) -> None:
    tenant_id = make_tenant(module_database, f"tenant {uuid.uuid4().hex[:8]}")
    desk = make_desk(module_database, tenant_id, score_min=0.1)
    desk.as_(ANA, lambda session: claim_item(session, desk.item_id, ANA))
    desk.as_(ANA, lambda session: reveal_score(session, desk.item_id, ANA, Disposition.CONFIRMED_AUTHENTIC))
    assert desk.list_ids(ANA) == {desk.first, desk.second, desk.free}
    assert desk.list_ids(BEN) == {desk.free}
    views = desk.as_(None, lambda session: list_items(session, ItemFilter(analysis_id=desk.second)))
    desk.as_(ANA, lambda session: claim_item(session, views[0].id, ANA))
    assert desk.as_(ANA, lambda session: view_item(session, views[0].id)).finding is not None


def test_nobody_gets_an_item_of_a_closed_queue_so_it_keeps_nothing(desk: Desk) -> None:
    desk.as_(None, lambda session: change_queue(session, desk.queue_id, is_active=False, actor="usr_admin"))
    assert desk.list_ids(ANA) == {desk.first, desk.second, desk.free}
    with pytest.raises(Exception, match="is closed"):
        desk.as_(ANA, lambda session: claim_item(session, desk.item_id, ANA))


def test_a_program_reads_everything_but_what_it_holds_this_moment(acme: Caller, module_database) -> None:
    desk = make_desk(module_database, acme.tenant_id)
    path = f"/v1/analyses/{desk.first}"
    assert acme.get(path).json()["score"]["raw"] is not None
    assert acme.post(f"/v1/reviews/{desk.item_id}:claim").json()["is_hidden"] is True
    for hidden in ("", "/tracks", "/segments", "/frames", "/tracks/0/maps"):
        assert reason_of(acme.get(f"{path}{hidden}")) == (409, "STATE_CONFLICT"), hidden
        other = f"/v1/analyses/{desk.second}{hidden}"
        assert reason_of(acme.get(other)) == (409, "STATE_CONFLICT"), hidden
    assert [line["id"] for line in acme.get("/v1/analyses").json()["data"]] == [desk.free]
    assert acme.get("/v1/analyses:count").json()["total"] == 1
    assert desk.first not in acme.get("/v1/analyses:export").text
    kinds = {line["kind"] for line in acme.get(f"{path}/artifacts").json()["data"]}
    assert "patch_maps" not in kinds
    said = acme.post(f"/v1/reviews/{desk.item_id}:reveal", {"disposition": "confirmed_authentic"})
    assert said.json()["is_hidden"] is False
    assert acme.get(path).status_code == 200
    assert not module_is_kept(desk, acme)


def module_is_kept(desk: Desk, caller: Caller) -> bool:
    return desk.as_(caller.key_id, lambda session: is_kept(session, desk.first))
