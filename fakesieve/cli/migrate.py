"""``fakesieve migrate``: bring the database to this release."""

import os
from typing import Annotated

import typer

from fakesieve.errors import SetupRefused
from fakesieve.reasons import Reason
from fakesieve.records.revision import HEAD, migrate_database, plan_migration

# The role that owns the tables has an address of its own, which no process of the fleet should know.
URL_VARIABLES = ("FAKESIEVE_OWNER_DATABASE_URL", "FAKESIEVE_DATABASE_URL")


def migrate(
    *,
    database_url: Annotated[
        str | None,
        typer.Option(
            help=f"Address of the role that owns the database (default: {' or '.join(URL_VARIABLES)})."
        ),
    ] = None,
    to: Annotated[str, typer.Option(help="Revision to go to, forward or back; base removes all.")] = HEAD,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say where it would go, and change nothing.")
    ] = False,
) -> None:
    """Bring the database to this release, or to the revision named.

    It waits for no lock longer than 4 s: if a table is busy, nothing has changed and it may be run again.
    """
    url = database_url or next((os.environ[name] for name in URL_VARIABLES if os.environ.get(name)), None)
    if url is None:
        seen = f"neither --database-url is given nor {' or '.join(URL_VARIABLES)} set"
        raise SetupRefused(
            Reason.INVALID_SETTINGS, seen, "give the address of the role that owns the database"
        )
    done = plan_migration(url, to) if dry_run else migrate_database(url, to)
    if done.before == done.after:
        typer.echo(f"database is at revision {done.after or 'none'}; nothing to do")
    else:
        verb = "would go" if dry_run else "went"
        typer.echo(f"database {verb} from revision {done.before or 'none'} to {done.after or 'none'}")
