"""The row that lists walk: it repeats the analysis, and foretells what filters ask of faces and spans."""

from dataclasses import replace

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from engine.policy import PRESETS, decide
from engine.results import FaceRegion, SegmentKind
from fakesieve.database import Database
from fakesieve.filters.check import read_filter
from fakesieve.records.analyses import store_analysis
from fakesieve.records.analysis_lists import AnalysisQuery, list_analyses
from fakesieve.records.analysis_tables import Analysis, FrameScore
from fakesieve.records.filter_sql import compile_filter
from fakesieve.records.policies import Judge, ensure_policy
from fakesieve.records.standings import REPEATED, Standing, build_standing_row, set_standing
from tests.factories import make_empty_score, make_record, make_score, make_tenant, make_track, make_video

JUDGE = Judge("pol", PRESETS["balanced"], 0)


@pytest.fixture
def stored(database: Database) -> tuple[str, str]:
    """A tenant and the id of its one analysis."""
    tenant_id = make_tenant(database)
    with database.transaction(tenant_id=tenant_id) as session:
        record = make_record(tenant_id, make_video(session, tenant_id))
        return tenant_id, store_analysis(session, record)[0]


def test_a_row_repeats_its_analysis(database: Database, stored: tuple[str, str]) -> None:
    with database.transaction(tenant_id=stored[0]) as session:
        analysis, row = session.get_one(Analysis, stored[1]), session.get_one(Standing, stored[1])
        assert {name: getattr(row, name) for name in REPEATED} == {
            name: getattr(analysis, name) for name in REPEATED
        }


def test_a_row_tells_of_faces_and_spans() -> None:
    other = replace(make_track(1, (0.3,)), regions=((FaceRegion.MOUTH, 0.9),))
    score = make_score(tracks=(make_track(), other))
    row = build_standing_row(score, decide(score, PRESETS["balanced"]), JUDGE)
    assert (row["track_count"], row["suspicious_count"], row["span_regions"]) == (2, 1, ["mouth"])
    assert row["region_peaks"] == [0.125, None, None, 0.9, None, None, None]
    assert row["patch_area_max"] == 0.25


def test_a_row_without_a_face_has_no_peaks() -> None:
    score = make_empty_score()
    row = build_standing_row(score, decide(score, PRESETS["balanced"]), JUDGE)
    assert (row["track_count"], row["suspicious_count"], row["span_regions"]) == (0, 0, [])
    assert (row["region_peaks"], row["patch_area_max"]) == (None, None)


def test_another_verdict_takes_its_reasons_along(database: Database, stored: tuple[str, str]) -> None:
    verdict = decide(make_score(), PRESETS["strict"])
    with database.transaction(tenant_id=stored[0]) as session:
        judge = Judge(ensure_policy(session, PRESETS["strict"]), PRESETS["strict"], 3)
        set_standing(session, stored[1], verdict, judge)
        row = session.get_one(Standing, stored[1])
        assert (row.verdict, row.policy_id, row.use_id) == (verdict.value, judge.policy_id, 3)
        assert row.verdict_reasons == [reason.value for reason in verdict.reasons]


def test_only_a_suspicious_span_names_regions(database: Database, stored: tuple[str, str]) -> None:
    cut = text(
        "INSERT INTO segment (tenant_id, analysis_id, position, kind, start_us, end_us, regions)"
        " VALUES (:tenant, :analysis, 99, :kind, 0, 0, ARRAY['mouth'])"
    )
    values = {"tenant": stored[0], "analysis": stored[1], "kind": SegmentKind.CUT.value}
    with (
        pytest.raises(IntegrityError, match="regions_of_suspicious"),
        database.transaction(tenant_id=stored[0]) as session,
    ):
        session.execute(cut, values)


@pytest.mark.parametrize(
    ("wanted", "element"),
    [
        ("segments.kind = suspicious", None),
        ("segments.regions:mouth", None),
        ("tracks.regions.mouth > 0.5", None),
        ("segments:(regions:mouth AND end_us > 1)", "segment"),
        ("tracks.regions.mouth < 0.5", "face_track"),
        ("patch_area > 0.2", "frame_score"),
    ],
)
def test_elements_are_looked_at_only_where_needed(wanted: str, element: str | None) -> None:
    written = str(compile_filter(read_filter(wanted), "ten").where)
    assert ("EXISTS" in written) == (element is not None)
    assert element is None or f"FROM {element}" in written


def test_frames_that_were_dropped_fit_no_filter(database: Database, stored: tuple[str, str]) -> None:
    query = AnalysisQuery(stored[0], read_filter("patch_area > 0.2"))
    with database.transaction(tenant_id=stored[0]) as session:
        assert [line.id for line in list_analyses(session, query)] == [stored[1]]
        session.execute(FrameScore.__table__.delete().where(FrameScore.analysis_id == stored[1]))
        assert session.scalar(select(func.max(Standing.patch_area_max))) == 0.25
        assert list_analyses(session, query) == []
