"""Whatever people do in whatever order, an item stands where the table of moves says."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from fakesieve.database import Database
from fakesieve.errors import RequestRefused
from fakesieve.records.audit import check_chain
from fakesieve.reviews.again import ask_second_opinion
from fakesieve.reviews.claim import claim_item, release_item
from fakesieve.reviews.decide import decide_item, reopen_item, skip_item, undo_decision
from fakesieve.reviews.entries import list_entries
from fakesieve.reviews.fill import fill_queue
from fakesieve.reviews.items import view_item
from fakesieve.reviews.queues import load_queue
from fakesieve.reviews.states import MOVES, Act, move
from fakesieve.values.reviews import DecisionDraft, Disposition, EntryKind, ReasonCode, ReviewState
from tests.factories import make_tenant
from tests.fakesieve.reviews.conftest import make_analyses, make_queue

PEOPLE = st.sampled_from(["usr_a", "usr_b", "usr_c", "usr_d"])
DRAFTS = st.sampled_from(
    [
        DecisionDraft(Disposition.INCONCLUSIVE, ReasonCode.QUALITY_TOO_LOW),
        DecisionDraft(Disposition.ESCALATED, ReasonCode.NEEDS_EXPERT),
    ]
)


@pytest.mark.parametrize("state", ReviewState)
@pytest.mark.parametrize("act", Act)
def test_a_move_is_in_the_table_or_refused(state: ReviewState, act: Act) -> None:
    if (state, act) in MOVES:
        assert move(state, act) is MOVES[state, act]
    else:
        with pytest.raises(RequestRefused, match="cannot be moved"):
            move(state, act)


def make_machine(database: Database, tenant_id: str, queue_id: str) -> type[RuleBasedStateMachine]:
    """Return people at one item, beside a model of it in memory."""

    class People(RuleBasedStateMachine):
        state = ReviewState.OPEN
        holder: str | None = None
        lapsed = False
        decided_by: str | None = None
        has_child = False
        skips: set[str]
        standing: list[str]

        @initialize()
        def begin(self) -> None:
            with database.transaction(tenant_id=tenant_id) as session:
                session.execute(text("DELETE FROM review_item"))
                session.execute(text("UPDATE review_queue SET fill_time = NULL"))
                fill_queue(session, load_queue(session, queue_id))
                self.item = str(session.scalar(text("SELECT id FROM review_item")))
            self.skips, self.standing = set(), []

        def do(self, act: object, *args: object) -> bool:
            """Do it, and say whether it was taken."""
            try:
                with database.transaction(tenant_id=tenant_id) as session:
                    act(session, self.item, *args)
            except RequestRefused:
                return False
            return True

        @rule(who=PEOPLE)
        def claim(self, who: str) -> None:
            may = self.state is ReviewState.OPEN or (
                self.state is ReviewState.CLAIMED and (self.holder == who or self.lapsed)
            )
            assert self.do(claim_item, who) is may
            if may:
                self.state, self.holder, self.lapsed = ReviewState.CLAIMED, who, False

        @rule()
        def lease_ends(self) -> None:
            with database.transaction(tenant_id=tenant_id) as session:
                session.execute(
                    text(
                        "UPDATE review_item SET claim_until = now() - interval '1 s' WHERE state = 'claimed'"
                    )
                )
            self.lapsed = self.state is ReviewState.CLAIMED

        @rule(who=PEOPLE)
        def release(self, who: str) -> None:
            may = self.state is ReviewState.CLAIMED and self.holder == who
            assert self.do(release_item, who) is may
            if may:
                self.state, self.holder, self.lapsed = ReviewState.OPEN, None, False

        @rule(who=PEOPLE, draft=DRAFTS)
        def decide(self, who: str, draft: DecisionDraft) -> None:
            may = self.state is ReviewState.CLAIMED and self.holder == who
            assert self.do(decide_item, who, draft) is may
            if may:
                self.state, self.holder, self.lapsed = ReviewState.DECIDED, None, False
                self.decided_by = who
                self.standing.append(who)
                self.has_child = draft.disposition is Disposition.ESCALATED

        @rule(who=PEOPLE)
        def skip(self, who: str) -> None:
            may = self.state is ReviewState.CLAIMED and self.holder == who
            assert self.do(skip_item, who, ReasonCode.NEEDS_EXPERT) is may
            if may:
                self.skips.add(who)
                self.state = ReviewState.SKIPPED if len(self.skips) >= 3 else ReviewState.OPEN
                self.holder, self.lapsed = None, False

        @rule(who=PEOPLE)
        def undo(self, who: str) -> None:
            may = self.state is ReviewState.DECIDED and self.decided_by == who
            assert self.do(undo_decision, who) is may
            if may:
                self.state, self.holder, self.lapsed, self.has_child = ReviewState.CLAIMED, who, False, False
                self.standing.pop()

        @rule(who=PEOPLE)
        def ask_again(self, who: str) -> None:
            may = self.state is ReviewState.DECIDED and not self.has_child
            assert self.do(ask_second_opinion, who) is may
            self.has_child |= may

        @rule(who=PEOPLE)
        def reopen(self, who: str) -> None:
            may = self.state is ReviewState.SKIPPED
            assert self.do(reopen_item, who) is may
            if may:
                self.state = ReviewState.OPEN

        @invariant()
        def stands_where_the_model_says(self) -> None:
            if not hasattr(self, "item"):
                return
            with database.transaction(tenant_id=tenant_id) as session:
                view = view_item(session, self.item)
                children = session.scalar(text("SELECT count(*) FROM review_item WHERE kind <> 'first'"))
                kept = list_entries(session, kinds=[EntryKind.DECISION], item_id=self.item)
            assert (view.state, view.claimed_by) == (self.state, self.holder)
            assert children == int(self.has_child)
            assert (view.decision_id is None) == (self.state is not ReviewState.DECIDED)
            assert [e.reviewer for e in kept if not e.is_undone] == self.standing[::-1]

    return People


@pytest.mark.usefixtures("long_undo")
def test_people_in_any_order(module_database: Database) -> None:
    tenant_id = make_tenant(module_database)
    make_analyses(module_database, tenant_id, (0.9,))
    queue_id = make_queue(module_database, tenant_id)
    machine = make_machine(module_database, tenant_id, queue_id)
    run_state_machine_as_test(machine, settings=settings(max_examples=8, stateful_step_count=15))
    with module_database.transaction(tenant_id=tenant_id) as session:
        assert check_chain(session, tenant_id).broken_at is None
