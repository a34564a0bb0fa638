"""What ended last, for a monitor and after a bad night; and what lists of jobs are still to bring."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE INDEX ix_job_end_time ON job (end_time) WHERE end_time IS NOT NULL;

ALTER TABLE batch
    ADD COLUMN places INTEGER DEFAULT 0 NOT NULL,
    ADD COLUMN places_until TIMESTAMP WITH TIME ZONE,
    ADD CONSTRAINT ck_batch_places CHECK (places >= 0);
CREATE INDEX ix_batch_places ON batch (tenant_id) WHERE places > 0;
"""

DOWNGRADE = """
ALTER TABLE batch DROP COLUMN places_until, DROP COLUMN places;
DROP INDEX ix_job_end_time;
"""


def upgrade() -> None:
    """Make index and columns; jobs can be read meanwhile, and not written: seconds for a million of them."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Remove them; an older release counts the jobs that are there."""
    op.execute(DOWNGRADE)
