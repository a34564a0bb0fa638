"""Revisions that rewrite tables, on rows that the revision before has written."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from fakesieve.database import Database, open_database
from fakesieve.embedded.postgres import OWNER_ROLE, PostgresServer
from fakesieve.records.revision import migrate_database
from tests.databases import fresh_name

GROUND = """
INSERT INTO tenant (id, name) VALUES ('ten_a', 'a'), ('ten_b', 'b');
INSERT INTO model (id, name, weights_sha256) VALUES ('mod_a', 'lv', repeat('a', 64));
INSERT INTO policy (id, name, version, low, high, min_coverage, min_peak_frames, extrapolated)
VALUES ('pol_a', 'own', 1, 0.3, 0.9, 0, 1, false), ('pol_b', 'own', 2, 0.3, 0.6, 0, 1, false);
INSERT INTO video (id, tenant_id, content_sha256, size_bytes, media)
VALUES ('vid_a', 'ten_a', repeat('1', 64), 10, '{"width": 320}'),
  ('vid_b', 'ten_a', repeat('2', 64), 10, '{}'),
  ('vid_c', 'ten_b', repeat('1', 64), 10, '{}');
INSERT INTO source (id, tenant_id, video_id, kind, bucket, key)
VALUES ('src_a', 'ten_a', 'vid_a', 'api', 'videos', 'shared.mp4'),
  ('src_c', 'ten_b', 'vid_c', 'api', 'videos', 'shared.mp4'),
  ('src_d', 'ten_b', 'vid_c', 'api', 'videos', 'own.mp4');
"""
RESULTS = """
INSERT INTO analysis (id, tenant_id, video_id, pipeline_fingerprint, model_id, engine, precision, outcome,
    score_raw, score_calibrated, score_low, score_high, peak_track, reasons, warnings, frames_in_video,
    frames_sampled, frames_decoded, frames_with_face, faces_detected, faces_scored, faces_rejected, scored_us,
    total_us, coverage_ratio, timings_ms, create_time)
VALUES ('ana_a', 'ten_a', 'vid_a', 'fp1', 'mod_a', 'onnxruntime', 'f32', 'scored', 0.8, 0.7, 0.6, 0.9,
    0, '{}', '{short}', 30, 3, 3, 3, 4, 3, '{}', 500, 1000, 0.5, '{}', '2026-01-02T00:00Z'),
  ('ana_b', 'ten_a', 'vid_b', 'fp1', 'mod_a', 'onnxruntime', 'f32', 'no_face', NULL, NULL, NULL, NULL, NULL,
    '{no_face}', '{}', 1, 1, 1, 0, 0, 0, '{}', 0, 0, 0, '{}', '2026-01-03T00:00Z');
INSERT INTO face_track (id, tenant_id, analysis_id, ordinal, start_us, end_us, outcome, score, frame_count,
    scored_count, peak_pts_us, regions, reasons)
VALUES ('trk_a', 'ten_a', 'ana_a', 0, 0, 900, 'scored', 0.8, 3, 3, '{0}',
    '{"mouth": 0.9, "nose": 0.2}', '{}'),
  ('trk_b', 'ten_a', 'ana_a', 1, 0, 900, 'insufficient_evidence', NULL, 1, 0, '{}', '{"nose": 0.4}', '{}');
INSERT INTO frame_score (tenant_id, analysis_id, ordinal, pts_us, analysis_time, box_x, box_y, box_w, box_h,
    confidence, score, patch_area, exclude_reason)
VALUES ('ten_a', 'ana_a', 0, 0, '2026-01-02T00:00Z', 0, 0, 1, 1, 1, 0.8, 0.2, NULL),
  ('ten_a', 'ana_a', 0, 300, '2026-01-02T00:00Z', 0, 0, 1, 1, 1, 0.8, 0.4, NULL),
  ('ten_a', 'ana_a', 0, 600, '2026-01-02T00:00Z', 0, 0, 1, 1, 1, 0.3, NULL, NULL),
  ('ten_a', 'ana_a', 1, 0, '2026-01-02T00:00Z', 0, 0, 1, 1, 1, NULL, NULL, 'too_dark');
INSERT INTO patch_map (tenant_id, analysis_id, ordinal, grid, crop_size, pts_us, to_frame, packed)
VALUES ('ten_a', 'ana_a', 0, 2, 256, '{0}', '{1,0,0,0,1,0}', 'packed');
INSERT INTO segment (tenant_id, analysis_id, position, kind, ordinal, start_us, end_us, reason, regions)
VALUES ('ten_a', 'ana_a', 0, 'suspicious', 0, 0, 300, NULL, '{nose,mouth}'),
  ('ten_a', 'ana_a', 1, 'suspicious', 0, 600, 900, NULL, '{mouth}'),
  ('ten_a', 'ana_a', 2, 'excluded', 1, 0, 900, 'too_dark', '{}');
INSERT INTO verdict (tenant_id, analysis_id, policy_id, value, score_used, reasons, create_time)
VALUES ('ten_a', 'ana_a', 'pol_a', 'inconclusive', 0.7, '{}', '2026-01-02T00:00Z'),
  ('ten_a', 'ana_a', 'pol_b', 'likely_manipulated', 0.7, '{LOW_COVERAGE}', '2026-01-04T00:00Z'),
  ('ten_a', 'ana_b', 'pol_a', NULL, NULL, '{}', '2026-01-03T00:00Z');
"""
ITEMS = """
INSERT INTO review_queue (id, tenant_id, name, rule, "order", lease_s)
VALUES ('que_a', 'ten_a', 'all', '{}', 'oldest', 900);
INSERT INTO review_item (id, tenant_id, queue_id, analysis_id, rank)
VALUES ('rev_a', 'ten_a', 'que_a', 'ana_a', 0);
"""
KNOWN_ITEMS = """
INSERT INTO review_item (id, tenant_id, queue_id, analysis_id, rank, made_for)
VALUES ('rev_b', 'ten_a', 'que_a', 'ana_a', 0, 'usr_b'), ('rev_c', 'ten_a', 'que_a', 'ana_a', 0, 'usr_c');
INSERT INTO review_decision (id, tenant_id, item_id, analysis_id, kind, reviewer, reason_code)
VALUES ('dec_b', 'ten_a', 'rev_b', 'ana_a', 'skip', 'usr_b', 'needs_expert');
"""
JOBS = """
INSERT INTO job (id, tenant_id, lane, state, source_kind, source_bucket, source_key, request_hash,
    time_limit_ms, deadline, end_time, error_reason)
VALUES ('job_a', 'ten_a', 'bulk', 'cancelled', 'api', 'videos', 'a.mp4', 'h', 1, now(), now(),
    'CANCELLED_BY_CALLER'),
  ('job_b', 'ten_a', 'bulk', 'failed', 'api', 'videos', 'b.mp4', 'h', 1, now(), now(), 'CORRUPT'),
  ('job_c', 'ten_a', 'bulk', 'queued', 'api', 'videos', 'c.mp4', 'h', 1, now(), NULL, NULL);
INSERT INTO shard (tenant_id, job_id, index, kind, lane, state)
VALUES ('ten_a', 'job_a', 0, 'prepare', 'bulk', 'done'), ('ten_a', 'job_a', 1, 'screen', 'bulk', 'pending'),
  ('ten_a', 'job_b', 0, 'prepare', 'bulk', 'failed'), ('ten_a', 'job_c', 0, 'prepare', 'bulk', 'pending');
"""
BATCHES = """
INSERT INTO batch (id, tenant_id, name, lane, state, max_failure_rate, request_hash, end_time)
VALUES ('bat_a', 'ten_a', 'done', 'bulk', 'failed', 1, 'h', now()),
  ('bat_b', 'ten_a', 'on', 'bulk', 'open', 1, 'h', NULL);
"""


class Kept:
    """A database with rows, on its way from one revision to the next and back."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._database: Database = open_database(url)

    def fill(self, revision: str, *statements: str) -> None:
        migrate_database(self.url, revision)
        with self._database.transaction(tenant_id=None) as session:
            for each in "".join(statements).split(";\n"):
                if each.strip():
                    session.execute(text(each.replace(":", r"\:")))

    def ask(self, query: str) -> list[tuple[object, ...]]:
        with self._database.transaction(tenant_id=None) as session:
            return [tuple(row) for row in session.execute(text(query))]

    def close(self) -> None:
        self._database.close()


@pytest.fixture
def kept(postgres: PostgresServer) -> Iterator[Kept]:
    with fresh_name(postgres) as name:
        found = Kept(postgres.url(OWNER_ROLE, name))
        yield found
        found.close()


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
