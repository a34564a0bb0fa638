"""Why a batch ended: by its jobs, by a caller, by its failure rate, or because its submission was cut off."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# Both hold of every row there is, so that nothing is read to check them.
UPGRADE = """
ALTER TABLE batch
    ADD COLUMN end_reason VARCHAR(40),
    ADD CONSTRAINT ck_batch_end_reason CHECK (end_reason IS NULL OR end_time IS NOT NULL),
    ADD CONSTRAINT ck_batch_batch_end CHECK (end_reason IN ('jobs_ended', 'cancelled', 'failure_rate',
        'submission_cut_off'))
"""


def upgrade() -> None:
    """Add the column; of batches that have ended it stays null."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Remove it."""
    op.execute("ALTER TABLE batch DROP COLUMN end_reason")
