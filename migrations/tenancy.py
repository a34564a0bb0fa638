"""Rights and row-level security, as the revisions set them. What a revision has used must not change here.

Two roles log in. ``fakesieve_fleet`` does the work and may look at all tenants; ``fakesieve_app`` answers
requests and sees the one tenant that its transaction names.
"""

from collections.abc import Sequence

from alembic import op

FLEET_ROLE, APP_ROLE = "fakesieve_fleet", "fakesieve_app"
# The variable of a transaction: whose rows it sees. Unset shows none, '*' is the fleet itself.
_SEEN = "(SELECT current_setting('fakesieve.tenant_id', true))"


def isolate_rows(tables: Sequence[str], column: str = "tenant_id") -> None:
    """Show rows to the tenant that a transaction names, and all of them to the fleet that asks for all.

    Forced: it holds for the owner of the tables too. The rule for the fleet does not even exist for the
    other role, so no value of the variable opens the rows of all tenants to it.
    """
    for table in tables:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        own, every = f"{column} = {_SEEN}", f"{_SEEN} = '*'"
        op.execute(f"CREATE POLICY tenant_rows ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(
            f"CREATE POLICY fleet_rows ON {table} TO {FLEET_ROLE}, CURRENT_USER"
            f" USING ({every}) WITH CHECK ({every})"
        )


def grant_rights(tables: Sequence[str], rights: str, *, app: str | None = None) -> None:
    """Give rights to the fleet, and to the role that answers requests the same or those of ``app``.

    Partitions get none of their own, as the policy of their parent holds only for who comes through it.
    """
    for table in tables:
        op.execute(f"GRANT {rights} ON {table} TO {FLEET_ROLE}")
        op.execute(f"GRANT {app or rights} ON {table} TO {APP_ROLE}")


def isolate_tenants(tables: Sequence[str], column: str = "tenant_id") -> None:
    """Show rows to their tenant alone, as revisions before 0004 did it: '*' was everybody's to say."""
    for table in tables:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        rule = f"{_SEEN} = '*' OR {column} = {_SEEN}"
        op.execute(f"CREATE POLICY tenant_rows ON {table} USING ({rule}) WITH CHECK ({rule})")


def grant(tables: Sequence[str], rights: str) -> None:
    """Give rights to the one role that everything but migrations logged in with before revision 0004."""
    for table in tables:
        op.execute(f"GRANT {rights} ON {table} TO {APP_ROLE}")
