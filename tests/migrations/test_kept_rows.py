"""Revisions that rewrite tables, on rows that the revision before has written."""

from io import StringIO
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config

from fakesieve.records.revision import migrate_database
from tests.migrations.rows import BATCHES, GROUND, ITEMS, JOBS, KNOWN_ITEMS, RESULTS, Kept

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def walk(kept: Kept, before: str, after: str, new: str, old: str) -> list[tuple[object, ...]]:
    """Go to ``after`` and back and forth; return what ``new`` sees there, which is the same both times.

    What ``old`` sees at ``before`` is the same before and after.
    """
    migrate_database(kept.url, before)
    was = kept.ask(old)
    assert was, "rows that the revision before has written"
    migrate_database(kept.url, after)
    seen = kept.ask(new)
    migrate_database(kept.url, before)
    assert kept.ask(old) == was
    migrate_database(kept.url, after)
    assert kept.ask(new) == seen
    return seen


def test_0006_the_newest_verdict_of_each_analysis_holds(kept: Kept) -> None:
    kept.fill("0005", GROUND, RESULTS)
    held = "SELECT analysis_id, outcome, score, verdict, policy_id FROM standing ORDER BY analysis_id"
    verdicts = "SELECT analysis_id, policy_id, value, score_used, create_time FROM verdict ORDER BY 1, 2"
    assert walk(kept, "0005", "0006", held, verdicts) == [
        ("ana_a", "scored", 0.7, "likely_manipulated", "pol_b"),
        ("ana_b", "no_face", None, None, "pol_a"),
    ]
    assert kept.ask("SELECT id, peak_frames FROM analysis ORDER BY id") == [("ana_a", 2), ("ana_b", None)]


def test_0008_ended_jobs_with_open_work_are_marked(kept: Kept) -> None:
    kept.fill("0007", GROUND, JOBS)
    marks = "SELECT id, has_open_shards FROM job ORDER BY id"
    states = "SELECT job_id, index, shard.state, job.state FROM shard JOIN job ON id = job_id ORDER BY 1, 2"
    assert walk(kept, "0007", "0008", marks, states) == [
        ("job_a", True), ("job_b", False), ("job_c", False)
    ]  # fmt: skip


def test_0008_marks_them_too_where_a_person_runs_its_statements(kept: Kept) -> None:
    kept.fill("0007", GROUND, JOBS)
    written = StringIO()
    config = Config(output_buffer=written)
    config.set_main_option("script_location", str(MIGRATIONS))
    command.upgrade(config, "0007:0008", sql=True)
    with psycopg.connect(kept.url, autocommit=True) as connection:
        connection.execute(written.getvalue().encode())
    assert kept.ask("SELECT id, has_open_shards FROM job ORDER BY id") == [
        ("job_a", True), ("job_b", False), ("job_c", False)
    ]  # fmt: skip


def test_0009_standing_verdicts_know_their_coverage(kept: Kept) -> None:
    kept.fill("0005", GROUND, RESULTS)
    new = "SELECT analysis_id, coverage, peak_frames FROM standing ORDER BY 1"
    old = "SELECT analysis_id, score, verdict, policy_id FROM standing ORDER BY 1"
    assert walk(kept, "0008", "0009", new, old) == [("ana_a", 0.5, 2), ("ana_b", 0.0, None)]


def test_0011_patch_maps_stay_and_name_no_parts(kept: Kept) -> None:
    kept.fill("0005", GROUND, RESULTS)
    new = "SELECT analysis_id, ordinal, packed, regions FROM patch_map"
    old = "SELECT analysis_id, ordinal, pts_us, to_frame, packed FROM patch_map"
    assert walk(kept, "0010", "0011", new, old) == [("ana_a", 0, b"packed", None)]


def test_0015_rows_of_lists_hold_what_the_other_tables_say(kept: Kept) -> None:
    kept.fill("0005", GROUND, RESULTS)
    new = (
        "SELECT analysis_id, verdict_reasons, video_id, model_id, pipeline_fingerprint,"
        " engine, precision, score_raw,"
        " score_calibrated, score_low, score_high, scored_us, total_us, faces_scored,"
        " reasons, warnings, track_count,"
        " suspicious_count, span_regions, region_peaks, patch_area_max FROM standing ORDER BY 1"
    )
    old = "SELECT analysis_id, score, verdict, policy_id, coverage, peak_frames FROM standing ORDER BY 1"
    found, empty = walk(kept, "0014", "0015", new, old)
    assert found == (
        "ana_a", ["LOW_COVERAGE"], "vid_a", "mod_a", "fp1", "onnxruntime", "f32",
        0.8, 0.7, 0.6, 0.9, 500, 1000, 3,
        [], ["short"], 2, 2, ["nose", "mouth"], [None, None, 0.4, 0.9, None, None, None], 0.4,
    )  # fmt: skip
    assert empty == (
        "ana_b", [], "vid_b", "mod_a", "fp1", "onnxruntime", "f32", None, None, None, None, 0, 0, 0,
        ["no_face"], [], 0, 0, [], None, None,
    )  # fmt: skip


def test_0016_a_hold_of_another_tenant_is_seen(kept: Kept) -> None:
    kept.fill("0015", GROUND, "UPDATE video SET hold_time = now() WHERE id = 'vid_c'")
    new = (
        "SELECT is_held_by_another('ten_a', 'videos', 'shared.mp4'), is_held_by_another('ten_b', 'videos',"
        " 'shared.mp4'), is_held_by_another('ten_a', 'videos', 'other.mp4')"
    )
    held = "SELECT id, hold_time FROM video ORDER BY id"
    assert walk(kept, "0015", "0016", new, held) == [(True, False, False)]


def test_0017_batches_that_have_ended_say_no_reason(kept: Kept) -> None:
    kept.fill("0016", GROUND, BATCHES)
    new = "SELECT id, state, end_reason FROM batch ORDER BY id"
    old = "SELECT id, state, end_time FROM batch ORDER BY id"
    assert walk(kept, "0016", "0017", new, old) == [("bat_a", "failed", None), ("bat_b", "open", None)]


def test_0018_items_are_everybodys_and_what_was_made_for_one_does_not_go_back(kept: Kept) -> None:
    kept.fill("0017", GROUND, RESULTS, ITEMS)
    new = "SELECT i.id, made_for, known_share FROM review_item i, review_queue ORDER BY i.id"
    old = "SELECT id, kind, state FROM review_item ORDER BY id"
    assert walk(kept, "0017", "0018", new, old) == [("rev_a", None, 0.0)]
    kept.fill("0018", KNOWN_ITEMS)
    migrate_database(kept.url, "0017")
    assert kept.ask(old) == [("rev_a", "first", "open")]
    assert kept.ask("SELECT id FROM review_decision") == []


def test_0020_causes_of_older_analyses_are_not_known(kept: Kept) -> None:
    kept.fill("0019", GROUND, RESULTS)
    new = "SELECT id, missing FROM analysis ORDER BY id"
    old = "SELECT id, frames_sampled, frames_decoded FROM analysis ORDER BY id"
    assert walk(kept, "0019", "0020", new, old) == [("ana_a", None), ("ana_b", None)]


def test_0024_classes_stay_and_one_that_is_being_removed_is_gone_after_the_way_back(kept: Kept) -> None:
    short = "INSERT INTO retention_class (tenant_id, name, keep_s) VALUES ('ten_a', 'short', 60)"
    kept.fill("0023", GROUND, short)
    new = "SELECT name, keep_s, remove_time FROM retention_class"
    assert walk(kept, "0023", "0024", new, "SELECT name, keep_s FROM retention_class") == [
        ("short", 60, None)
    ]
    leaving = """
    INSERT INTO retention_class (tenant_id, name, keep_s, remove_time)
    VALUES ('ten_a', 'long', 3153600000, now()), ('ten_b', 'long', 600, NULL);
    UPDATE video SET retention_class = 'long' WHERE id IN ('vid_a', 'vid_c');
    UPDATE video SET retention_class = 'short' WHERE id = 'vid_b';
    """
    kept.fill("0024", leaving)
    assert kept.ask("SELECT tenant_id FROM video WHERE id = 'vid_c'") == [("ten_b",)]
    migrate_database(kept.url, "0023")
    assert kept.ask("SELECT tenant_id, name FROM retention_class ORDER BY 1, 2") == [
        ("ten_a", "short"), ("ten_b", "long")
    ]  # fmt: skip
    assert kept.ask("SELECT id, retention_class FROM video ORDER BY id") == [
        ("vid_a", None), ("vid_b", "short"), ("vid_c", "long")
    ]  # fmt: skip


def test_0025_what_a_model_brings_is_known_and_no_tenants_policy_is_called_like_it(kept: Kept) -> None:
    taken = """
INSERT INTO policy (id, name, version, low, high, min_coverage, min_peak_frames, extrapolated)
VALUES ('pol_m', 'lv', 1, 0.5, 0.9, 0.1, 2, true), ('pol_n', 'lv', 1, 0.6, 0.95, 0.1, 2, true),
  ('pol_t', 'lv', 1, 0.5, 0.9, 0.1, 2, false);
INSERT INTO model (id, name, weights_sha256) VALUES ('mod_b', 'lv', repeat('b', 64));
UPDATE analysis SET model_id = 'mod_b' WHERE id = 'ana_b';
INSERT INTO verdict (tenant_id, analysis_id, policy_id, value, score_used, reasons)
VALUES ('ten_a', 'ana_a', 'pol_m', 'inconclusive', 0.7, '{}'), ('ten_a', 'ana_b', 'pol_n', NULL, NULL, '{}'),
  ('ten_a', 'ana_b', 'pol_t', NULL, NULL, '{}');
INSERT INTO tenant_policy (id, tenant_id, name, version, policy_id)
VALUES ('tpo_o', 'ten_a', 'own', 1, 'pol_a'), ('tpo_t', 'ten_a', 'lv', 1, 'pol_t');
"""
    kept.fill("0024", GROUND, RESULTS, taken)
    new = """
SELECT p.id, p.version, t.version, m.model_id FROM policy p LEFT JOIN tenant_policy t ON t.policy_id = p.id
LEFT JOIN model_policy m ON m.policy_id = p.id ORDER BY 1
"""
    old = "SELECT id, name, policy_id FROM tenant_policy ORDER BY id"
    assert walk(kept, "0024", "0025", new, old) == [
        ("pol_a", 1, 1, None), ("pol_b", 2, None, None), ("pol_m", 1, None, "mod_a"),
        ("pol_n", 1, None, "mod_b"), ("pol_t", 2, 2, None),
    ]  # fmt: skip
