"""Rows for a database on its way between revisions. Together they fill every table of the newest one."""

from sqlalchemy import text

from fakesieve.database import Database, open_database
from fakesieve.records.revision import migrate_database

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
MORE = """
INSERT INTO api_key (id, tenant_id, name, shown, key_sha256, scopes)
VALUES ('key_a', 'ten_a', 'ci', 'fsk_', repeat('a', 64), '{results:read}');
INSERT INTO worker_host (owner, name, version, slots) VALUES ('host-1', 'host', '0', 2);
UPDATE shard SET last_reason = 'REQUEST_IN_PROGRESS' WHERE job_id = 'job_c';
UPDATE job SET error_reason = 'URL_NOT_ALLOWED' WHERE id = 'job_b';
INSERT INTO attempt (tenant_id, job_id, shard_index, fence, kind, number, owner, end_time, attempt_end,
    reason)
VALUES ('ten_a', 'job_c', 0, 1, 'prepare', 1, 'host-1', now(), 'released', 'REQUEST_IN_PROGRESS'),
  ('ten_a', 'job_b', 0, 1, 'prepare', 1, 'host-1', now(), 'failed', 'CORRUPT');
INSERT INTO outbox (tenant_id, topic, job_id, shard_index, lane)
VALUES ('ten_a', 'doorbell', 'job_c', 0, 'bulk');
INSERT INTO usage (tenant_id, job_id, analysis_id, n_shards, duration_ms)
VALUES ('ten_a', 'job_0', 'ana_a', 1, 10);
INSERT INTO upload (id, tenant_id, bucket, key, content_type, size_bytes_max, expire_time)
VALUES ('upl_a', 'ten_a', 'videos', 'uploads/a', 'video/mp4', 10, now());
INSERT INTO idempotent_answer (tenant_id, key, request_sha256, status, headers, body)
VALUES ('ten_a', 'k', repeat('a', 64), 200, '{}', 'ok');
INSERT INTO video_tag (tenant_id, video_id, name, value) VALUES ('ten_a', 'vid_a', 'desk', 'news');
INSERT INTO tenant_policy (id, tenant_id, name, version, policy_id)
VALUES ('tpo_a', 'ten_a', 'own', 1, 'pol_a');
INSERT INTO policy_use (tenant_id, policy_id, actor) VALUES ('ten_a', 'pol_a', 'key_a');
INSERT INTO model_card (model_id, card) VALUES ('mod_a', '{}');
INSERT INTO model_policy (model_id, policy_id) VALUES ('mod_a', 'pol_a');
INSERT INTO model_alias_change (tenant_id, alias, model_id, actor)
VALUES ('ten_a', 'champion', 'mod_a', 'key_a');
INSERT INTO standing (tenant_id, analysis_id, create_time, outcome, score, verdict, policy_id, coverage,
    peak_frames, verdict_reasons, video_id, model_id, pipeline_fingerprint, engine, precision, scored_us,
    total_us, faces_scored, reasons, warnings, track_count, suspicious_count, span_regions)
VALUES ('ten_a', 'ana_a', '2026-01-02T00:00Z', 'scored', 0.7, 'likely_manipulated', 'pol_b', 0.5, 2,
    '{LOW_COVERAGE}', 'vid_a', 'mod_a', 'fp1', 'onnxruntime', 'f32', 500, 1000, 3, '{}', '{short}', 2, 2,
    '{nose,mouth}');
INSERT INTO policy_ruling (tenant_id, use_id, policy_id) VALUES ('ten_a', 2, 'pol_a');
INSERT INTO audit_log (tenant_id, actor, action, subject, details)
VALUES ('ten_a', 'key_a', 'key.created', 'key_a', '{}');
INSERT INTO app_user (id, tenant_id, email, name, role) VALUES ('usr_a', 'ten_a', 'a@b.c', 'A', 'admin');
INSERT INTO app_session (tenant_id, token_sha256, user_id, expire_time)
VALUES ('ten_a', repeat('b', 64), 'usr_a', now());
INSERT INTO known_address (tenant_id, user_id, address_sha256) VALUES ('ten_a', 'usr_a', repeat('c', 64));
INSERT INTO saved_view (id, tenant_id, user_id, page, name, query)
VALUES ('viw_a', 'ten_a', 'usr_a', 'results', 'mine', '{}');
INSERT INTO review_decision (id, tenant_id, item_id, analysis_id, kind, reviewer, disposition, reason_code,
    automated_means)
VALUES ('dec_a', 'ten_a', 'rev_a', 'ana_a', 'decision', 'usr_a', 'inconclusive', 'needs_expert', 'none');
INSERT INTO review_track (tenant_id, decision_id, ordinal, analysis_id, disposition, reason_code)
VALUES ('ten_a', 'dec_a', 0, 'ana_a', 'inconclusive', 'needs_expert');
INSERT INTO review_note (id, tenant_id, analysis_id, start_us, end_us, author, text)
VALUES ('not_a', 'ten_a', 'ana_a', 0, 10, 'usr_a', 'look');
INSERT INTO known_analysis (tenant_id, analysis_id, truth, note, declared_by)
VALUES ('ten_a', 'ana_a', 'confirmed_manipulated', 'made here', 'usr_a');
INSERT INTO calibration_fit (id, tenant_id, model_id, method, slope, intercept, prior, n, n_manipulated,
    ece_before, ece_after, ece_low, ece_high, created_by)
VALUES ('cal_a', 'ten_a', 'mod_a', 'platt', 1, 0, 0.5, 4, 2, 0.2, 0.1, 0.1, 0.1, 'usr_a');
INSERT INTO event (id, tenant_id, type, data) VALUES ('evt_a', 'ten_a', 'webhook.test', '{}');
INSERT INTO webhook_endpoint (id, tenant_id, url, description, event_types)
VALUES ('whk_a', 'ten_a', 'https://a.example', '', '{webhook.test}');
INSERT INTO webhook_secret (tenant_id, endpoint_id, version, secret) VALUES ('ten_a', 'whk_a', 1, 's');
INSERT INTO webhook_delivery (id, tenant_id, endpoint_id, event_id, tries_left)
VALUES ('del_a', 'ten_a', 'whk_a', 'evt_a', 10);
INSERT INTO webhook_attempt (tenant_id, delivery_id, number) VALUES ('ten_a', 'del_a', 1);
INSERT INTO retention_class (tenant_id, name, keep_s) VALUES ('ten_a', 'short', 60);
INSERT INTO erasure (id, tenant_id, video_id, cause, requested_by, plan)
VALUES ('era_a', 'ten_a', 'vid_gone', 'request', 'usr_a', '{}');
INSERT INTO erasure_host (tenant_id, erasure_id, owner) VALUES ('ten_a', 'era_a', 'host-1');
INSERT INTO export (id, tenant_id, format, bucket, key, requested_by, purge_time)
VALUES ('exp_a', 'ten_a', 'csv', 'videos', 'exports/a', 'usr_a', now());
INSERT INTO export_part (export_id, tenant_id, ordinal, video_marks) VALUES ('exp_a', 'ten_a', 0, '{1}');
"""
EVERYTHING = (GROUND, RESULTS, ITEMS, JOBS, BATCHES, MORE)


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
