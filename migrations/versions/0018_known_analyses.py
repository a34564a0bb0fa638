"""Analyses whose truth is known, and items that show one of them to one reviewer."""

from alembic import op

from migrations.tenancy import grant_rights, isolate_rows

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE review_queue
    ADD COLUMN known_share DOUBLE PRECISION DEFAULT 0 NOT NULL,
    ADD CONSTRAINT ck_review_queue_known_share CHECK (known_share BETWEEN 0 AND 0.2);

ALTER TABLE review_item
    ADD COLUMN made_for TEXT,
    ADD CONSTRAINT ck_review_item_made_for CHECK (made_for IS NULL
        OR (coalesce(claimed_by, made_for) = made_for AND coalesce(decided_by, made_for) = made_for));
DROP INDEX uq_review_item_first;
CREATE UNIQUE INDEX uq_review_item_first ON review_item (queue_id, analysis_id)
    WHERE kind = 'first' AND made_for IS NULL;
CREATE UNIQUE INDEX uq_review_item_made_for ON review_item (made_for, analysis_id)
    WHERE kind = 'first' AND made_for IS NOT NULL;

CREATE TABLE known_analysis (
    tenant_id TEXT COLLATE "C" NOT NULL,
    analysis_id TEXT COLLATE "C" NOT NULL,
    truth VARCHAR(40) NOT NULL,
    note TEXT NOT NULL,
    declared_by TEXT NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_known_analysis PRIMARY KEY (analysis_id),
    CONSTRAINT fk_known_analysis_analysis_id FOREIGN KEY(analysis_id) REFERENCES analysis (id)
        ON DELETE CASCADE,
    CONSTRAINT ck_known_analysis_truth CHECK (truth IN ('confirmed_manipulated', 'confirmed_authentic')),
    CONSTRAINT ck_known_analysis_note CHECK (length(note) BETWEEN 1 AND 1000)
);
CREATE INDEX ix_known_analysis_tenant_id_create_time_analysis_id
    ON known_analysis (tenant_id, create_time, analysis_id);
"""

DOWNGRADE = """
DROP TABLE known_analysis;
DROP INDEX uq_review_item_made_for, uq_review_item_first;
DELETE FROM review_item WHERE made_for IS NOT NULL;
ALTER TABLE review_item DROP COLUMN made_for;
CREATE UNIQUE INDEX uq_review_item_first ON review_item (queue_id, analysis_id) WHERE kind = 'first';
ALTER TABLE review_queue DROP COLUMN known_share;
"""


def upgrade() -> None:
    """Make the columns, the table, and room for several items of one analysis in one queue."""
    op.execute(UPGRADE)
    grant_rights(("known_analysis",), "SELECT, INSERT, DELETE")
    isolate_rows(("known_analysis",))


def downgrade() -> None:
    """Remove them, with what was said of known items: an older release would take it for decisions."""
    op.execute("SELECT set_config('fakesieve.tenant_id', '*', true)")
    op.execute(DOWNGRADE)
