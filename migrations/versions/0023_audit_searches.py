"""Indexes for who asks the audit log by person, by kind of act and by time."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

CREATE = """
CREATE INDEX ix_audit_log_tenant_id_actor_sequence ON audit_log (tenant_id, actor, sequence);
CREATE INDEX ix_audit_log_tenant_id_action_sequence ON audit_log (tenant_id, action, sequence);
CREATE INDEX ix_audit_log_tenant_id_create_time ON audit_log (tenant_id, create_time);
"""
DROP = """
DROP INDEX ix_audit_log_tenant_id_create_time, ix_audit_log_tenant_id_action_sequence,
    ix_audit_log_tenant_id_actor_sequence
"""


def upgrade() -> None:
    """Make the indexes."""
    op.execute(CREATE)


def downgrade() -> None:
    """Remove the indexes."""
    op.execute(DROP)
