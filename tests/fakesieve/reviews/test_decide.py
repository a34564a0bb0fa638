"""What people say is kept for good, announced once it stands, and can be taken back for ten seconds."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.records.audit import AuditSearch, ChainCheck, check_chain, list_audit, record_audit
from fakesieve.reviews.again import appeal_decision, ask_second_opinion
from fakesieve.reviews.claim import claim_next
from fakesieve.reviews.decide import decide_item, reopen_item, reveal_score, skip_item, undo_decision
from fakesieve.reviews.entries import give_feedback, list_entries
from fakesieve.reviews.items import ItemFilter, find_dispositions, list_items, view_item
from fakesieve.reviews.queues import change_queue
from fakesieve.values.reviews import (
    DecisionDraft,
    Disposition,
    EntryKind,
    FeedbackCategory,
    ReasonCode,
    ReviewKind,
    ReviewState,
    TrackDraft,
)
from tests.databases import opened
from tests.factories import make_tenant
from tests.fakesieve.reviews.conftest import Desk, make_queue

FORGED = DecisionDraft(
    Disposition.CONFIRMED_MANIPULATED,
    ReasonCode.VISIBLE_ARTEFACTS,
    comment="the mouth slides",
    policy_ref="rules 4.2",
    tracks=(TrackDraft(0, Disposition.CONFIRMED_MANIPULATED, ReasonCode.VISIBLE_ARTEFACTS),),
)
REAL = DecisionDraft(Disposition.CONFIRMED_AUTHENTIC, ReasonCode.SOURCE_VERIFIED)


def claim(session: Session, desk: Desk, reviewer: str = "usr_a", queue_id: str | None = None) -> str:
    item = claim_next(session, queue_id or desk.queue_id, reviewer)
    assert item is not None
    return item


def waiting_events(session: Session) -> list[tuple[str, float]]:
    rows = session.execute(text("SELECT type, extract(epoch FROM due_time - now()) FROM event"))
    return [(row[0], round(float(row[1]))) for row in rows]


def test_a_decision_says_all_that_it_was_given(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim(session, desk)
        decision_id = decide_item(session, item, "usr_a", FORGED)
        view = view_item(session, item)
        (entry,) = list_entries(session)
    assert (view.state, view.disposition, view.decided_by, view.decision_id) == (
        ReviewState.DECIDED,
        Disposition.CONFIRMED_MANIPULATED,
        "usr_a",
        decision_id,
    )
    assert (entry.kind, entry.reason_code, entry.comment, entry.policy_ref) == (
        EntryKind.DECISION,
        ReasonCode.VISIBLE_ARTEFACTS,
        "the mouth slides",
        "rules 4.2",
    )
    assert entry.tracks == FORGED.tracks
    assert entry.seconds_spent is not None
    assert not entry.is_undone


def test_seconds_are_counted_from_the_claim_by_the_database(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim(session, desk)
        session.execute(
            text("UPDATE review_item SET claim_time = now() - interval '42 s' WHERE state = 'claimed'")
        )
        session.expire_all()
        decide_item(session, item, "usr_a", REAL)
        assert list_entries(session)[0].seconds_spent == pytest.approx(42, abs=1)


def test_a_decision_is_announced_when_it_stands(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim(session, desk)
        decide_item(session, item, "usr_a", REAL)
        assert waiting_events(session) == [("review.decided", 10)]
        undo_decision(session, item, "usr_a")
        assert waiting_events(session) == []


def test_a_decision_taken_back_stays_in_the_list(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim(session, desk)
        decide_item(session, item, "usr_a", REAL)
        undo_decision(session, item, "usr_a")
        assert view_item(session, item).claimed_by == "usr_a"
        decide_item(session, item, "usr_a", FORGED)
        entries = [(entry.kind, entry.disposition, entry.is_undone) for entry in list_entries(session)]
    assert sorted(entries, key=str) == sorted(
        [
            (EntryKind.DECISION, Disposition.CONFIRMED_MANIPULATED, False),
            (EntryKind.UNDO, None, False),
            (EntryKind.DECISION, Disposition.CONFIRMED_AUTHENTIC, True),
        ],
        key=str,
    )


@pytest.mark.parametrize(("seconds", "reviewer"), [(11, "usr_a"), (0, "usr_b")])
def test_nobody_takes_back_late_or_for_another(desk: Desk, seconds: int, reviewer: str) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim(session, desk)
        decide_item(session, item, "usr_a", REAL)
        session.execute(
            text(
                "UPDATE review_item SET decide_time = decide_time - make_interval(secs => :s)"
                " WHERE state = 'decided'"
            ),
            {"s": seconds},
        )
        session.expire_all()
        with pytest.raises(RequestRefused, match="10 seconds"):
            undo_decision(session, item, reviewer)


def test_what_somebody_else_looks_at_already_is_not_taken_back(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim(session, desk)
        decide_item(session, item, "usr_a", REAL)
        second = ask_second_opinion(session, item, "usr_a")
        assert claim(session, desk, "usr_b") == second
        with pytest.raises(RequestRefused, match="second time"):
            undo_decision(session, item, "usr_a")


def test_a_second_opinion_that_nobody_began_goes_with_the_decision(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim(session, desk)
        decide_item(session, item, "usr_a", REAL)
        second = ask_second_opinion(session, item, "usr_a")
        undo_decision(session, item, "usr_a")
        with pytest.raises(RequestRefused, match="no review"):
            view_item(session, second)


def test_a_blind_item_shows_its_score_after_a_first_word(desk: Desk) -> None:
    queue_id = make_queue(desk.database, desk.tenant_id, name="blind", is_blind=True)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim(session, desk, queue_id=queue_id)
        assert view_item(session, item).finding is None
        reveal_score(session, item, "usr_a", Disposition.CONFIRMED_AUTHENTIC)
        finding = view_item(session, item).finding
        assert finding is not None
        assert finding.score == 0.45
        with pytest.raises(RequestRefused, match="hides no score"):
            reveal_score(session, item, "usr_a", Disposition.INCONCLUSIVE)
        decide_item(session, item, "usr_a", FORGED)
        said = {entry.kind: (entry.disposition, entry.is_blind) for entry in list_entries(session)}
    assert said == {
        EntryKind.BLIND: (Disposition.CONFIRMED_AUTHENTIC, True),
        EntryKind.DECISION: (Disposition.CONFIRMED_MANIPULATED, False),
    }


def test_a_blind_item_may_be_decided_without_ever_seeing_the_score(desk: Desk) -> None:
    queue_id = make_queue(desk.database, desk.tenant_id, name="blind", is_blind=True)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim(session, desk, queue_id=queue_id)
        decide_item(session, item, "usr_a", REAL)
        assert list_entries(session)[0].is_blind
        assert view_item(session, item).finding is not None


def test_a_score_is_hidden_again_from_the_next_person(desk: Desk) -> None:
    queue_id = make_queue(desk.database, desk.tenant_id, name="blind", is_blind=True)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim(session, desk, queue_id=queue_id)
        reveal_score(session, item, "usr_a", Disposition.INCONCLUSIVE)
        skip_item(session, item, "usr_a", ReasonCode.NEEDS_EXPERT)
        assert claim(session, desk, "usr_b", queue_id) == item
        assert view_item(session, item).finding is None


def test_what_three_people_passed_over_waits_for_somebody_to_reopen_it(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim(session, desk)
        for reviewer in ("usr_a", "usr_b", "usr_c"):
            assert claim(session, desk, reviewer) == item
            state = skip_item(session, item, reviewer, ReasonCode.QUALITY_TOO_LOW)
        assert state is ReviewState.SKIPPED
        assert claim(session, desk, "usr_d") != item
        reopen_item(session, item, "usr_boss")
        assert claim(session, desk, "usr_e") == item


def test_nothing_is_offered_again_in_a_closed_queue(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim(session, desk)
        for reviewer in ("usr_a", "usr_b", "usr_c"):
            claim(session, desk, reviewer)
            skip_item(session, item, reviewer, ReasonCode.QUALITY_TOO_LOW)
        change_queue(session, desk.queue_id, is_active=False, actor="usr_boss")
        with pytest.raises(RequestRefused, match="is closed") as refused:
            reopen_item(session, item, "usr_boss")
        assert refused.value.reason is Reason.STATE_CONFLICT
        change_queue(session, desk.queue_id, is_active=True, actor="usr_boss")
        reopen_item(session, item, "usr_boss")
        assert claim(session, desk, "usr_e") == item


def test_an_appeal_carries_its_statement_and_the_last_word_counts(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim(session, desk)
        decide_item(session, item, "usr_a", FORGED)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        appeal = appeal_decision(session, item, "key_author", "this is my own face")
        with pytest.raises(RequestRefused, match="already"):
            appeal_decision(session, item, "key_author", "again")
        assert claim(session, desk, "usr_b") == appeal
        view = view_item(session, appeal)
        assert (view.kind, view.statement) == (ReviewKind.APPEAL, "this is my own face")
        decide_item(session, appeal, "usr_b", REAL)
        said = find_dispositions(session, desk.analyses)
    assert said == {desk.analyses[0]: Disposition.CONFIRMED_AUTHENTIC}


def test_a_queue_asks_for_as_many_second_opinions_as_it_wants(desk: Desk) -> None:
    queue_id = make_queue(desk.database, desk.tenant_id, name="careful", second_opinion_rate=1.0)
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        decide_item(session, claim(session, desk, queue_id=queue_id), "usr_a", REAL)
        children = list_items(session, ItemFilter(queue_id=queue_id, kind=ReviewKind.SECOND_OPINION))
    assert [child.is_blind for child in children] == [True]


def test_a_face_that_is_not_there_is_not_judged(desk: Desk) -> None:
    draft = DecisionDraft(
        Disposition.INCONCLUSIVE,
        ReasonCode.QUALITY_TOO_LOW,
        tracks=(TrackDraft(7, Disposition.INCONCLUSIVE, ReasonCode.QUALITY_TOO_LOW),),
    )
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim(session, desk)
        with pytest.raises(RequestRefused, match="no face number 7"):
            decide_item(session, item, "usr_a", draft)


@pytest.mark.parametrize(
    "values",
    [
        {"reason_code": ReasonCode.OTHER},
        {"comment": ""},
        {"comment": "x" * 4001},
        {"comment": "\0"},
        {"policy_ref": ""},
        {"tracks": (FORGED.tracks[0], FORGED.tracks[0])},
    ],
)
def test_a_decision_that_says_too_little_or_too_much_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"comment|policy_ref|twice"):
        DecisionDraft(
            **{"disposition": Disposition.ESCALATED, "reason_code": ReasonCode.NEEDS_EXPERT, **values}
        )


def test_feedback_lies_in_the_same_list(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        give_feedback(
            session, desk.tenant_id, desk.analyses[0], "key_x", FeedbackCategory.FALSE_POSITIVE, "no"
        )
        decide_item(session, claim(session, desk), "usr_a", REAL)
        kinds = {entry.kind for entry in list_entries(session)}
        (feedback,) = list_entries(session, kinds=[EntryKind.FEEDBACK])
    assert kinds == {EntryKind.FEEDBACK, EntryKind.DECISION}
    assert (feedback.category, feedback.comment) == (FeedbackCategory.FALSE_POSITIVE, "no")


def test_feedback_on_nothing_is_refused(desk: Desk) -> None:
    with (
        desk.database.transaction(tenant_id=desk.tenant_id) as session,
        pytest.raises(RequestRefused, match="no analysis"),
    ):
        give_feedback(session, desk.tenant_id, "ana_x", "key_x", FeedbackCategory.OTHER)


CHANGES = [
    "UPDATE review_decision SET comment = 'never said'",
    "DELETE FROM review_decision",
    "UPDATE review_track SET ordinal = 1",
    "UPDATE audit_log SET actor = 'usr_b'",
    "DELETE FROM audit_log",
    "TRUNCATE audit_log",
]


@pytest.mark.parametrize("role", ["fakesieve_fleet", "fakesieve_app"])
@pytest.mark.parametrize("change", CHANGES)
def test_nobody_has_the_right_to_change_what_was_said(
    module_database_name: str, postgres: object, role: str, change: str
) -> None:
    with (
        opened(postgres, module_database_name, role) as database,
        pytest.raises(DBAPIError, match="permission denied"),
        database.transaction(tenant_id="ten_x") as session,
    ):
        session.execute(text(change))


@pytest.mark.parametrize("change", [CHANGES[0], *CHANGES[2:]])
def test_even_the_owner_of_the_tables_is_refused(module_database_as_owner: object, change: str) -> None:
    with (
        pytest.raises(DBAPIError, match="append-only"),
        module_database_as_owner.transaction(tenant_id=None) as session,
    ):
        session.execute(text(change))


def test_every_act_is_in_the_audit_log_in_order(desk: Desk) -> None:
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        item = claim(session, desk)
        decide_item(session, item, "usr_a", FORGED)
        undo_decision(session, item, "usr_a")
        skip_item(session, item, "usr_a", ReasonCode.OTHER, "not mine")
        lines = list_audit(session, AuditSearch(item))
    assert [line.action for line in lines] == [
        "review.skipped",
        "review.undone",
        "review.decided",
        "review.claimed",
    ]
    assert {line.actor for line in lines} == {"usr_a"}
    assert "the mouth slides" not in str(lines)


def test_the_chain_shows_an_entry_that_was_changed(
    desk: Desk, postgres: object, module_database_name: str
) -> None:
    for number in range(4):
        with desk.database.transaction(tenant_id=desk.tenant_id) as session:
            record_audit(
                session, tenant_id=desk.tenant_id, actor="usr_a", action="key.made", subject=f"key_{number}"
            )
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        whole = check_chain(session, desk.tenant_id)
        assert whole.head_sha256 == list_audit(session)[0].sha256
    assert (whole.entries, whole.broken_at) == (5, None)  # the first is the making of the queue
    with postgres.connect(module_database_name) as superuser:
        superuser.execute("ALTER TABLE audit_log DISABLE TRIGGER ALL")
        superuser.execute(
            "UPDATE audit_log SET actor = 'usr_b' WHERE sequence = 3 AND tenant_id = %s", (desk.tenant_id,)
        )
        superuser.execute("ALTER TABLE audit_log ENABLE TRIGGER ALL")
    with desk.database.transaction(tenant_id=desk.tenant_id) as session:
        assert check_chain(session, desk.tenant_id).broken_at == 3


def test_the_chain_is_checked_piece_by_piece(desk: Desk, postgres: object, module_database_name: str) -> None:
    def check(after: int) -> ChainCheck:
        with desk.database.transaction(tenant_id=desk.tenant_id) as session:
            return check_chain(session, desk.tenant_id, after=after, limit=2)

    for number in range(4):
        with desk.database.transaction(tenant_id=desk.tenant_id) as session:
            record_audit(
                session, tenant_id=desk.tenant_id, actor="usr_a", action="key.made", subject=f"key_{number}"
            )
    pieces = [check(after) for after in (0, 2, 4)]  # the first entry is the making of the queue
    assert [(piece.entries, piece.broken_at, piece.next_after) for piece in pieces] == [
        (2, None, 2),
        (2, None, 4),
        (1, None, None),
    ]
    assert [piece.after_sha256 for piece in pieces] == [None, *(piece.head_sha256 for piece in pieces[:2])]
    with postgres.connect(module_database_name) as superuser:
        superuser.execute("ALTER TABLE audit_log DISABLE TRIGGER ALL")
        superuser.execute(
            "DELETE FROM audit_log WHERE sequence IN (2, 3) AND tenant_id = %s", (desk.tenant_id,)
        )
        superuser.execute("ALTER TABLE audit_log ENABLE TRIGGER ALL")
    # What was taken out shows at what came after it, in whichever piece.
    assert [check(after).broken_at for after in (0, 2)] == [None, 4]


def test_each_tenant_has_a_chain_of_its_own(desk: Desk) -> None:
    other = make_tenant(desk.database, "other one")
    for tenant_id in (desk.tenant_id, other, desk.tenant_id):
        with desk.database.transaction(tenant_id=tenant_id) as session:
            record_audit(session, tenant_id=tenant_id, actor="a", action="a.b", subject="c")
    with desk.database.transaction(tenant_id=other) as session:
        assert [line.sequence for line in list_audit(session)] == [1]
        assert check_chain(session, other).broken_at is None
