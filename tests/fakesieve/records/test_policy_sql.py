"""A policy over stored scores in SQL says what the engine's rule says, and changes what it announced."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from engine.policy import PRESETS, Policy, count_peak_frames, decide
from engine.results import Coverage, EvidenceReason, Outcome, VerdictValue, VideoScore
from fakesieve.database import Database
from fakesieve.filters.check import read_filter
from fakesieve.records.analyses import load_analysis, store_analysis
from fakesieve.records.analysis_rows import build_score_row
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.models import ensure_model
from fakesieve.records.policies import Judge, activate_policy, ensure_policy
from fakesieve.records.policy_sql import (
    decide_reasons,
    decide_value,
    preview_policy,
)
from fakesieve.records.standings import REPEATED, Standing, build_standing_row
from tests.factories import (
    MODEL,
    make_empty_score,
    make_judged_tenant,
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
    return make_judged_tenant(database)


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
