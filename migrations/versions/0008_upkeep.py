"""What the reconciler finds along an index: ended jobs with work to close, and evidence to drop."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

UPGRADE = (
    "ALTER TABLE job ADD COLUMN has_open_shards BOOLEAN DEFAULT false NOT NULL",
    """
UPDATE job SET has_open_shards = true
WHERE state IN ('failed', 'cancelled', 'expired')
  AND EXISTS (SELECT FROM shard WHERE shard.job_id = job.id AND shard.state IN ('pending', 'leased'))
""",
    "CREATE INDEX ix_job_open_shards ON job (end_time) WHERE has_open_shards",
    "DROP INDEX ix_job_unfinished",
    "CREATE INDEX ix_shard_evidence ON shard (end_time) WHERE evidence IS NOT NULL",
)
DOWNGRADE = (
    "DROP INDEX ix_shard_evidence",
    "CREATE INDEX ix_job_unfinished ON job (end_time) WHERE state IN ('failed', 'cancelled', 'expired')",
    "DROP INDEX ix_job_open_shards",
    "ALTER TABLE job DROP COLUMN has_open_shards",
)


def upgrade() -> None:
    """Note which ended jobs have work to close, and index what is looked for."""
    op.execute("SELECT set_config('fakesieve.tenant_id', '*', true)")
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Look through the jobs of the last hour again."""
    for statement in DOWNGRADE:
        op.execute(statement)
