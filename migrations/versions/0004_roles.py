"""Two roles in place of one: the fleet, which sees all tenants, and the one that answers requests.

Needs the role fakesieve_fleet, made by whoever sets up the server: fakesieve/embedded/postgres.py shows how.
"""

from alembic import op

from migrations.tenancy import APP_ROLE, FLEET_ROLE, isolate_rows, isolate_tenants

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# What the fleet may do with each table, which is what fakesieve_app could do so far.
_ALL = "SELECT, INSERT, UPDATE, DELETE"
FLEET_RIGHTS = {
    **dict.fromkeys(("tenant", "api_key", "video", "source", "sweep"), _ALL),
    **dict.fromkeys(("model", "policy"), "SELECT, INSERT"),
    "alembic_version": "SELECT",
    **dict.fromkeys(
        ("analysis", "face_track", "frame_score", "patch_map", "segment", "verdict"), "SELECT, INSERT, DELETE"
    ),
    **dict.fromkeys(("batch", "job", "shard", "outbox", "attempt", "worker_host", "usage"), _ALL),
}
# What whoever answers requests has no business with: quotas, results and bills are the fleet's to write.
TAKEN_FROM_APP = {
    "tenant": "INSERT, UPDATE, DELETE",
    **dict.fromkeys(("analysis", "face_track", "frame_score", "patch_map", "segment"), "INSERT"),
    "worker_host": "INSERT, UPDATE, DELETE",
    "usage": "INSERT, UPDATE, DELETE",
}
_SHARED = {"model", "policy", "alembic_version", "worker_host"}
ISOLATED = tuple(table for table in FLEET_RIGHTS if table not in {"tenant", *_SHARED})

FIND_KEY = """
-- Whose key it is: asked before the tenant is known, so it looks at the keys of all. It answers to the hash
-- of a key that is held, and says nothing of any other.
CREATE FUNCTION find_api_key(sha256 text) RETURNS TABLE (key_id text, of_tenant text, key_scopes text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    seen text := current_setting('fakesieve.tenant_id', true);
BEGIN
    PERFORM set_config('fakesieve.tenant_id', '*', true);
    RETURN QUERY
        SELECT api_key.id, api_key.tenant_id, api_key.scopes
        FROM api_key JOIN tenant ON tenant.id = api_key.tenant_id
        WHERE api_key.key_sha256 = sha256 AND api_key.revoke_time IS NULL AND tenant.is_active
          AND (api_key.expire_time IS NULL OR api_key.expire_time > now());
    PERFORM set_config('fakesieve.tenant_id', coalesce(seen, ''), true);
END $$;
"""


def upgrade() -> None:
    """Give the fleet a role of its own, and take from the other what it does not need."""
    for table, rights in FLEET_RIGHTS.items():
        op.execute(f"GRANT {rights} ON {table} TO {FLEET_ROLE}")
    for table, rights in TAKEN_FROM_APP.items():
        op.execute(f"REVOKE {rights} ON {table} FROM {APP_ROLE}")
    for table in ("tenant", *ISOLATED):
        op.execute(f"DROP POLICY tenant_rows ON {table}")
    isolate_rows(("tenant",), "id")
    isolate_rows(ISOLATED)
    upkeep = "make_frame_score_partitions, drop_frame_scores"
    op.execute(f"REVOKE EXECUTE ON FUNCTION {upkeep} FROM {APP_ROLE}")
    op.execute(f"GRANT EXECUTE ON FUNCTION {upkeep} TO {FLEET_ROLE}")
    op.execute(FIND_KEY)
    op.execute("REVOKE ALL ON FUNCTION find_api_key FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION find_api_key TO {FLEET_ROLE}, {APP_ROLE}")


def downgrade() -> None:
    """Give everything back to the one role."""
    op.execute("DROP FUNCTION find_api_key")
    upkeep = "make_frame_score_partitions, drop_frame_scores"
    op.execute(f"REVOKE EXECUTE ON FUNCTION {upkeep} FROM {FLEET_ROLE}")
    op.execute(f"GRANT EXECUTE ON FUNCTION {upkeep} TO {APP_ROLE}")
    for table in ("tenant", *ISOLATED):
        op.execute(f"DROP POLICY tenant_rows ON {table}")
        op.execute(f"DROP POLICY fleet_rows ON {table}")
    isolate_tenants(("tenant",), "id")
    isolate_tenants(ISOLATED)
    for table, rights in TAKEN_FROM_APP.items():
        op.execute(f"GRANT {rights} ON {table} TO {APP_ROLE}")
    for table in FLEET_RIGHTS:
        op.execute(f"REVOKE ALL ON {table} FROM {FLEET_ROLE}")
