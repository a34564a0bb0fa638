"""Why samples of a video were not decoded."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# No row is rewritten, and each is read once, for the check: under a second for a million analyses, in which
# nobody reads or writes the table.
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
