"""Indexes that lists of jobs walk: those that have ended, those without a result, and those of one object."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

CREATE = """
CREATE INDEX ix_job_ended ON job (tenant_id, create_time, id) WHERE end_time IS NOT NULL;
CREATE INDEX ix_job_fault ON job (tenant_id, create_time, id) WHERE error_reason IS NOT NULL;
CREATE INDEX ix_job_tenant_id_source_key ON job (tenant_id, source_key);
"""


def upgrade() -> None:
    """Make the indexes."""
    op.execute(CREATE)


def downgrade() -> None:
    """Remove the indexes."""
    op.execute("DROP INDEX ix_job_tenant_id_source_key, ix_job_fault, ix_job_ended")
