"""A policy over stored scores in SQL says what the engine's rule says, and changes what it announced."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from engine.policy import PRESETS, Policy, count_peak_frames, decide
from engine.results import Coverage, EvidenceReason, Outcome, VerdictValue, VideoScore
from fakesieve.database import TENANT_VARIABLE, Database
from fakesieve.filters.check import read_filter
from fakesieve.records.analyses import judge_analysis, load_analysis, store_analysis
from fakesieve.records.analysis_lists import AnalysisQuery, list_analyses
from fakesieve.records.analysis_rows import build_score_row
from fakesieve.records.analysis_tables import Analysis, Verdict
from fakesieve.records.judgements import load_judgement
from fakesieve.records.models import ensure_model
from fakesieve.records.policies import Judge, activate_policy, begin_judging, ensure_policy
from fakesieve.records.policy_sql import (
    apply_policy,
    decide_reasons,
    decide_value,
    preview_policy,
)
from fakesieve.records.standings import REPEATED, Standing, build_standing_row
from fakesieve.records.videos import Video
from tests.factories import (
    MODEL,
    make_empty_score,
    make_record,
    make_score,
    make_tenant,
    make_track,
    make_video,
)

STRICT, BALANCED = PRESETS["strict"], PRESETS["balanced"]
LOOSE = Policy("mine", 1, low=0.2, high=0.4, min_peak_frames=1)
HIGH, LOW = VerdictValue.LIKELY_MANIPULATED, VerdictValue.NO_MANIPULATION_FOUND


@st.composite
def _scores(draw: st.DrawFn, grid: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)) -> VideoScore:
    """Scores on and beside the thresholds of policies drawn from the same grid."""
    if draw(st.booleans()) and draw(st.booleans()):
        return make_empty_score(draw(st.sampled_from([o for o in Outcome if not o.has_score])))
    value = st.one_of(st.sampled_from(grid), st.floats(0, 1))
    frames = draw(st.lists(value, min_size=1, max_size=4))
    track = make_track(0, frames)
    track = replace(track, score=draw(st.sampled_from([*frames, sum(frames) / len(frames)])))
    total_us = draw(st.sampled_from([0, 1, 3, 10**6, 10**12]))
    coverage = Coverage(9, 4, 4, 4, len(frames), len(frames), (), draw(st.integers(0, total_us)), total_us)
    return replace(
        make_score(draw(value), tracks=(track,)),
        outcome=draw(st.sampled_from([Outcome.SCORED, Outcome.PARTIALLY_SCORED])),
        calibrated=draw(st.none() | value),
        interval=None,
        coverage=coverage,
        peak_track=draw(st.sampled_from([None, 0])),
        reasons=draw(st.sampled_from([(), (EvidenceReason.STATIC_IMAGE,)])),
    )


@st.composite
def _policies(draw: st.DrawFn) -> Policy:
    low, high = sorted(draw(st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.7, 1.0]), min_size=2, max_size=2)))
    share = draw(st.one_of(st.sampled_from([0.0, 1.0, 1 / 3]), st.floats(0, 1)))
    return Policy("p", 1, low, high, share, draw(st.integers(1, 4)), extrapolated=draw(st.booleans()))


@settings(max_examples=25)
@given(
    scores=st.lists(_scores(), min_size=4, max_size=12),
    policies=st.lists(_policies(), min_size=3, max_size=5),
)
def test_sql_and_the_rule_agree(
    module_database: Database, scores: list[VideoScore], policies: list[Policy]
) -> None:
    tenant_id = make_tenant(module_database)
    with module_database.transaction(tenant_id=tenant_id) as session:
        owner = {
            "tenant_id": tenant_id,
            "video_id": make_video(session, tenant_id),
            "engine": "e",
            "precision": "f32",
        }
        rows = [
            {**owner, "model_id": ensure_model(session, MODEL), "id": f"ana_{number:02}", "warnings": []}
            | {"pipeline_fingerprint": str(number), "timings_ms": {}, **build_score_row(score)}
            for number, score in enumerate(scores)
        ]  # fmt: skip
        session.execute(insert(Analysis), rows)
        balanced = Judge(ensure_policy(session, BALANCED), BALANCED, 0)
        for row, score in zip(rows, scores, strict=True):
            holds = {"tenant_id": tenant_id, "analysis_id": str(row["id"])}
            repeated = {name: row[name] for name in REPEATED}
            said = build_standing_row(score, decide(score, BALANCED), balanced)
            session.execute(insert(Standing).values(**holds, **repeated, **said))
        for policy in policies:
            found = session.execute(
                select(decide_value(policy), decide_reasons(policy))
                .join_from(Standing, Analysis, Analysis.id == Standing.analysis_id)
                .order_by(Analysis.id)
            ).all()
            wanted = [
                (verdict.value, list(verdict.reasons)) for verdict in (decide(s, policy) for s in scores)
            ]
            assert [tuple(row) for row in found] == wanted
        session.rollback()


@pytest.fixture
def tenant_id(database: Database) -> str:
    """A tenant with three analyses that ``balanced`` judged."""
    tenant_id = make_tenant(database)
    for number, score in enumerate((make_score(0.98), _whole(0.96), make_empty_score())):
        with database.transaction(tenant_id=tenant_id) as session:
            video_id = make_video(session, tenant_id, f"clip {number}")
            store_analysis(session, make_record(tenant_id, video_id, score=score))
    return tenant_id


def _whole(raw: float) -> VideoScore:
    """A score without a calibration, seen in all frames."""
    track = make_track(0, (raw, raw, raw))
    return replace(make_score(raw, tracks=(track,)), calibrated=None, outcome=Outcome.SCORED, interval=None)


def test_a_preview_counts_and_names_what_moves(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        preview = preview_policy(session, tenant_id, LOOSE)
        filtered = preview_policy(session, tenant_id, LOOSE, read_filter("outcome = scored"))
    middle = VerdictValue.INCONCLUSIVE
    assert set(preview.counts) == {(middle, HIGH, 1), (HIGH, HIGH, 1), (None, None, 1)}
    assert (preview.analysis_count, preview.moved_count) == (3, 1)
    assert (preview.count_before([HIGH]), preview.count_after([HIGH, middle])) == (1, 2)
    assert [(each.before, each.after, each.score) for each in preview.moved] == [(middle, HIGH, 0.49)]
    assert {bin_: count for bin_, count in enumerate(preview.histogram) if count} == {24: 1, 48: 1}
    assert (filtered.analysis_count, filtered.moved_count) == (1, 0)


def begin(session: Session, tenant_id: str, policy: Policy) -> Judge:
    """Begin a change that activates nothing."""
    return Judge(ensure_policy(session, policy), policy, begin_judging(session, tenant_id, actor="key_1"))


def show_policies(session: Session) -> list[str]:
    """Return by which policies the verdicts stand, as lists show them, in the order of analyses."""
    lines = list_analyses(session, AnalysisQuery(session.info[TENANT_VARIABLE]))
    return [line.policy for line in sorted(lines, key=lambda line: line.id)]


def test_applying_does_what_the_preview_said(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        announced = preview_policy(session, tenant_id, LOOSE)
        change = begin(session, tenant_id, LOOSE)
        first = apply_policy(session, tenant_id, change, limit=1)
        rest = apply_policy(session, tenant_id, change, after_id=first.last_id or "", limit=1)
        again = apply_policy(session, tenant_id, begin(session, tenant_id, LOOSE))
        assert preview_policy(session, tenant_id, LOOSE).moved_count == 0
    # Of the other two it says the same, and for the same reasons.
    assert (first.written, rest.written, again.written) == (1, 0, 0)
    assert first.last_id == announced.moved[0].analysis_id
    assert (rest.last_id, again.last_id) == (None, None)
    assert {*first.moved, *rest.moved} == set(announced.moved)
    with database.transaction(tenant_id=tenant_id) as session:
        assert show_policies(session) == ["mine"] * 3
        for analysis_id in session.scalars(select(Analysis.id)).all():
            record = load_analysis(session, analysis_id)
            assert record is not None
            assert record.policy == LOOSE
            assert record.verdict == decide(record.score, LOOSE)  # the engine's, from the rows of all frames
        assert len(session.scalars(select(Verdict)).all()) == 4  # what balanced said stays


def test_an_applied_policy_holds_where_it_moves_nothing(database: Database, tenant_id: str) -> None:
    same = replace(BALANCED, name="same")
    with database.transaction(tenant_id=tenant_id) as session:
        applied = apply_policy(session, tenant_id, begin(session, tenant_id, same))
    assert (applied.written, applied.moved, applied.last_id) == (0, (), None)
    with database.transaction(tenant_id=tenant_id) as session:
        assert show_policies(session) == ["same"] * 3
        (kept,) = list_analyses(
            session, AnalysisQuery(tenant_id, read_filter("policy = same AND score > 0.95"))
        )
        assert load_judgement(session, kept.id).policy.name == "same"


def test_a_filter_judges_only_what_fits_it(database: Database, tenant_id: str) -> None:
    part = read_filter("outcome = scored")
    with database.transaction(tenant_id=tenant_id) as session:
        apply_policy(session, tenant_id, begin(session, tenant_id, STRICT))
        applied = apply_policy(session, tenant_id, begin(session, tenant_id, LOOSE), part)
        assert sorted(show_policies(session)) == ["mine", "strict", "strict"]
    assert applied.written == 1


def test_what_a_part_was_judged_by_ends_with_the_next_change_of_all(
    database: Database, tenant_id: str
) -> None:
    part = read_filter("outcome = scored")
    with database.transaction(tenant_id=tenant_id) as session:
        apply_policy(session, tenant_id, begin(session, tenant_id, LOOSE), part)
        apply_policy(session, tenant_id, begin(session, tenant_id, STRICT))
        assert show_policies(session) == ["strict"] * 3


def test_an_earlier_policy_comes_back(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        for policy in (BALANCED, STRICT, LOOSE, BALANCED):
            apply_policy(session, tenant_id, begin(session, tenant_id, policy))
            for analysis_id in session.scalars(select(Analysis.id)).all():
                record = load_analysis(session, analysis_id)
                assert record is not None
                assert (record.policy, record.verdict) == (policy, decide(record.score, policy))


def test_a_verdict_given_behind_a_change_is_not_ruled_by_it(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        change = begin(session, tenant_id, LOOSE)  # which activates nothing
        later, _ = store_analysis(session, make_record(tenant_id, make_video(session, tenant_id, "later")))
        assert apply_policy(session, tenant_id, change).seen == 3
        assert show_policies(session) == ["mine", "mine", "mine", "balanced"]
        assert load_judgement(session, later).policy.name == "balanced"


def test_what_an_older_release_writes_stands_by_the_policy_that_it_names(
    database: Database, tenant_id: str
) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        apply_policy(session, tenant_id, begin(session, tenant_id, STRICT))
        made, changed, _ = session.scalars(select(Standing.analysis_id).order_by(Standing.analysis_id)).all()
        policy_id = ensure_policy(session, LOOSE)
        for analysis_id, said in (
            (made, {"use_id": None, "policy_id": policy_id}),
            (changed, {"policy_id": policy_id}),
        ):
            session.execute(update(Standing).where(Standing.analysis_id == analysis_id).values(said))
        assert show_policies(session) == ["mine", "mine", "strict"]
        apply_policy(session, tenant_id, begin(session, tenant_id, STRICT))
        assert show_policies(session) == ["strict"] * 3


@pytest.mark.parametrize("wanted", [None, "score >= 0"])
def test_the_same_video_again_takes_nothing_back_that_was_said_of_history(
    database: Database, tenant_id: str, wanted: str | None
) -> None:
    def judge_again(session: Session) -> None:
        for analysis_id in session.scalars(select(Analysis.id)).all():
            judge_analysis(session, analysis_id, BALANCED)

    with database.transaction(tenant_id=tenant_id) as session:
        use_id = activate_policy(session, tenant_id, STRICT, actor="key_1")
        apply_policy(session, tenant_id, Judge(ensure_policy(session, STRICT), STRICT, use_id))
        apply_policy(session, tenant_id, begin(session, tenant_id, LOOSE), read_filter(wanted))
        said = show_policies(session)
        judge_again(session)
        assert show_policies(session) == said
        assert said.count("mine") == (3 if wanted is None else 2)
        activate_policy(session, tenant_id, replace(STRICT, name="newer"), actor="key_1")
        judge_again(session)
        assert show_policies(session) == ["newer"] * 3


def test_what_is_deleted_is_judged_and_told_to_nobody(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        moving = preview_policy(session, tenant_id, LOOSE).moved[0]
        video = session.get_one(Video, moving.video_id)
        video.delete_time = video.purge_time = datetime.now(UTC)
        session.flush()
        applied = apply_policy(session, tenant_id, begin(session, tenant_id, LOOSE))
        assert (applied.seen, applied.written, applied.moved) == (2, 1, ())
        video.delete_time = video.purge_time = None
        session.flush()
        assert load_judgement(session, moving.analysis_id).verdict.value is moving.after


def test_the_same_video_again_under_the_policy_in_force_writes_nothing(
    database: Database, tenant_id: str
) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        activate_policy(session, tenant_id, STRICT, actor="key_1")
        apply_policy(session, tenant_id, begin(session, tenant_id, STRICT))
        before = session.scalar(select(func.count()).select_from(Verdict))
        for analysis_id in session.scalars(select(Analysis.id)).all():
            judge_analysis(session, analysis_id, BALANCED)
        assert session.scalar(select(func.count()).select_from(Verdict)) == before


def test_another_tenant_keeps_its_verdicts(database: Database, tenant_id: str) -> None:
    other = make_tenant(database, "other")
    with database.transaction(tenant_id=other) as session:
        store_analysis(session, make_record(other, make_video(session, other)))
    with database.transaction(tenant_id=tenant_id) as session:
        apply_policy(session, tenant_id, begin(session, tenant_id, STRICT))
    with database.transaction(tenant_id=other) as session:
        assert show_policies(session) == ["balanced"]


def test_new_analyses_are_judged_by_the_active_policy(database: Database, tenant_id: str) -> None:
    def store(label: str) -> str:
        with database.transaction(tenant_id=tenant_id) as session:
            record = make_record(tenant_id, make_video(session, tenant_id, label))
            analysis_id, _ = store_analysis(session, record)
            found = load_analysis(session, analysis_id)
            assert found is not None
            return found.policy.name

    assert store("before") == "balanced"
    with database.transaction(tenant_id=tenant_id) as session:
        activate_policy(session, tenant_id, STRICT, actor="key_1")
    assert (store("after"), store("before")) == ("strict", "strict")
    with database.transaction(tenant_id=tenant_id) as session:
        activate_policy(session, tenant_id, None, actor="key_1")
    assert store("much later") == "balanced"


def test_frames_that_carry_a_score_are_counted() -> None:
    track = replace(make_track(0, (0.2, 0.9, 0.9)), score=0.9)
    assert count_peak_frames(make_score(tracks=(track,))) == 2
    assert count_peak_frames(make_score(tracks=(make_track(0, (0.9,)),))) is None
    assert count_peak_frames(make_empty_score()) is None
