"""Why samples of a video were not decoded."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# No row is rewritten or read: the check holds of every row there is.
UPGRADE = """
ALTER TABLE analysis
    ADD COLUMN missing JSONB,
    ADD CONSTRAINT ck_analysis_missing CHECK (jsonb_typeof(missing) = 'array')
"""

DOWNGRADE = "ALTER TABLE analysis DROP COLUMN missing"


def upgrade() -> None:
    """Make the column; of analyses that were made before, the causes are not known."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Remove it; results say again that the causes were not kept."""
    op.execute(DOWNGRADE)
