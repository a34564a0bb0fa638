"""What pipelines find in videos: scores, faces, frames by month, patch maps, spans and verdicts."""

from alembic import op

from migrations.tenancy import grant, isolate_tenants

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("analysis", "face_track", "frame_score", "patch_map", "segment", "verdict")

CREATE = (
    """
CREATE TABLE analysis (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    video_id TEXT COLLATE "C" NOT NULL,
    pipeline_fingerprint TEXT NOT NULL,
    model_id TEXT COLLATE "C" NOT NULL,
    engine TEXT NOT NULL,
    precision TEXT NOT NULL,
    outcome VARCHAR(40) NOT NULL,
    score_raw DOUBLE PRECISION,
    score_calibrated DOUBLE PRECISION,
    score_low DOUBLE PRECISION,
    score_high DOUBLE PRECISION,
    peak_track SMALLINT,
    reasons TEXT[] NOT NULL,
    warnings TEXT[] NOT NULL,
    frames_in_video BIGINT NOT NULL,
    frames_sampled BIGINT NOT NULL,
    frames_decoded BIGINT NOT NULL,
    frames_with_face BIGINT NOT NULL,
    faces_detected BIGINT NOT NULL,
    faces_scored BIGINT NOT NULL,
    faces_rejected JSONB NOT NULL,
    scored_us BIGINT NOT NULL,
    total_us BIGINT NOT NULL,
    coverage_ratio REAL NOT NULL,
    series_pts_us BIGINT[],
    series_score DOUBLE PRECISION[],
    series_track SMALLINT[],
    series_excluded JSONB,
    timings_ms JSONB NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_analysis PRIMARY KEY (id),
    CONSTRAINT uq_analysis_video_id_pipeline_fingerprint UNIQUE (video_id, pipeline_fingerprint),
    CONSTRAINT ck_analysis_outcome_has_score CHECK ((score_raw IS NOT NULL) = (outcome IN ('scored',
        'partially_scored'))),
    CONSTRAINT ck_analysis_calibrated_has_raw CHECK (score_calibrated IS NULL OR score_raw IS NOT NULL),
    CONSTRAINT ck_analysis_interval_has_raw CHECK (score_low IS NULL OR score_raw IS NOT NULL),
    CONSTRAINT ck_analysis_interval_is_whole CHECK ((score_low IS NULL) = (score_high IS NULL)),
    CONSTRAINT ck_analysis_interval_order CHECK (score_low <= score_high),
    CONSTRAINT ck_analysis_score_raw CHECK (score_raw BETWEEN 0 AND 1),
    CONSTRAINT ck_analysis_score_calibrated CHECK (score_calibrated BETWEEN 0 AND 1),
    CONSTRAINT ck_analysis_score_low CHECK (score_low BETWEEN 0 AND 1),
    CONSTRAINT ck_analysis_score_high CHECK (score_high BETWEEN 0 AND 1),
    CONSTRAINT ck_analysis_frames_decoded CHECK (frames_decoded <= frames_sampled),
    CONSTRAINT ck_analysis_faces_scored CHECK (faces_scored <= faces_detected),
    CONSTRAINT ck_analysis_coverage_ratio CHECK (coverage_ratio BETWEEN 0 AND 1),
    CONSTRAINT ck_analysis_series_lengths CHECK (cardinality(series_pts_us) =
        cardinality(series_score) AND cardinality(series_pts_us) = cardinality(series_track)),
    CONSTRAINT fk_analysis_video_id FOREIGN KEY(video_id) REFERENCES video (id) ON DELETE CASCADE,
    CONSTRAINT fk_analysis_model_id FOREIGN KEY(model_id) REFERENCES model (id) ON DELETE RESTRICT,
    CONSTRAINT ck_analysis_outcome CHECK (outcome IN ('scored', 'partially_scored', 'no_face',
        'insufficient_evidence', 'unscorable'))
);
CREATE INDEX ix_analysis_tenant_id_create_time_id ON analysis (tenant_id, create_time, id);
CREATE INDEX ix_analysis_tenant_id_outcome_create_time ON analysis (tenant_id, outcome, create_time);
""",
    """
CREATE TABLE face_track (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    analysis_id TEXT COLLATE "C" NOT NULL,
    ordinal SMALLINT NOT NULL,
    start_us BIGINT NOT NULL,
    end_us BIGINT NOT NULL,
    outcome VARCHAR(40) NOT NULL,
    score DOUBLE PRECISION,
    frame_count BIGINT NOT NULL,
    scored_count BIGINT NOT NULL,
    peak_pts_us BIGINT[] NOT NULL,
    regions JSONB NOT NULL,
    reasons TEXT[] NOT NULL,
    patch_persistence DOUBLE PRECISION,
    CONSTRAINT pk_face_track PRIMARY KEY (id),
    CONSTRAINT uq_face_track_analysis_id_ordinal UNIQUE (analysis_id, ordinal),
    CONSTRAINT ck_face_track_span CHECK (0 <= start_us AND start_us <= end_us),
    CONSTRAINT ck_face_track_outcome_has_score CHECK ((score IS NOT NULL) = (outcome IN ('scored',
        'partially_scored'))),
    CONSTRAINT ck_face_track_score CHECK (score BETWEEN 0 AND 1),
    CONSTRAINT ck_face_track_patch_persistence CHECK (patch_persistence BETWEEN 0 AND 1),
    CONSTRAINT fk_face_track_analysis_id FOREIGN KEY(analysis_id) REFERENCES analysis (id) ON DELETE
        CASCADE,
    CONSTRAINT ck_face_track_outcome CHECK (outcome IN ('scored', 'partially_scored', 'no_face',
        'insufficient_evidence', 'unscorable'))
);
""",
    """
CREATE TABLE frame_score (
    tenant_id TEXT COLLATE "C" NOT NULL,
    analysis_id TEXT COLLATE "C" NOT NULL,
    ordinal SMALLINT NOT NULL,
    pts_us BIGINT NOT NULL,
    analysis_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    box_x REAL NOT NULL,
    box_y REAL NOT NULL,
    box_w REAL NOT NULL,
    box_h REAL NOT NULL,
    confidence REAL NOT NULL,
    score DOUBLE PRECISION,
    patch_max DOUBLE PRECISION,
    patch_area DOUBLE PRECISION,
    exclude_reason VARCHAR(40),
    CONSTRAINT pk_frame_score PRIMARY KEY (analysis_id, ordinal, pts_us, analysis_time),
    CONSTRAINT fk_frame_score_analysis_id_ordinal FOREIGN KEY(analysis_id, ordinal) REFERENCES
        face_track (analysis_id, ordinal) ON DELETE CASCADE,
    CONSTRAINT ck_frame_score_score_or_reason CHECK ((score IS NULL) = (exclude_reason IS NOT NULL)),
    CONSTRAINT ck_frame_score_score CHECK (score BETWEEN 0 AND 1),
    CONSTRAINT ck_frame_score_patch_max CHECK (patch_max BETWEEN 0 AND 1),
    CONSTRAINT ck_frame_score_patch_area CHECK (patch_area BETWEEN 0 AND 1),
    CONSTRAINT ck_frame_score_evidence_reason CHECK (exclude_reason IN ('no_face', 'face_too_small',
        'too_blurred', 'too_dark', 'too_bright', 'extreme_pose', 'cut_off', 'low_confidence',
        'face_cap', 'not_decoded', 'too_few_frames', 'partial_decode', 'static_image'))
) PARTITION BY RANGE (analysis_time);
""",
    """
CREATE TABLE patch_map (
    tenant_id TEXT COLLATE "C" NOT NULL,
    analysis_id TEXT COLLATE "C" NOT NULL,
    ordinal SMALLINT NOT NULL,
    kind TEXT DEFAULT 'trained_patch' NOT NULL,
    grid SMALLINT NOT NULL,
    crop_size SMALLINT NOT NULL,
    pts_us BIGINT[] NOT NULL,
    to_frame REAL[] NOT NULL,
    packed BYTEA NOT NULL,
    CONSTRAINT pk_patch_map PRIMARY KEY (analysis_id, ordinal),
    CONSTRAINT fk_patch_map_analysis_id_ordinal FOREIGN KEY(analysis_id, ordinal) REFERENCES
        face_track (analysis_id, ordinal) ON DELETE CASCADE,
    CONSTRAINT ck_patch_map_grid CHECK (grid BETWEEN 1 AND 255),
    CONSTRAINT ck_patch_map_crop_size CHECK (crop_size > 0),
    CONSTRAINT ck_patch_map_to_frame CHECK (cardinality(to_frame) = 6 * cardinality(pts_us)),
    CONSTRAINT ck_patch_map_kind CHECK (kind = 'trained_patch')
);
""",
    """
CREATE TABLE segment (
    tenant_id TEXT COLLATE "C" NOT NULL,
    analysis_id TEXT COLLATE "C" NOT NULL,
    position SMALLINT NOT NULL,
    kind VARCHAR(40) NOT NULL,
    ordinal SMALLINT,
    start_us BIGINT NOT NULL,
    end_us BIGINT NOT NULL,
    score_max DOUBLE PRECISION,
    score_mean DOUBLE PRECISION,
    reason VARCHAR(40),
    regions TEXT[] NOT NULL,
    CONSTRAINT pk_segment PRIMARY KEY (analysis_id, position),
    CONSTRAINT fk_segment_analysis_id_ordinal FOREIGN KEY(analysis_id, ordinal) REFERENCES
        face_track (analysis_id, ordinal) ON DELETE CASCADE,
    CONSTRAINT ck_segment_span CHECK (0 <= start_us AND start_us <= end_us),
    CONSTRAINT ck_segment_reason_of_excluded CHECK ((reason IS NOT NULL) = (kind = 'excluded')),
    CONSTRAINT ck_segment_score_max CHECK (score_max BETWEEN 0 AND 1),
    CONSTRAINT ck_segment_score_mean CHECK (score_mean BETWEEN 0 AND 1),
    CONSTRAINT fk_segment_analysis_id FOREIGN KEY(analysis_id) REFERENCES analysis (id) ON DELETE
        CASCADE,
    CONSTRAINT ck_segment_segment_kind CHECK (kind IN ('suspicious', 'excluded', 'cut')),
    CONSTRAINT ck_segment_evidence_reason CHECK (reason IN ('no_face', 'face_too_small',
        'too_blurred', 'too_dark', 'too_bright', 'extreme_pose', 'cut_off', 'low_confidence',
        'face_cap', 'not_decoded', 'too_few_frames', 'partial_decode', 'static_image'))
);
CREATE INDEX ix_segment_tenant_id_kind_analysis_id ON segment (tenant_id, kind, analysis_id);
""",
    """
CREATE TABLE verdict (
    tenant_id TEXT COLLATE "C" NOT NULL,
    analysis_id TEXT COLLATE "C" NOT NULL,
    policy_id TEXT COLLATE "C" NOT NULL,
    value VARCHAR(40),
    score_used DOUBLE PRECISION,
    reasons TEXT[] NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_verdict PRIMARY KEY (analysis_id, policy_id),
    CONSTRAINT ck_verdict_value_has_score CHECK ((value IS NULL) = (score_used IS NULL)),
    CONSTRAINT ck_verdict_score_used CHECK (score_used BETWEEN 0 AND 1),
    CONSTRAINT fk_verdict_analysis_id FOREIGN KEY(analysis_id) REFERENCES analysis (id) ON DELETE
        CASCADE,
    CONSTRAINT fk_verdict_policy_id FOREIGN KEY(policy_id) REFERENCES policy (id) ON DELETE RESTRICT,
    CONSTRAINT ck_verdict_verdict_value CHECK (value IN ('likely_manipulated', 'inconclusive',
        'no_manipulation_found'))
);
CREATE INDEX ix_verdict_policy_id ON verdict (policy_id);
CREATE INDEX ix_verdict_tenant_id_value_create_time_analysis_id ON verdict (tenant_id, value,
    create_time, analysis_id);
""",
)

PARTITIONS = """
CREATE TABLE frame_score_rest PARTITION OF frame_score DEFAULT;

CREATE FUNCTION frame_score_month(day date) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT date_trunc('month', day::timestamp) AT TIME ZONE 'UTC'
$$;

-- Makes the partitions of some months from a day on, and returns how many were new. A month that has rows in
-- frame_score_rest already keeps them there.
CREATE FUNCTION make_frame_score_partitions(first date, months int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    made int := 0;
    lower_end timestamptz;
    upper_end timestamptz;
    partition text;
BEGIN
    FOR step IN 0 .. months - 1 LOOP
        lower_end := frame_score_month((first + make_interval(months => step))::date);
        upper_end := frame_score_month((first + make_interval(months => step + 1))::date);
        partition := 'frame_score_' || to_char(lower_end AT TIME ZONE 'UTC', 'YYYYMM');
        CONTINUE WHEN to_regclass(partition) IS NOT NULL OR EXISTS (
            SELECT FROM frame_score_rest WHERE analysis_time >= lower_end AND analysis_time < upper_end
        );
        EXECUTE format('CREATE TABLE %I PARTITION OF frame_score FOR VALUES FROM (%L) TO (%L)',
                       partition, lower_end, upper_end);
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;

-- Drops the partitions of months that ended before a day, and returns how many there were.
CREATE FUNCTION drop_frame_scores(before date) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    dropped int := 0;
    partition regclass;
BEGIN
    FOR partition IN
        SELECT inhrelid::regclass FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'frame_score'::regclass AND relname ~ '^frame_score_[0-9]{6}$'
          AND right(relname, 6) < to_char(before, 'YYYYMM')
    LOOP
        EXECUTE format('DROP TABLE %s', partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;

REVOKE ALL ON FUNCTION make_frame_score_partitions, drop_frame_scores FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_frame_score_partitions, drop_frame_scores TO fakesieve_app;
"""


def upgrade() -> None:
    """Make the tables and say who may do what with them."""
    for statements in CREATE:
        op.execute(statements)
    op.execute(PARTITIONS)
    # Compressed already: a second try would cost time and gain nothing.
    op.execute("ALTER TABLE patch_map ALTER COLUMN packed SET STORAGE EXTERNAL")
    grant(
        ("analysis", "face_track", "frame_score", "patch_map", "segment", "verdict"), "SELECT, INSERT, DELETE"
    )
    isolate_tenants(("analysis", "face_track", "frame_score", "patch_map", "segment", "verdict"))


def downgrade() -> None:
    """Remove the tables, those that refer to others first."""
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION drop_frame_scores, make_frame_score_partitions, frame_score_month")
