"""A change of policy writes what it moves, and all that shows one shows that by which a verdict stands."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from engine.policy import PRESETS, Policy, decide
from engine.results import VerdictValue
from fakesieve.database import TENANT_VARIABLE, Database
from fakesieve.filters.check import EVERYTHING, Filter, read_filter
from fakesieve.records.analyses import judge_analysis, load_analysis, store_analysis
from fakesieve.records.analysis_counts import CountBy, count_analyses
from fakesieve.records.analysis_lists import AnalysisQuery, list_analyses
from fakesieve.records.analysis_tables import Analysis, Verdict
from fakesieve.records.judgements import load_judgement
from fakesieve.records.policies import Judge, activate_policy, begin_judging, ensure_policy
from fakesieve.records.policy_apply import ToJudge, find_to_judge, write_verdicts
from fakesieve.records.policy_sql import Moved, preview_policy
from fakesieve.records.rulings import rule
from fakesieve.records.standings import Standing
from fakesieve.records.videos import Video
from tests.factories import make_judged_tenant, make_record, make_tenant, make_video

STRICT, BALANCED = PRESETS["strict"], PRESETS["balanced"]
LOOSE = Policy("mine", 1, low=0.2, high=0.4, min_peak_frames=1)
SAME = replace(BALANCED, name="same")


@pytest.fixture
def tenant_id(database: Database) -> str:
    return make_judged_tenant(database)


def begin(session: Session, tenant_id: str, policy: Policy) -> Judge:
    """Begin a change that activates nothing."""
    return Judge(ensure_policy(session, policy), policy, begin_judging(session, tenant_id, actor="key_1"))


def change(
    session: Session, tenant_id: str, judge: Judge, wanted: Filter = EVERYTHING
) -> tuple[ToJudge, tuple[Moved, ...]]:
    """Do what a change does, in one transaction."""
    found = find_to_judge(session, tenant_id, judge, wanted)
    moved = write_verdicts(session, tenant_id, judge, found.ids)
    if wanted == EVERYTHING:
        rule(session, tenant_id, judge.policy_id, judge.use_id)
    return found, moved


def judge_again(session: Session, policy: Policy = BALANCED) -> None:
    """Judge all videos as if they had been submitted once more, to a host with this policy."""
    for analysis_id in session.scalars(select(Analysis.id)).all():
        judge_analysis(session, analysis_id, policy)


def show_policies(session: Session) -> list[str]:
    """Return by which policies the verdicts stand, as lists show them, in the order of analyses."""
    lines = list_analyses(session, AnalysisQuery(session.info[TENANT_VARIABLE]))
    return [line.policy for line in sorted(lines, key=lambda line: line.id)]


def test_applying_does_what_the_preview_said(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        announced = preview_policy(session, tenant_id, LOOSE)
        found, moved = change(session, tenant_id, begin(session, tenant_id, LOOSE))
        again = change(session, tenant_id, begin(session, tenant_id, LOOSE))
        assert preview_policy(session, tenant_id, LOOSE).moved_count == 0
    # Of the other two it says the same, and for the same reasons.
    assert (found.seen, found.ids) == (3, (announced.moved[0].analysis_id,))
    assert moved == announced.moved
    assert again == (ToJudge(3, ()), ())
    with database.transaction(tenant_id=tenant_id) as session:
        assert show_policies(session) == ["mine"] * 3
        for analysis_id in session.scalars(select(Analysis.id)).all():
            record = load_analysis(session, analysis_id)
            assert record is not None
            assert record.policy == LOOSE
            assert record.verdict == decide(record.score, LOOSE)  # the engine's, from the rows of all frames
        assert len(session.scalars(select(Verdict)).all()) == 4  # what balanced said stays


def test_what_is_to_be_written_is_found_piece_by_piece(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        judge = begin(
            session, tenant_id, replace(LOOSE, extrapolated=True)
        )  # gives all but one another reason
        whole = find_to_judge(session, tenant_id, judge)
        first = find_to_judge(session, tenant_id, judge, limit=1)
        rest = find_to_judge(session, tenant_id, judge, after_id=first.ids[-1])
    assert (whole.seen, len(whole.ids)) == (3, 2)
    assert first.ids + rest.ids == whole.ids


def test_an_applied_policy_holds_where_it_moves_nothing(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        assert change(session, tenant_id, begin(session, tenant_id, SAME)) == (ToJudge(3, ()), ())
    with database.transaction(tenant_id=tenant_id) as session:
        assert show_policies(session) == ["same"] * 3
        query = AnalysisQuery(tenant_id, read_filter("policy = same AND score > 0.95"))
        (kept,) = list_analyses(session, query)
        assert load_judgement(session, kept.id).policy.name == "same"
        counted = count_analyses(session, tenant_id, (CountBy.POLICY,))
        assert [(group.keys, group.count) for group in counted.groups] == [(("same@1",), 3)]


def test_a_filter_judges_only_what_fits_it(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        change(session, tenant_id, begin(session, tenant_id, STRICT))
        found, _ = change(
            session, tenant_id, begin(session, tenant_id, LOOSE), read_filter("outcome = scored")
        )
        assert sorted(show_policies(session)) == ["mine", "strict", "strict"]
        again, _ = change(session, tenant_id, begin(session, tenant_id, STRICT), read_filter("score >= 0"))
    assert (found.seen, len(found.ids)) == (1, 1)
    assert again.ids == found.ids  # the others stand by it, though it gave none of them but one


def test_what_a_part_was_judged_by_ends_with_the_next_change_of_all(
    database: Database, tenant_id: str
) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        change(session, tenant_id, begin(session, tenant_id, LOOSE), read_filter("outcome = scored"))
        change(session, tenant_id, begin(session, tenant_id, STRICT))
        assert show_policies(session) == ["strict"] * 3


def test_an_earlier_policy_comes_back(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        for policy in (BALANCED, STRICT, LOOSE, BALANCED):
            change(session, tenant_id, begin(session, tenant_id, policy))
            for analysis_id in session.scalars(select(Analysis.id)).all():
                record = load_analysis(session, analysis_id)
                assert record is not None
                assert (record.policy, record.verdict) == (policy, decide(record.score, policy))


def test_a_verdict_given_behind_a_change_is_not_ruled_by_it(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        judge = begin(session, tenant_id, LOOSE)  # which activates nothing
        later, _ = store_analysis(session, make_record(tenant_id, make_video(session, tenant_id, "later")))
        found, _ = change(session, tenant_id, judge)
        assert found.seen == 3
        assert show_policies(session) == ["mine", "mine", "mine", "balanced"]
        assert load_judgement(session, later).policy.name == "balanced"


def test_what_was_judged_since_it_was_found_is_left_as_it_is(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        judge = Judge(
            ensure_policy(session, LOOSE), LOOSE, activate_policy(session, tenant_id, STRICT, actor="key_1")
        )
        found = find_to_judge(session, tenant_id, judge)
        judge_again(session)  # by the tenant's choice
        assert write_verdicts(session, tenant_id, judge, found.ids) == ()
        assert show_policies(session) == ["strict"] * 3


def test_what_an_older_release_writes_stands_by_the_policy_that_it_names(
    database: Database, tenant_id: str
) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        change(session, tenant_id, begin(session, tenant_id, STRICT))
        made, changed, _ = session.scalars(select(Standing.analysis_id).order_by(Standing.analysis_id)).all()
        policy_id = ensure_policy(session, LOOSE)
        for analysis_id, said in (
            (made, {"use_id": None, "policy_id": policy_id}),
            (changed, {"policy_id": policy_id}),
        ):
            session.execute(update(Standing).where(Standing.analysis_id == analysis_id).values(said))
        assert show_policies(session) == ["mine", "mine", "strict"]
        change(session, tenant_id, begin(session, tenant_id, STRICT))
        assert show_policies(session) == ["strict"] * 3


@pytest.mark.parametrize("wanted", [None, "score >= 0"])
def test_the_same_video_again_takes_nothing_back_that_was_said_of_history(
    database: Database, tenant_id: str, wanted: str | None
) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        use_id = activate_policy(session, tenant_id, STRICT, actor="key_1")
        change(session, tenant_id, Judge(ensure_policy(session, STRICT), STRICT, use_id))
        change(session, tenant_id, begin(session, tenant_id, LOOSE), read_filter(wanted))
        said = show_policies(session)
        judge_again(session)
        assert show_policies(session) == said
        assert said.count("mine") == (3 if wanted is None else 2)
        for chosen in (replace(STRICT, name="newer"), STRICT):
            activate_policy(session, tenant_id, chosen, actor="key_1")
            judge_again(session)
            assert show_policies(session) == [chosen.name] * 3


def test_the_same_video_on_a_host_of_another_policy_takes_nothing_back_either(
    database: Database, tenant_id: str
) -> None:
    with database.transaction(tenant_id=tenant_id) as session:  # who has never chosen a policy
        judge_again(session, SAME)
        assert show_policies(session) == ["same"] * 3
        change(session, tenant_id, begin(session, tenant_id, LOOSE))
        judge_again(session, STRICT)
        assert show_policies(session) == ["mine"] * 3


def test_the_same_video_again_under_the_policy_in_force_writes_nothing(
    database: Database, tenant_id: str
) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        activate_policy(session, tenant_id, STRICT, actor="key_1")
        change(session, tenant_id, begin(session, tenant_id, STRICT))
        before = session.scalar(select(func.count()).select_from(Verdict))
        judge_again(session)
        assert session.scalar(select(func.count()).select_from(Verdict)) == before


def test_what_is_deleted_is_judged_and_told_to_nobody(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        moving = preview_policy(session, tenant_id, LOOSE).moved[0]
        video = session.get_one(Video, moving.video_id)
        video.delete_time = video.purge_time = datetime.now(UTC)
        session.flush()
        found, moved = change(session, tenant_id, begin(session, tenant_id, LOOSE))
        assert (found.seen, found.ids, moved) == (2, (moving.analysis_id,), ())
        video.delete_time = video.purge_time = None
        session.flush()
        assert load_judgement(session, moving.analysis_id).verdict.value is VerdictValue.LIKELY_MANIPULATED


def test_another_tenant_keeps_its_verdicts(database: Database, tenant_id: str) -> None:
    other = make_tenant(database, "other")
    with database.transaction(tenant_id=other) as session:
        store_analysis(session, make_record(other, make_video(session, other)))
    with database.transaction(tenant_id=None) as session:  # the fleet, which sees both
        change(session, tenant_id, begin(session, tenant_id, STRICT))
    with database.transaction(tenant_id=other) as session:
        assert show_policies(session) == ["balanced"]
