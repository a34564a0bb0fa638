"""Whether the database itself keeps tenants apart for the role that is logged in."""

from sqlalchemy import text

from fakesieve.database import Database
from fakesieve.errors import SetupRefused
from fakesieve.reasons import Reason

_UNBOUND = text(
    "SELECT current_user, relname FROM pg_class WHERE relkind IN ('r', 'p') AND relrowsecurity"
    " AND NOT row_security_active(oid) ORDER BY relname LIMIT 1"
)


def check_row_security(database: Database) -> None:
    """Raise SetupRefused for a role that sees the rows of all tenants whatever it asks for.

    Superusers and roles with BYPASSRLS do. Many questions of the API name no tenant: they rely on the
    policies of the tables.
    """
    with database.transaction(tenant_id=None) as session:
        found = session.execute(_UNBOUND).one_or_none()
    if found is not None:
        role, table = found
        raise SetupRefused(
            Reason.INVALID_SETTINGS,
            f"the role {role} sees rows of all tenants: row security of {table} does not bind it",
            "log in as fakesieve_app: FAKESIEVE_DATABASE_URL",
        )
