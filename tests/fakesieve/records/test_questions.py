"""Every statement of docs/howto/ask-the-database.md runs and answers what its heading asks."""

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text

from engine.results import Outcome
from fakesieve.database import Database
from fakesieve.objects import VideoRef
from fakesieve.records.analyses import store_analysis
from fakesieve.records.videos import record_source
from tests.factories import (
    SECOND_US,
    hash_text,
    make_empty_score,
    make_record,
    make_score,
    make_tenant,
    make_track,
    make_video,
)

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "ask-the-database.md"
QUESTIONS = {
    int(number): statement
    for number, statement in re.findall(r"^## (\d+)\. .*?```sql\n(.*?)```", PAGE.read_text(), re.M | re.S)
}
_JOB = (
    "INSERT INTO job (id, tenant_id, lane, state, source_kind, source_bucket, source_key, request_hash,"
    " time_limit_ms, deadline, create_time, start_time, end_time, analysis_id, reused_analysis, error_reason)"
    " SELECT 'job_' || :name, :tenant, 'bulk', :state, 'api', 'videos', 'a.mp4', 'h', 1000, now(),"
    " now() - interval '9 s', now() - interval '7 s', now() - interval '2 s', :analysis, :reused, :reason"
)


@pytest.fixture(scope="module")
def ids(module_database: Database) -> dict[str, str]:
    """Ids by name: a video that looks forged under two keys, a clean one and one without a face."""
    tenant_id = make_tenant(module_database)
    forged = make_score(0.9, tracks=(make_track(0, (0.9, 0.95, 0.95)), make_track(1, (0.2, None))))
    mouth = replace(forged.segments[0], end_us=2 * SECOND_US + 500_000)
    scores = {
        "forged": replace(forged, calibrated=0.8, segments=(mouth, forged.segments[1])),
        "clean": replace(make_score(0.12), outcome=Outcome.SCORED, segments=(), calibrated=None),
        "faceless": make_empty_score(),
    }
    found = {"tenant": tenant_id}
    with module_database.transaction(tenant_id=tenant_id) as session:
        for name, score in scores.items():
            found[name] = make_video(session, tenant_id, name)
            analysis_id, _ = store_analysis(session, make_record(tenant_id, found[name], score=score))
            found[f"{name} analysis"] = analysis_id
            for key in [f"{name}.mp4", *(["copy.mp4"] if name == "forged" else [])]:
                ref = VideoRef("videos", key, etag=name)
                record_source(session, tenant_id=tenant_id, video_id=found[name], ref=ref)
        for name, state, reason in (
            ("1", "succeeded", None),
            ("2", "succeeded", None),
            ("3", "failed", "CORRUPT"),
            ("4", "failed", "CORRUPT"),
            ("5", "failed", "NO_SPACE"),
        ):
            values = {
                "name": name,
                "tenant": tenant_id,
                "state": state,
                "reason": reason,
                "reused": name == "2",
            }
            values["analysis"] = found["forged analysis"] if state == "succeeded" else None
            session.execute(text(_JOB), values)
    return found


def ask(
    database: Database, number: int, ids: dict[str, str], video: str = "forged"
) -> list[tuple[object, ...]]:
    statement = text(QUESTIONS[number])
    values = {"video_id": ids[video]} if ":video_id" in QUESTIONS[number] else {}
    with database.transaction(tenant_id=ids["tenant"]) as session:
        return [tuple(row) for row in session.execute(statement, values)]


def test_there_are_ten_questions() -> None:
    assert list(QUESTIONS) == list(range(1, 11))


def test_which_videos_show_a_forged_mouth(module_database: Database, ids: dict[str, str]) -> None:
    assert ask(module_database, 1, ids) == [(ids["forged"], Decimal("2.5"), 0.95)]


def test_what_to_look_at_first(module_database: Database, ids: dict[str, str]) -> None:
    rows = ask(module_database, 2, ids)
    assert sorted(rows) == [("videos", "copy.mp4", 0.8), ("videos", "forged.mp4", 0.8)]


def test_why_jobs_failed(module_database: Database, ids: dict[str, str]) -> None:
    assert ask(module_database, 3, ids) == [("CORRUPT", 2, "job_3"), ("NO_SPACE", 1, "job_5")]


def test_which_bytes_lie_twice(module_database: Database, ids: dict[str, str]) -> None:
    keys = ["videos/copy.mp4", "videos/forged.mp4"]
    assert ask(module_database, 4, ids) == [(hash_text("forged"), 2, keys)]


def test_what_was_hardly_looked_at(module_database: Database, ids: dict[str, str]) -> None:
    assert ask(module_database, 5, ids) == [(ids["faceless"], 0.0, None, None)]


def test_when_each_face_looks_worst(module_database: Database, ids: dict[str, str]) -> None:
    assert ask(module_database, 6, ids) == [(0, 1, 0.95, 0.25), (1, 0, 0.2, 0.25)]


def test_the_score_over_time(module_database: Database, ids: dict[str, str]) -> None:
    assert ask(module_database, 7, ids) == [(0, 0.9, 0), (1, 0.95, 0), (2, None, None)]


def test_how_scores_are_distributed(module_database: Database, ids: dict[str, str]) -> None:
    assert ask(module_database, 8, ids) == [("lv-compact", 2, 1), ("lv-compact", 9, 1)]


def test_which_verdicts_another_threshold_changes(module_database: Database, ids: dict[str, str]) -> None:
    assert ask(module_database, 9, ids) == []  # 0.8 and 0.12 lie on the same side of 0.4 and 0.7
    lower = QUESTIONS[9].replace("0.4", "0.1")
    with module_database.transaction(tenant_id=ids["tenant"]) as session:
        rows = [tuple(row) for row in session.execute(text(lower))]
    assert rows == [(ids["clean analysis"], "no_manipulation_found", 0.12)]


def test_how_long_jobs_wait_and_run(module_database: Database, ids: dict[str, str]) -> None:
    ((lane, jobs, wait, longest, run, reused),) = ask(module_database, 10, ids)
    assert (lane, jobs, reused) == ("bulk", 2, 1)
    assert [span.total_seconds() for span in (wait, longest, run)] == [2, 2, 5]
