"""Which policy the verdicts of a tenant stand by that its last change over all of history did not move."""

from alembic import op

from migrations.tenancy import grant_rights, isolate_rows

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

# 0 is before the first use: all rows there are were written by releases that wrote each of them at a change.
# What such a release writes while it still runs is null, new or changed: a row then stands by the policy that
# it names. A column that is not in an UPDATE keeps its value, so a trigger takes it away.
UPGRADE = """
ALTER TABLE standing ADD COLUMN use_id BIGINT DEFAULT 0;
ALTER TABLE standing ALTER COLUMN use_id DROP DEFAULT;

CREATE TABLE policy_ruling (
    tenant_id TEXT COLLATE "C" NOT NULL,
    use_id BIGINT NOT NULL,
    policy_id TEXT COLLATE "C" NOT NULL,
    CONSTRAINT pk_policy_ruling PRIMARY KEY (tenant_id),
    CONSTRAINT fk_policy_ruling_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE RESTRICT,
    CONSTRAINT fk_policy_ruling_policy_id FOREIGN KEY(policy_id) REFERENCES policy (id) ON DELETE RESTRICT
);

CREATE FUNCTION forget_use() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    NEW.use_id := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER forget_use BEFORE UPDATE OF policy_id ON standing FOR EACH ROW
    WHEN (NEW.policy_id <> OLD.policy_id AND NEW.use_id = OLD.use_id) EXECUTE FUNCTION forget_use();
"""
# The release before reads the verdict of the policy that the row names.
NAME_THE_POLICY = """
WITH ruled AS (
    UPDATE standing SET policy_id = policy_ruling.policy_id FROM policy_ruling
    WHERE policy_ruling.tenant_id = standing.tenant_id AND standing.use_id < policy_ruling.use_id
        AND standing.policy_id <> policy_ruling.policy_id
    RETURNING standing.tenant_id, analysis_id, standing.policy_id, verdict, score, verdict_reasons
)
INSERT INTO verdict (tenant_id, analysis_id, policy_id, value, score_used, reasons)
SELECT tenant_id, analysis_id, policy_id, verdict, score, verdict_reasons FROM ruled
ON CONFLICT DO NOTHING
"""


def upgrade() -> None:
    """Make column and table; no row is rewritten or read."""
    op.execute(UPGRADE)
    grant_rights(("policy_ruling",), "SELECT, INSERT, UPDATE")
    isolate_rows(("policy_ruling",))


def downgrade() -> None:
    """Write each row that a ruling stands for, and remove both."""
    op.execute("SELECT set_config('fakesieve.tenant_id', '*', true)")
    op.execute(NAME_THE_POLICY)
    # What deferred checks of these rows are still to do keeps the table from being altered.
    op.execute("SET CONSTRAINTS ALL IMMEDIATE")
    op.execute("DROP TRIGGER forget_use ON standing")
    op.execute("DROP FUNCTION forget_use")
    op.execute("ALTER TABLE standing DROP COLUMN use_id")
    op.execute("DROP TABLE policy_ruling")
