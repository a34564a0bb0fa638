"""Which policy each model brings, so that it can be shown, applied and gone back to."""

from alembic import op

from migrations.tenancy import grant_rights

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

CREATE = """
CREATE TABLE model_policy (
    model_id TEXT COLLATE "C" NOT NULL,
    policy_id TEXT COLLATE "C" NOT NULL,
    update_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_model_policy PRIMARY KEY (model_id),
    CONSTRAINT fk_model_policy_model_id FOREIGN KEY(model_id) REFERENCES model (id) ON DELETE CASCADE,
    CONSTRAINT fk_model_policy_policy_id FOREIGN KEY(policy_id) REFERENCES policy (id) ON DELETE RESTRICT
);
"""
# A model's own policy has its name, and its newest verdicts say which of that name: weights of one name bring
# others each. Where a tenant took the name for one of its own, that is not it. A host that runs says it again
# with its next beat; this is for models that no host runs any more.
FILL = """
INSERT INTO model_policy (model_id, policy_id)
SELECT DISTINCT ON (model.id) model.id, policy.id
FROM policy
    JOIN model ON model.name = policy.name
    JOIN verdict ON verdict.policy_id = policy.id
    JOIN analysis ON analysis.id = verdict.analysis_id AND analysis.model_id = model.id
WHERE NOT EXISTS (SELECT FROM tenant_policy WHERE tenant_policy.policy_id = policy.id)
ORDER BY model.id, analysis.create_time DESC, analysis.id DESC
"""


# Where a tenant took the name of a model, one label was two rules, as what a model brings is version 1. The
# tenant's goes behind all versions of that name. Rows keep their ids, so all that names them shows the new
# label; entries of the audit log stay as they were written.
RENUMBER = """
WITH taken AS (
    SELECT policy.id,
        newest.version + row_number() OVER (PARTITION BY policy.name ORDER BY policy.id) AS version
    FROM policy JOIN (SELECT name, max(version) AS version FROM policy GROUP BY name) AS newest USING (name)
    WHERE policy.version = 1 AND EXISTS (SELECT FROM model WHERE model.name = policy.name)
        AND EXISTS (SELECT FROM tenant_policy WHERE tenant_policy.policy_id = policy.id)
), renamed AS (
    UPDATE policy SET version = taken.version FROM taken WHERE policy.id = taken.id
)
UPDATE tenant_policy SET version = taken.version FROM taken WHERE tenant_policy.policy_id = taken.id
"""


def upgrade() -> None:
    """Make the table, with what verdicts tell of models."""
    op.execute(CREATE)
    grant_rights(("model_policy",), "SELECT, INSERT, UPDATE", app="SELECT")
    op.execute("SELECT set_config('fakesieve.tenant_id', '*', true)")
    op.execute(FILL)
    op.execute(RENUMBER)


def downgrade() -> None:
    """Remove the table."""
    op.execute("DROP TABLE model_policy")
