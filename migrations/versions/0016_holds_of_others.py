"""Whether another tenant keeps an object for a legal hold, asked before a shared one is removed."""

from alembic import op

from migrations.tenancy import APP_ROLE, FLEET_ROLE

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

CREATE = """
CREATE FUNCTION is_held_by_another(of_tenant text, of_bucket text, of_key text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    seen text := current_setting('fakesieve.tenant_id', true);
    found boolean;
BEGIN
    PERFORM set_config('fakesieve.tenant_id', '*', true);
    found := EXISTS (
        SELECT FROM source JOIN video ON video.id = source.video_id
        WHERE source.bucket = of_bucket AND source.key = of_key AND source.tenant_id <> of_tenant
          AND video.hold_time IS NOT NULL
    );
    PERFORM set_config('fakesieve.tenant_id', coalesce(seen, ''), true);
    RETURN found;
END $$;
"""


def upgrade() -> None:
    """Make the function: it says yes or no, and nothing of whose hold it is."""
    op.execute(CREATE)
    op.execute("REVOKE ALL ON FUNCTION is_held_by_another FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION is_held_by_another TO {FLEET_ROLE}, {APP_ROLE}")


def downgrade() -> None:
    """Remove it."""
    op.execute("DROP FUNCTION is_held_by_another")
