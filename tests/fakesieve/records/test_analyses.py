"""Analyses are stored once, whole, and read back as they were."""

import math
from dataclasses import replace

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from engine.policy import PRESETS
from engine.results import Outcome
from fakesieve.database import Database
from fakesieve.records.analyses import TrackMaps, find_analysis, load_analysis, store_analysis
from fakesieve.records.analysis_tables import Analysis, FaceTrack, FrameScore, Verdict
from tests.factories import make_empty_score, make_record, make_score, make_tenant, make_track, make_video


@pytest.fixture
def tenant_id(database: Database) -> str:
    return make_tenant(database)


@pytest.fixture(scope="module")
def stored(module_database: Database) -> str:
    """Id of an analysis in the database of this module, which no test alters."""
    tenant_id = make_tenant(module_database)
    with module_database.transaction(tenant_id=tenant_id) as session:
        return store_analysis(session, make_record(tenant_id, make_video(session, tenant_id)))[0]


def test_an_analysis_comes_back_as_it_was_stored(database: Database, tenant_id: str) -> None:
    tracks = (make_track(0), make_track(3, (0.1, None)), make_track(4, (None,)))
    with database.transaction(tenant_id=tenant_id) as session:
        record = make_record(tenant_id, make_video(session, tenant_id), score=make_score(tracks=tracks))
        analysis_id, is_new = store_analysis(session, record)
    assert is_new
    with database.transaction(tenant_id=tenant_id) as session:
        assert load_analysis(session, analysis_id) == record


def test_numbers_of_32_bits_come_back_to_the_last_bit(database: Database, tenant_id: str) -> None:
    third = 0.3333333432674408  # the 32-bit number next to 1/3, as the detector gives it
    track = make_track(0, (0.9,))
    track = replace(track, frames=(replace(track.frames[0], box=(third, third, third, third)),))
    with database.transaction(tenant_id=tenant_id) as session:
        record = make_record(tenant_id, make_video(session, tenant_id), score=make_score(tracks=(track,)))
        analysis_id, _ = store_analysis(session, record)
    with database.transaction(tenant_id=tenant_id) as session:
        loaded = load_analysis(session, analysis_id)
    assert loaded is not None
    assert loaded.score.tracks[0].frames[0].box == (third, third, third, third)


@pytest.mark.parametrize("outcome", [Outcome.NO_FACE, Outcome.INSUFFICIENT_EVIDENCE, Outcome.UNSCORABLE])
def test_without_evidence_there_is_neither_score_nor_verdict(
    database: Database, tenant_id: str, outcome: Outcome
) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        record = make_record(tenant_id, make_video(session, tenant_id), score=make_empty_score(outcome))
        analysis_id, _ = store_analysis(session, record)
    with database.transaction(tenant_id=tenant_id) as session:
        assert load_analysis(session, analysis_id) == record
        assert session.scalar(select(Verdict.value)) is None


def test_the_same_pipeline_over_the_same_video_is_one_analysis(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        video_id = make_video(session, tenant_id)
        first = make_record(tenant_id, video_id)
        analysis_id, _ = store_analysis(session, first)
        again = store_analysis(session, make_record(tenant_id, video_id, score=make_score(0.2)))
        assert again == (analysis_id, False)
        assert load_analysis(session, analysis_id) == first
        assert find_analysis(session, video_id, first.fingerprint) == analysis_id


def test_another_pipeline_is_another_analysis(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        video_id = make_video(session, tenant_id)
        first, _ = store_analysis(session, make_record(tenant_id, video_id))
        second, is_new = store_analysis(session, make_record(tenant_id, video_id, fingerprint="pipeline-2"))
    assert is_new
    assert second != first


def test_a_second_policy_adds_a_verdict_and_the_newest_is_shown(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        video_id = make_video(session, tenant_id)
        analysis_id, _ = store_analysis(session, make_record(tenant_id, video_id))
    strict = make_record(tenant_id, video_id, policy=PRESETS["strict"])
    for _ in range(2):  # the same policy version judges once
        with database.transaction(tenant_id=tenant_id) as session:
            assert store_analysis(session, strict) == (analysis_id, False)
    with database.transaction(tenant_id=tenant_id) as session:
        loaded = load_analysis(session, analysis_id)
        assert len(session.scalars(select(Verdict)).all()) == 2
    assert loaded is not None
    assert loaded.verdict.policy == "strict"


def test_an_unknown_analysis_is_none(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        assert load_analysis(session, "ana_none") is None


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE analysis SET score_raw = 1.0000001",
        "UPDATE analysis SET score_raw = 'NaN'",
        "UPDATE analysis SET score_raw = NULL",
        "UPDATE analysis SET outcome = 'no_face'",
        "UPDATE analysis SET outcome = 'authentic'",
        "UPDATE analysis SET score_low = NULL",
        "UPDATE analysis SET score_low = 0.9, score_high = 0.8",
        "UPDATE analysis SET frames_decoded = frames_sampled + 1",
        "UPDATE analysis SET series_score = series_score || 0.5",
        "UPDATE face_track SET score = NULL",
        "UPDATE face_track SET end_us = -1",
        "UPDATE frame_score SET score = NULL WHERE score IS NOT NULL",
        "UPDATE frame_score SET score = 0.5 WHERE score IS NULL",
        "UPDATE frame_score SET patch_max = 'NaN'",
        "UPDATE patch_map SET to_frame = to_frame || 1.0::real",
        "UPDATE patch_map SET kind = 'gradcam'",
        "UPDATE segment SET reason = NULL WHERE kind = 'excluded'",
        "UPDATE verdict SET value = NULL",
        "UPDATE verdict SET score_used = -0.1",
        "UPDATE verdict SET value = 'fake'",
        "INSERT INTO verdict SELECT * FROM verdict",
        "UPDATE policy SET low = high + 0.1",
        "UPDATE video SET content_sha256 = 'short'",
    ],
)
def test_the_database_refuses_what_cannot_be(
    module_database_as_owner: Database, stored: str, change: str
) -> None:
    with pytest.raises(IntegrityError), module_database_as_owner.transaction(tenant_id=None) as session:
        session.execute(text(change))


@pytest.mark.parametrize("table", ["analysis", "verdict", "frame_score", "model", "policy"])
def test_the_fleet_cannot_alter_what_was_found(database: Database, tenant_id: str, table: str) -> None:
    column = "name" if table in ("model", "policy") else "tenant_id"
    with (
        pytest.raises(DBAPIError, match="permission denied"),
        database.transaction(tenant_id=None) as session,
    ):
        session.execute(text(f"UPDATE {table} SET {column} = {column}"))


def test_a_deleted_video_takes_everything_with_it(database: Database, tenant_id: str) -> None:
    with database.transaction(tenant_id=tenant_id) as session:
        video_id = make_video(session, tenant_id)
        store_analysis(session, make_record(tenant_id, video_id))
        session.execute(text("DELETE FROM video"))
        for table in (Analysis, FaceTrack, FrameScore, Verdict):
            assert session.scalars(select(table)).all() == []


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": ""},
        {"policy": PRESETS["strict"]},
        {"score": make_empty_score()},
        {"score": replace(make_score(), tracks=(make_track(0), make_track(0)))},
        {"score": replace(make_score(), tracks=())},
    ],
)
def test_a_record_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        replace(make_record("ten_a", "vid_a"), **change)


@pytest.mark.parametrize(
    "change", [{"pts_us": (0,)}, {"pts_us": (5, 5)}, {"grid": 0}, {"to_frame": ((1.0,) * 5,) * 2}]
)
def test_patch_maps_fit_together(change: dict[str, object]) -> None:
    maps = TrackMaps(0, (0, 1), 4, 64, ((1.0,) * 6,) * 2, b"")
    with pytest.raises(ValueError, match=r"\w"):
        replace(maps, **change)


def test_scores_that_are_no_numbers_are_refused_before_the_database() -> None:
    with pytest.raises(ValueError, match="outside 0 to 1"):
        make_score(math.nan)
