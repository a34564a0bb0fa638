"""All that a policy asks for beside the verdict that holds, and what each worker host scores with."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

FILL = """
UPDATE standing SET peak_frames = analysis.peak_frames, coverage = CASE
    WHEN analysis.total_us = 0 THEN (analysis.faces_scored > 0)::int
    ELSE least(1, analysis.scored_us::double precision / analysis.total_us) END
FROM analysis WHERE analysis.id = standing.analysis_id
"""


def upgrade() -> None:
    """Add the columns; leave out indexes that only slow the writing of verdicts down."""
    op.execute("SELECT set_config('fakesieve.tenant_id', '*', true)")
    op.execute("ALTER TABLE standing ADD COLUMN coverage DOUBLE PRECISION, ADD COLUMN peak_frames BIGINT")
    op.execute(FILL)
    op.execute(
        "ALTER TABLE standing ALTER COLUMN coverage SET NOT NULL, SET (fillfactor = 70),"
        " ADD CONSTRAINT ck_standing_coverage CHECK (coverage BETWEEN 0 AND 1)"
    )
    op.execute("DROP INDEX ix_standing_policy_id, ix_verdict_tenant_id_value_create_time_analysis_id")
    op.execute(
        'ALTER TABLE worker_host ADD COLUMN model_id TEXT COLLATE "C",'
        " ADD COLUMN pipeline_fingerprint TEXT,"
        " ADD CONSTRAINT fk_worker_host_model_id FOREIGN KEY (model_id) REFERENCES model (id)"
        " ON DELETE SET NULL"
    )


def downgrade() -> None:
    """Remove the columns and bring the indexes back."""
    op.execute("ALTER TABLE worker_host DROP COLUMN model_id, DROP COLUMN pipeline_fingerprint")
    op.execute(
        "CREATE INDEX ix_verdict_tenant_id_value_create_time_analysis_id"
        " ON verdict (tenant_id, value, create_time, analysis_id)"
    )
    op.execute("CREATE INDEX ix_standing_policy_id ON standing (policy_id)")
    op.execute("ALTER TABLE standing DROP COLUMN coverage, DROP COLUMN peak_frames, RESET (fillfactor)")
