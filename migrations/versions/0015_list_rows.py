"""What a line of a list shows, and what filters ask of faces and spans, in the row that lists walk."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_INDEXES = "ix_standing_time, ix_standing_verdict, ix_standing_outcome, ix_standing_score"

COLUMNS = """
ALTER TABLE standing
    ADD COLUMN verdict_reasons TEXT[],
    ADD COLUMN video_id TEXT COLLATE "C",
    ADD COLUMN model_id TEXT COLLATE "C",
    ADD COLUMN pipeline_fingerprint TEXT,
    ADD COLUMN engine TEXT,
    ADD COLUMN precision TEXT,
    ADD COLUMN score_raw DOUBLE PRECISION,
    ADD COLUMN score_calibrated DOUBLE PRECISION,
    ADD COLUMN score_low DOUBLE PRECISION,
    ADD COLUMN score_high DOUBLE PRECISION,
    ADD COLUMN scored_us BIGINT,
    ADD COLUMN total_us BIGINT,
    ADD COLUMN faces_scored BIGINT,
    ADD COLUMN reasons TEXT[],
    ADD COLUMN warnings TEXT[],
    ADD COLUMN track_count BIGINT,
    ADD COLUMN suspicious_count BIGINT,
    ADD COLUMN span_regions TEXT[],
    ADD COLUMN region_peaks DOUBLE PRECISION[],
    ADD COLUMN patch_area_max DOUBLE PRECISION
"""

# Of what is above an analysis there may be nothing; it is gathered once for all, and not looked up by row.
FILL = """
WITH faces AS (
    SELECT analysis_id, count(*) AS track_count,
        max((regions ->> 'left_eye')::double precision) AS left_eye,
        max((regions ->> 'right_eye')::double precision) AS right_eye,
        max((regions ->> 'nose')::double precision) AS nose,
        max((regions ->> 'mouth')::double precision) AS mouth,
        max((regions ->> 'cheeks_jaw')::double precision) AS cheeks_jaw,
        max((regions ->> 'forehead')::double precision) AS forehead,
        max((regions ->> 'background')::double precision) AS background
    FROM face_track GROUP BY analysis_id
), spans AS (
    SELECT analysis_id, count(*) AS suspicious_count FROM segment WHERE kind = 'suspicious'
    GROUP BY analysis_id
), named AS (
    SELECT analysis_id, array_agg(region ORDER BY array_position(
        ARRAY['left_eye', 'right_eye', 'nose', 'mouth', 'cheeks_jaw', 'forehead', 'background'], region
    )) AS span_regions
    FROM (
        SELECT DISTINCT analysis_id, unnest(regions) AS region FROM segment WHERE kind = 'suspicious'
    ) AS each
    GROUP BY analysis_id
), areas AS (
    SELECT analysis_id, max(patch_area) AS patch_area_max FROM frame_score GROUP BY analysis_id
)
UPDATE standing SET
    verdict_reasons = coalesce(verdict.reasons, '{}'),
    video_id = analysis.video_id,
    model_id = analysis.model_id,
    pipeline_fingerprint = analysis.pipeline_fingerprint,
    engine = analysis.engine,
    precision = analysis.precision,
    score_raw = analysis.score_raw,
    score_calibrated = analysis.score_calibrated,
    score_low = analysis.score_low,
    score_high = analysis.score_high,
    scored_us = analysis.scored_us,
    total_us = analysis.total_us,
    faces_scored = analysis.faces_scored,
    reasons = analysis.reasons,
    warnings = analysis.warnings,
    track_count = coalesce(faces.track_count, 0),
    suspicious_count = coalesce(spans.suspicious_count, 0),
    span_regions = coalesce(named.span_regions, '{}'),
    region_peaks = CASE
        WHEN coalesce(left_eye, right_eye, nose, mouth, cheeks_jaw, forehead, background) IS NOT NULL
        THEN ARRAY[left_eye, right_eye, nose, mouth, cheeks_jaw, forehead, background] END,
    patch_area_max = areas.patch_area_max
FROM analysis
JOIN standing AS held ON held.analysis_id = analysis.id
LEFT JOIN verdict ON verdict.analysis_id = analysis.id AND verdict.policy_id = held.policy_id
LEFT JOIN faces ON faces.analysis_id = analysis.id
LEFT JOIN spans ON spans.analysis_id = analysis.id
LEFT JOIN named ON named.analysis_id = analysis.id
LEFT JOIN areas ON areas.analysis_id = analysis.id
WHERE standing.analysis_id = analysis.id
"""

REQUIRED = (
    "verdict_reasons",
    "video_id",
    "model_id",
    "pipeline_fingerprint",
    "engine",
    "precision",
    "scored_us",
    "total_us",
    "faces_scored",
    "reasons",
    "warnings",
    "track_count",
    "suspicious_count",
    "span_regions",
)

CREATE_INDEXES = """
CREATE INDEX ix_standing_time ON standing (tenant_id, create_time, analysis_id, score, score_raw);
CREATE INDEX ix_standing_verdict ON standing
    (tenant_id, verdict, create_time, analysis_id, score, score_raw);
CREATE INDEX ix_standing_outcome ON standing (tenant_id, outcome, create_time, analysis_id);
CREATE INDEX ix_standing_score ON standing
    (tenant_id, coalesce(score, (-1)::double precision), analysis_id);
CREATE INDEX ix_standing_video_id ON standing (video_id);
CREATE INDEX ix_standing_suspicious ON standing (tenant_id, create_time, analysis_id)
    WHERE suspicious_count > 0;
"""
# With the tenant, which row-level security asks for: places are counted without looking at a row of them.
SOURCE_INDEX = """
DROP INDEX ix_source_video_id;
CREATE INDEX ix_source_video_id_tenant_id ON source (video_id, tenant_id);
"""
FORMER_INDEXES = """
DROP INDEX ix_source_video_id_tenant_id;
CREATE INDEX ix_source_video_id ON source (video_id);
CREATE INDEX ix_standing_time ON standing (tenant_id, create_time, analysis_id);
CREATE INDEX ix_standing_verdict ON standing (tenant_id, verdict, create_time, analysis_id);
"""


def upgrade() -> None:
    """Add the columns and fill them; the indexes are built anew, as every row moves."""
    op.execute("SELECT set_config('fakesieve.tenant_id', '*', true)")
    op.execute(
        "ALTER TABLE segment ADD CONSTRAINT ck_segment_regions_of_suspicious"
        " CHECK (kind = 'suspicious' OR cardinality(regions) = 0)"
    )
    op.execute(COLUMNS)
    op.execute(f"DROP INDEX {_INDEXES}")
    op.execute(FILL)
    # What deferred checks of the moved rows are still to do keeps the table from being altered.
    op.execute("SET CONSTRAINTS ALL IMMEDIATE")
    changes = ", ".join(f"ALTER COLUMN {name} SET NOT NULL" for name in REQUIRED)
    op.execute(f"ALTER TABLE standing {changes}")
    op.execute(CREATE_INDEXES)
    op.execute(SOURCE_INDEX)


def downgrade() -> None:
    """Remove the columns: lists read the other tables again."""
    op.execute("DROP INDEX ix_standing_suspicious, ix_standing_video_id")
    op.execute("DROP INDEX ix_standing_time, ix_standing_verdict")
    op.execute(FORMER_INDEXES)
    columns = (line.split()[2] for line in COLUMNS.splitlines() if "ADD COLUMN" in line)
    op.execute("ALTER TABLE standing " + ", ".join(f"DROP COLUMN {name}" for name in columns))
    op.execute("ALTER TABLE segment DROP CONSTRAINT ck_segment_regions_of_suspicious")
