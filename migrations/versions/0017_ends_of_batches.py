"""Why a batch ended, and an end to the table of marks of sweeps, which stand in the object store.

A batch ends by its jobs, by a caller, by its failure rate, or because its submission was cut off.
"""

from alembic import op

from migrations.tenancy import grant_rights, isolate_rows

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# Both hold of every row there is; no row is rewritten, and each is read once to see that.
UPGRADE = """
ALTER TABLE batch
    ADD COLUMN end_reason VARCHAR(40),
    ADD CONSTRAINT ck_batch_end_reason CHECK (end_reason IS NULL OR end_time IS NOT NULL),
    ADD CONSTRAINT ck_batch_batch_end CHECK (end_reason IN ('jobs_ended', 'cancelled', 'failure_rate',
        'submission_cut_off'))
"""

SWEEP = """
CREATE TABLE sweep (
    tenant_id TEXT COLLATE "C" NOT NULL,
    bucket TEXT NOT NULL,
    prefix TEXT NOT NULL,
    watermark TIMESTAMP WITH TIME ZONE NOT NULL,
    update_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_sweep PRIMARY KEY (tenant_id, bucket, prefix),
    CONSTRAINT fk_sweep_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE RESTRICT
)
"""


def upgrade() -> None:
    """Add the column, null for batches that have ended; drop the table, which no release has ever filled."""
    op.execute(UPGRADE)
    op.execute("DROP TABLE sweep")


def downgrade() -> None:
    """Remove the column and make the table again."""
    op.execute("ALTER TABLE batch DROP COLUMN end_reason")
    op.execute(SWEEP)
    grant_rights(("sweep",), "SELECT, INSERT, UPDATE, DELETE")
    isolate_rows(("sweep",))
