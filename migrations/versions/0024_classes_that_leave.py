"""Since when a retention class is being removed, while its videos leave it in steps."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

UPGRADE = "ALTER TABLE retention_class ADD COLUMN remove_time TIMESTAMP WITH TIME ZONE"
# The release before knows of no class that is being removed: what is left of the removal is done at once.
FINISH = """
UPDATE video SET retention_class = NULL FROM retention_class
WHERE retention_class.tenant_id = video.tenant_id AND retention_class.name = video.retention_class
    AND retention_class.remove_time IS NOT NULL;
DELETE FROM retention_class WHERE remove_time IS NOT NULL
"""


def upgrade() -> None:
    """Add the column. A process of the release before keeps the videos of such a class without an end.

    It erases nothing by it, as the class is then given the longest time. That process may still give the
    class to a video, which the removal takes back, or a shorter time: then it erases by that until it ends.
    """
    op.execute(UPGRADE)


def downgrade() -> None:
    """End the removals that are under way, and remove the column."""
    op.execute("SELECT set_config('fakesieve.tenant_id', '*', true)")
    op.execute(FINISH)
    # What deferred checks of these rows are still to do keeps the table from being altered.
    op.execute("SET CONSTRAINTS ALL IMMEDIATE")
    op.execute("ALTER TABLE retention_class DROP COLUMN remove_time")
