"""An index that searches by the name of a file walk: what stands behind the last slash of an object's key."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

CREATE = """
CREATE INDEX ix_job_file ON job (tenant_id, substring(source_key FROM '[^/]*$'));
"""


def upgrade() -> None:
    """Make the index."""
    op.execute(CREATE)


def downgrade() -> None:
    """Remove the index."""
    op.execute("DROP INDEX ix_job_file")
