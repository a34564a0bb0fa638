"""Rights and row-level security, as the revisions set them. What a revision has used must not change here."""

from collections.abc import Sequence

from alembic import op

APP_ROLE = "fakesieve_app"
# The variable of a transaction: whose rows it sees. Unset shows none, '*' is the fleet itself.
_SEEN = "(SELECT current_setting('fakesieve.tenant_id', true))"


def isolate_tenants(tables: Sequence[str], column: str = "tenant_id") -> None:
    """Show rows to their tenant alone. Forced: it holds for the owner of the tables too."""
    for table in tables:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        rule = f"{_SEEN} = '*' OR {column} = {_SEEN}"
        op.execute(f"CREATE POLICY tenant_rows ON {table} USING ({rule}) WITH CHECK ({rule})")


def grant(tables: Sequence[str], rights: str) -> None:
    """Give rights to the role that everything but migrations logs in with.

    Partitions get none of their own, as the policy of their parent holds only for who comes through it.
    """
    for table in tables:
        op.execute(f"GRANT {rights} ON {table} TO {APP_ROLE}")
