"""A whole fleet of real processes with a fault proxy before each service, which can be killed piece by piece.

Postgres, Valkey and SeaweedFS come from their wheels; the relay, the reconciler and two worker hosts are
started with the command that people use. What ends is started again at once, unless it is held down.
"""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import redis
from sqlalchemy import make_url

from fakesieve.database import Database, open_database
from fakesieve.embedded.postgres import OWNER_ROLE, PostgresServer
from fakesieve.embedded.program import Program, Running
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.embedded.server import Server
from fakesieve.embedded.valkey import ValkeyServer
from fakesieve.object_stores.s3 import S3Objects
from fakesieve.object_stores.s3_client import S3Options
from fakesieve.records.revision import migrate_database
from tests.chaos.fault_proxy import FaultProxy
from tests.chaos.points import Points
from tests.flaky_s3 import FlakyS3
from tests.waiting import PATIENCE_S, wait_until

Answer = TypeVar("Answer")

HOSTS = ("worker-a", "worker-b")
ROLES = ("relay", "reconciler", *HOSTS)
BUCKET = "chaos"
LEASE_S, DRAIN_S = 6.0, 3.0
# Short, so that a minute holds what takes ten in production. The rules between them are those of production.
TIMES = {
    "FAKESIEVE_LEASE_S": str(LEASE_S),
    "FAKESIEVE_RECONCILE_S": "0.5",
    "FAKESIEVE_RELAY_S": "0.05",
    "FAKESIEVE_DOORBELL_WAIT_S": "4",
    "FAKESIEVE_DRAIN_S": str(DRAIN_S),
    # Many deaths meet the same few jobs here; what is proved is that none is lost, not when one is given up.
    "FAKESIEVE_MAX_ATTEMPTS": "8",
    "FAKESIEVE_SLOTS": "2",
    "FAKESIEVE_ENGINE": "onnxruntime",
    "FAKESIEVE_SCRATCH_FREE_BYTES_MIN": "1",
    "FAKESIEVE_LOG_LEVEL": "debug",
    "CHAOS_VISIBILITY_S": "3",
}


@dataclass
class Role:
    """One process that is kept running: what it is, what runs now, and whether it should."""

    program: Program
    running: Running | None = None
    is_wanted: bool = True
    starts: int = 0


@dataclass
class Stack:
    """Everything that runs. Use it as a context."""

    seed: int
    folder: Path = field(init=False)
    roles: dict[str, Role] = field(default_factory=dict)
    _logs: "dict[str, _Log]" = field(default_factory=dict)
    _log_lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._exits = ExitStack()
        try:
            self._open()
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._exits.close()

    def _open(self) -> None:
        # A folder that every user can enter, as Postgres does not run as root.
        self.folder = Path(tempfile.mkdtemp(prefix="fakesieve-chaos-"))
        self.folder.chmod(0o755)
        self._exits.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._points = Points(self.folder)
        for name in ("logs", "scratch"):
            (self.folder / name).mkdir()
        self._keeper = _Keeper(self.roles)
        self._exits.callback(self._keeper.end)
        self.postgres = PostgresServer(self.folder / "postgres")
        self.valkey = ValkeyServer(self.folder / "valkey")
        self.seaweed = SeaweedServer(self.folder / "seaweedfs")
        for server in (self.postgres, self.valkey, self.seaweed):
            self.start_server(server)
        migrate_database(self.postgres.url(OWNER_ROLE))
        self._open_clients()
        self._open_proxies()
        for name in ROLES:
            self.start_role(name)

    def _open_clients(self) -> None:
        """Connect this process to the services themselves, past the proxies."""
        self.database: Database = open_database(self.postgres.url(), connections_max=20)
        self._exits.callback(self.database.close)
        seaweed = self.seaweed
        self.objects = S3Objects(S3Options(seaweed.endpoint, seaweed.access_key, seaweed.secret_key))
        self.objects.make_bucket(BUCKET)

    def _open_proxies(self) -> None:
        self.flaky_s3 = self._exits.enter_context(FlakyS3(self.seaweed.endpoint, seed=self.seed))
        flaky = urlsplit(self.flaky_s3.endpoint)
        upstreams: Mapping[str, Callable[[], tuple[str, int]]] = {
            "database": lambda: ("127.0.0.1", self.postgres.port),
            "broker": lambda: ("127.0.0.1", self.valkey.port),
            "objects": lambda: ("127.0.0.1", flaky.port or 80),
        }
        self.proxies = {
            name: self._exits.enter_context(FaultProxy(name, find, self.seed))
            for name, find in upstreams.items()
        }

    # ---- servers

    def start_server(self, server: Server) -> None:
        """Start a server, again after its end; it keeps its data and its password."""
        program = server.prepare()

        def start() -> None:
            running = Running(program)
            self.roles[server.name] = Role(program, running, is_wanted=False)
            running.wait_ready()

        self._keeper.do(start)
        server.finish_start()

    def end_server(self, server: Server, number: signal.Signals) -> None:
        """Send a server a signal that ends it, and wait until it has."""
        running = self.roles[server.name].running
        assert running is not None
        os.kill(running.pid, number)
        wait_until(lambda: running.poll() is not None, lambda: f"the end of {server.name}")
        running.clean_up()

    def replace_postgres(self, server: PostgresServer) -> None:
        """Lead this process and, through their proxy, all others to another database server."""
        self.postgres = server
        self.database.close()
        self.database = open_database(server.url(), connections_max=20)
        self._exits.callback(self.database.close)

    def broker(self) -> redis.Redis:
        """A client of the broker, past the proxy."""
        return redis.Redis.from_url(self.valkey.url, socket_timeout=10)

    # ---- the fleet's processes

    def environment(self) -> dict[str, str]:
        """What each process of the fleet is told; none of our own settings reach it."""
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("FAKESIEVE_")}
        database = make_url(self.postgres.url()).set(port=self.proxies["database"].port)
        broker = self.valkey.url.replace(f":{self.valkey.port}/", f":{self.proxies['broker'].port}/")
        return (
            inherited
            | TIMES
            | self._points.environment
            | {
                "FAKESIEVE_DATABASE_URL": database.render_as_string(hide_password=False),
                "FAKESIEVE_BROKER_URL": broker,
                "FAKESIEVE_S3_ENDPOINT": f"http://127.0.0.1:{self.proxies['objects'].port}",
                "FAKESIEVE_S3_ACCESS_KEY": self.seaweed.access_key,
                "FAKESIEVE_S3_SECRET_KEY": self.seaweed.secret_key,
                "FAKESIEVE_BUCKET": BUCKET,
                "FAKESIEVE_SCRATCH_DIR": str(self.folder / "scratch"),
            }
        )

    def make_program(self, name: str, **changes: str) -> Program:
        """How a role is started: ``worker-a`` by ``fakesieve worker``."""
        return Program(
            role=name,
            command=(sys.executable, "-P", "-m", "fakesieve", name.partition("-")[0]),
            folder=self.folder,
            log=self.folder / "logs" / f"{name}.log",
            environment=self.environment() | changes,
            stop_s=60.0,
        )

    def start_role(self, name: str, **changes: str) -> None:
        """Start a process and keep it running from now on."""
        program = self.make_program(name, **changes)
        self._keeper.do(lambda: self.roles.__setitem__(name, Role(program, Running(program), starts=1)))

    def start_once(self, name: str, **changes: str) -> int | None:
        """Start a process that is to refuse its start; return its exit code, None where it just goes on."""
        program = self.make_program(name, **changes)
        try:
            done = subprocess.run(
                program.command,
                env=dict(program.environment),
                capture_output=True,
                timeout=PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None
        return done.returncode

    def signal_role(self, name: str, number: signal.Signals) -> int:
        """Send a signal to the whole group of a process; return its id."""
        running = self.roles[name].running
        assert running is not None
        with suppress(ProcessLookupError):
            os.killpg(running.pid, number)
        return running.pid

    def hold_down(self, name: str) -> None:
        """Kill a process, and do not start it again."""
        self.roles[name].is_wanted = False
        self.signal_role(name, signal.SIGKILL)
        running = self.roles[name].running
        wait_until(lambda: running is None or running.poll() is not None, lambda: f"the end of {name}")

    def let_up(self, name: str) -> None:
        """Keep a process running again."""
        self.roles[name].is_wanted = True

    def drain(self, name: str) -> int | None:
        """Ask a process to end and return its exit code; it is not started again."""
        self.begin_drain(name)
        return self.finish_drain(name)

    def begin_drain(self, name: str) -> None:
        """Ask a process to end; it is not started again."""
        role = self.roles[name]
        role.is_wanted = False
        if role.running is not None:
            role.running.ask_to_stop()

    def finish_drain(self, name: str) -> int | None:
        """Wait until a process that was asked to end has done so, and return its exit code."""
        running = self.roles[name].running
        if running is None:
            return None
        wait_until(lambda: running.poll() is not None, lambda: f"the drain of {name}")
        return running.poll()

    def find_pid(self, name: str) -> int:
        """Process id of what runs as a role now."""
        running = self.roles[name].running
        assert running is not None
        return running.pid

    # ---- points and modes of the hooks

    def arm(self, point: str, action: str, job_id: str = "") -> None:
        """Have the next process that comes to a point (with this job) do something."""
        self._points.arm(point, action, job_id)

    def find_met(self, point: str, job_id: str = "") -> list[int]:
        """Process ids that have met what was armed."""
        return self._points.find_met(point, job_id)

    def release(self, point: str, job_id: str = "") -> None:
        """Let go of who is held at a point, and disarm it."""
        self._points.release(point, job_id)

    def set_mode(self, name: str, *, is_on: bool) -> None:
        """Switch a mode on or off."""
        path = self.folder / "modes" / name
        if is_on:
            path.touch()
        else:
            path.unlink(missing_ok=True)

    def has_seen(self, what: str) -> bool:
        """Whether a hook has noted something."""
        return (self.folder / "saw" / what).exists()

    # ---- logs

    def read_events(self, name: str, event: str) -> list[dict[str, Any]]:
        """The events of one kind that a role has logged."""
        with self._log_lock:
            log = self._logs.setdefault(name, _Log(self.folder / "logs" / f"{name}.log"))
            log.read_on()
            return list(log.events.get(event, ()))

    def read_tails(self, letters: int = 2500) -> str:
        """The ends of all logs of the fleet."""
        logs = sorted((self.folder / "logs").iterdir())
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-letters:]}" for log in logs)


@dataclass
class _Log:
    """The log of a role, of which each look reads only what is new."""

    path: Path
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    place: int = 0

    def read_on(self) -> None:
        """Take in the whole lines that have come since the last look."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.place)
            text = file.read()
        whole = text.rpartition(b"\n")[0]
        self.place += len(whole) + (1 if whole else 0)
        for line in whole.splitlines():
            with suppress(
                ValueError, KeyError, TypeError
            ):  # no event: its process was killed within the line
                found = json.loads(line)
                self.events.setdefault(found["event"], []).append(found)


class _Keeper:
    """The one thread that starts processes: the kernel ends them when the thread that started them ends."""

    def __init__(self, roles: dict[str, Role]) -> None:
        self._roles = roles
        self._orders: queue.Queue[tuple[Callable[[], Any], Future[Any]]] = queue.Queue()
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], Answer]) -> Answer:
        """Have something done in the thread and return what came of it."""
        answer: Future[Answer] = Future()
        self._orders.put((work, answer))
        return answer.result(2 * PATIENCE_S)

    def end(self) -> None:
        """Stop everything, the last started first, and end."""
        self._is_ending = True
        self._thread.join()

    def _run(self) -> None:
        while not self._is_ending:
            try:
                work, answer = self._orders.get(timeout=0.05)
            except queue.Empty:
                self._look()
                continue
            try:
                answer.set_result(work())
            except BaseException as error:  # noqa: BLE001 - who asked hears of it
                answer.set_exception(error)
        for role in reversed(list(self._roles.values())):
            if role.running is not None:
                with suppress(ProcessLookupError):
                    os.killpg(role.running.pid, signal.SIGCONT)
                role.running.stop()

    def _look(self) -> None:
        for role in list(self._roles.values()):
            if role.is_wanted and role.running is not None and role.running.poll() is not None:
                role.running.clean_up()
                role.running = Running(role.program)
                role.starts += 1
