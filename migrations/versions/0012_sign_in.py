"""Signing in by an identity provider, and indexes for what waits for a blind look and for old answers."""

from alembic import op

from migrations.tenancy import APP_ROLE, FLEET_ROLE

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

INDEXES = """
CREATE INDEX ix_review_item_blind ON review_item (analysis_id) WHERE is_blind AND state <> 'decided';
CREATE INDEX ix_idempotent_answer_create_time ON idempotent_answer (create_time);
"""

FIND_TENANT = """
-- Whose people an identity provider signs in: asked by name, before the tenant is known.
CREATE FUNCTION find_open_tenant(of_name text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    seen text := current_setting('fakesieve.tenant_id', true);
    found text;
BEGIN
    PERFORM set_config('fakesieve.tenant_id', '*', true);
    SELECT tenant.id INTO found FROM tenant WHERE tenant.name = of_name AND tenant.is_active;
    PERFORM set_config('fakesieve.tenant_id', coalesce(seen, ''), true);
    RETURN found;
END $$;
"""


def upgrade() -> None:
    """Make the indexes and the function."""
    op.execute(INDEXES)
    op.execute(FIND_TENANT)
    op.execute("REVOKE ALL ON FUNCTION find_open_tenant FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION find_open_tenant TO {FLEET_ROLE}, {APP_ROLE}")


def downgrade() -> None:
    """Remove them."""
    op.execute("DROP FUNCTION find_open_tenant")
    op.execute("DROP INDEX ix_idempotent_answer_create_time, ix_review_item_blind")
