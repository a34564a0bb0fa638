"""A whole fleet on one machine: three servers, relay, reconciler, sender, one worker host and the API."""

import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fakesieve.database import open_database
from fakesieve.embedded.ports import HOST, keep_ports, number_ports
from fakesieve.embedded.postgres import APP_ROLE, OWNER_ROLE, PostgresServer
from fakesieve.embedded.program import Program
from fakesieve.embedded.run_folder import MARK, RunFolder
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.embedded.secret import keep_secrets, write_private
from fakesieve.embedded.server import Server
from fakesieve.embedded.valkey import ValkeyServer
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.records.revision import migrate_database
from fakesieve.records.tenants import add_places, create_key, ensure_tenant, find_caller
from fakesieve.scopes import ALL_SCOPES
from fakesieve.settings import GIVE_BACK_S, Settings
from fakesieve.supervise import Supervisor

BUCKET, TENANT = "videos", "default"
API = "api"
METRICS_PORT = "FAKESIEVE_METRICS_PORT"
# The tenant of a machine of one's own may name whatever lies in its bucket.
PLACES = (f"s3://{BUCKET}/",)
_DRAIN = "FAKESIEVE_DRAIN_S"
# Nobody waits behind a start. What has a table locked then is upkeep of the server, which lets go of it soon.
_LOCK_MS = 60_000
# For a worker that has given everything back, or has not and ends all the same, to end its other processes.
_MARGIN_S = 20.0


@dataclass(frozen=True)
class Fleet:
    """What one folder runs: the servers, and by role the command lines of what works with them."""

    folder: RunFolder
    commands: Mapping[str, tuple[str, ...]]

    def start(self, supervisor: Supervisor, tell: Callable[[str], None]) -> dict[str, str]:
        """Start everything in order and return the variables with which commands reach it.

        Raises Unavailable where something does not get ready; what runs by then is the supervisor's to stop.
        """
        place = self.folder.path
        postgres = PostgresServer(place / "postgres")
        valkey, seaweed = ValkeyServer(place / "valkey"), SeaweedServer(place / "seaweedfs")
        for server in (postgres, valkey, seaweed):
            self._start_server(supervisor, server)
            tell(f"{server.name} listens on {server.address}")
        migrate_database(postgres.url(OWNER_ROLE), lock_timeout_ms=_LOCK_MS)
        make_bucket(seaweed)
        values = {
            "FAKESIEVE_DATABASE_URL": postgres.url(),
            "FAKESIEVE_BROKER_URL": valkey.url,
            "FAKESIEVE_S3_ENDPOINT": seaweed.endpoint,
            "FAKESIEVE_S3_ACCESS_KEY": seaweed.access_key,
            "FAKESIEVE_S3_SECRET_KEY": seaweed.secret_key,
            "FAKESIEVE_BUCKET": BUCKET,
            "FAKESIEVE_API_KEY": keep_api_key(place / "api-key.json", postgres.url()),
        }
        port = self._keep_port()
        if API in self.commands:
            values["FAKESIEVE_API_URL"] = f"http://{HOST}:{port}"
        own = {API: self._list_api_values(postgres, port)}
        figures = self._number_figures(tell)
        for role, command in self.commands.items():
            told = values | own.get(role, {}) | figures.get(role, {})
            supervisor.start(self._make_program(role, command, told))
        return values

    def _keep_port(self) -> int:
        folder = self.folder.path / API
        folder.mkdir(exist_ok=True)
        return keep_ports(folder / "ports.json", ("port",))["port"]

    def _number_figures(self, tell: Callable[[str], None]) -> dict[str, dict[str, str]]:
        """Give each process a port for Prometheus of its own where the caller asks for one, from that on."""
        asked = os.environ.get(METRICS_PORT, "")
        if not asked.isdecimal():
            return {}  # none is asked for, or what the processes refuse with its reason
        ports = number_ports(self.folder.path / "metrics-ports.json", tuple(self.commands), int(asked))
        for role, port in ports.items():
            tell(f"{role} shows its figures at http://{HOST}:{port}/metrics")
        return {role: {METRICS_PORT: str(port)} for role, port in ports.items()}

    def _list_api_values(self, postgres: PostgresServer, port: int) -> dict[str, str]:
        """Return what the API alone gets: a role of the database that sees one tenant at a time."""
        kept = keep_secrets(self.folder.path / API / "secrets.json", ("token-key",))
        return {
            "FAKESIEVE_DATABASE_URL": postgres.url(APP_ROLE),
            "FAKESIEVE_TOKEN_KEY": kept["token-key"],
            "FAKESIEVE_API_PORT": str(port),
        }

    def _start_server(self, supervisor: Supervisor, server: Server) -> None:
        def start(program: Program) -> None:
            marked = {**program.environment, MARK: str(self.folder.path)}
            supervisor.start(program.with_environment(marked))

        server.run_with(start)

    def _make_program(self, role: str, command: tuple[str, ...], values: Mapping[str, str]) -> Program:
        scratch = self.folder.path / "scratch"
        scratch.mkdir(exist_ok=True)
        environment = self._inherit() | {"FAKESIEVE_SCRATCH_DIR": str(scratch)} | dict(values)
        return Program(
            role=role,
            command=command,
            folder=self.folder.path,
            log=self.folder.logs / f"{role}.log",
            environment=environment | {MARK: str(self.folder.path)},
            stop_s=choose_stop_s(environment.get(_DRAIN, "")),
        )

    def _inherit(self) -> dict[str, str]:
        """Return our own variables: a user's FAKESIEVE_SLOTS counts for the worker that we start."""
        return dict(os.environ)


def choose_stop_s(drain_s: str) -> float:
    """Return how long a process may take to end: as a worker needs that drains for so many seconds.

    The text is what the user set, absent or empty for the default. A worker refuses what is no time.
    """
    default_s = float(Settings.model_fields["drain_s"].default)
    try:
        asked_s = float(drain_s)
    except ValueError:
        asked_s = default_s
    if not 0 < asked_s < math.inf:
        asked_s = default_s
    return asked_s + GIVE_BACK_S + _MARGIN_S


def name_command() -> tuple[str, ...]:
    """Return how to start ``fakesieve`` in the Python at hand, whatever the working directory holds."""
    return (sys.executable, "-P", "-m", "fakesieve")


def list_commands() -> dict[str, tuple[str, ...]]:
    """Return the command lines of the processes that work, by role, in the order of their start."""
    return {role: (*name_command(), role) for role in ("relay", "reconciler", "sender", "worker")} | {
        API: (*name_command(), "serve")
    }


def make_bucket(seaweed: SeaweedServer) -> None:
    """Create the bucket for uploads unless it is there."""
    options = S3Options(seaweed.endpoint, seaweed.access_key, seaweed.secret_key)
    S3Objects(options).make_bucket(BUCKET)


def keep_api_key(path: Path, database_url: str) -> str:
    """Return the key in the file while the database takes it, else a new one, which the file then holds."""
    database = open_database(database_url, connections_max=1)
    try:
        with database.transaction(tenant_id=None) as session:
            kept: str = json.loads(path.read_text(encoding="ascii"))["secret"] if path.exists() else ""
            caller = find_caller(session, kept) if kept else None
            tenant_id = caller.tenant_id if caller else ensure_tenant(session, TENANT)
            add_places(session, tenant_id, PLACES)
            if caller is not None and caller.scopes >= ALL_SCOPES:
                return kept
            made = create_key(session, tenant_id, "fakesieve up", ALL_SCOPES)
    finally:
        database.close()
    write_private(path, json.dumps({"id": made.id, "secret": made.secret}) + "\n")
    return made.secret
