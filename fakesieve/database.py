"""The database: one transaction at a time, for one tenant or for the fleet itself."""

import random
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from fakesieve.bounded_connection import BoundedConnection
from fakesieve.errors import SetupRefused, TransactionConflict, Unavailable
from fakesieve.reasons import Reason

Result = TypeVar("Result")

# What the policies of row-level security compare with. Unset shows no row at all.
TENANT_VARIABLE = "fakesieve.tenant_id"
# Who looks at what is read, a key or a person: ``fakesieve/records/blind.py`` keeps some of it from them.
VIEWER_VARIABLE = "fakesieve.viewer"
ALL_TENANTS = "*"
RUNS_MAX = 5
_CONFLICTS = frozenset({"40001", "40P01"})  # serialization failure, deadlock
# Connection lost, out of resources, shutting down, waited too long for a lock or an answer, standby.
_UNAVAILABLE_CLASSES = ("08", "53", "57", "58")
_UNAVAILABLE_CODES = frozenset({"55P03", "25006"})
_PAUSE_S = 0.02
CONNECT_S = 15
"""For a server to take a connection: on a busy machine it may need seconds to start the process of one."""
_CONNECT_SHARE, _CONNECT_LEAST_S = 1 / 3, 5
SILENCE_S = 65.0
_STATEMENT_SHARE = (
    0.9  # of the silence, so that a server that works says itself that a statement took too long
)
_LOCK_SHARE, _LOCK_S = 1 / 3, 5.0

# A server that vanished without a word, as in a failover, is found out in half a minute, within the lease of
# a claim; the system's own limits are a quarter of an hour for an answer and two hours for silence. One that
# is frozen is found out by ``BoundedConnection``, after ``silence_s``, on a starved host after twice that.
_DEAD_PEER = {
    "tcp_user_timeout": 15_000,  # milliseconds
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


@dataclass(frozen=True)
class Database:
    """A pool of connections. Made by ``open_database``, closed by ``close``."""

    pool: Engine
    sessions: sessionmaker[Session]
    is_fleet: bool = False

    @contextmanager
    def transaction(
        self, *, tenant_id: str | None, viewer: str | None = None, is_along_keys: bool = False
    ) -> Generator[Session]:
        """Open a transaction that commits at the end of the block and is undone by any error.

        Args:
            tenant_id: whose rows may be seen and written; None is the fleet itself, which sees all.
            viewer: id of the key or of the reviewer to whom the answer goes; None is nobody, from whom
                nothing has to be kept.
            is_along_keys: that no statement of it is a list, so that each is planned once for all values.

        Raises:
            TransactionConflict: another transaction stood in the way; this one was undone.
            Unavailable: the database did not answer. If this comes from the end of the block it is
                unknown whether the transaction was committed.
        """
        if tenant_id == ALL_TENANTS:
            raise ValueError(f"{ALL_TENANTS!r} is not the name of a tenant")
        with self.begin() as session:
            visible = ALL_TENANTS if tenant_id is None else tenant_id
            name_scene(session, visible, viewer or "")
            if tenant_id is not None or viewer is not None or not self.is_fleet:
                scene = _SET_SCENE_ALONG_KEYS if is_along_keys else _SET_SCENE
                session.execute(scene, {"tenant": visible, "viewer": viewer or ""})
            yield session

    @contextmanager
    def begin(self) -> Generator[Session]:
        """Open a transaction, as :meth:`transaction`, whose first statement has to say whose rows it sees."""
        with translate_errors(), self.sessions.begin() as session:
            yield session

    def run_transaction(self, work: Callable[[Session], Result], *, tenant_id: str | None) -> Result:
        """Run ``work`` in a transaction, again from its start up to five times after a conflict."""
        return self._run(work, lambda: self.transaction(tenant_id=tenant_id))

    def run_alone(self, work: Callable[[Session], Result], *, tenant_id: str | None) -> Result:
        """Run ``work`` that writes with its first statement or not at all, each a transaction of its own.

        The beginning and the end of a transaction are two questions more. Where the database has to be told
        first for whom the rows are, it is one transaction all the same.
        """
        if tenant_id is not None or not self.is_fleet:
            return self.run_transaction(work, tenant_id=tenant_id)
        return self._run(work, self._statements)

    @contextmanager
    def _statements(self) -> Generator[Session]:
        with translate_errors(), self.sessions() as session:
            session.info[TENANT_VARIABLE] = ALL_TENANTS
            session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            yield session

    def _run(
        self, work: Callable[[Session], Result], begin: Callable[[], AbstractContextManager[Session]]
    ) -> Result:
        for run in range(1, RUNS_MAX + 1):
            try:
                with begin() as session:
                    return work(session)
            except TransactionConflict:
                if run == RUNS_MAX:
                    raise
                time.sleep(random.uniform(0, _PAUSE_S * 2**run))  # noqa: S311 - spreads runs, no secret
        raise AssertionError("the last run either returns or raises")

    def close(self) -> None:
        """Close all connections that nobody uses."""
        self.pool.dispose()


def name_scene(session: Session, tenant: str, viewer: str) -> None:
    """Note whose rows a transaction sees and who looks, as its first statement has told the database."""
    session.info.update({TENANT_VARIABLE: tenant, VIEWER_VARIABLE: viewer})


# What works along keys is planned once. A list is planned for its own tenant and filter: a plan for any of
# them fits neither a tenant with ten analyses nor one with a million, no rare verdict and no common one. It
# ends within milliseconds, in which neither a compiler nor a second process of the server has begun.
# Whoever answers requests says of a transaction that it goes along keys: to plan the row of one analysis
# takes longer than to read it.
_FLEET_VALUES: Mapping[str, str] = {TENANT_VARIABLE: ALL_TENANTS}
PLAN_ONCE, PLAN_EACH = "auto", "force_custom_plan"
_CALLER_VALUES: Mapping[str, str] = {
    "plan_cache_mode": PLAN_EACH,
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}
_SCENE = (
    f"SELECT set_config('{TENANT_VARIABLE}', :tenant, true), set_config('{VIEWER_VARIABLE}', :viewer, true)"
)
_SET_SCENE = text(_SCENE)
_SET_SCENE_ALONG_KEYS = text(f"{_SCENE}, set_config('plan_cache_mode', '{PLAN_ONCE}', true)")


def open_database(
    url: str,
    *,
    connections_max: int = 10,
    wait_s: float = 10.0,
    silence_s: float = SILENCE_S,
    connect_s: int | None = None,
    application: str = "fakesieve",
    is_fleet: bool = False,
) -> Database:
    """Return a database of which no connection is open yet.

    Args:
        url: postgresql://user:password@host:port/name
        connections_max: at most so many at once.
        wait_s: how long who needs one more waits for it.
        silence_s: how long an answer is waited for, whatever has become of the server. A statement has nine
            tenths of it.
        connect_s: how long a new connection is waited for, in whole seconds; None is a third of the silence,
            but from 5 to 15 seconds.
        application: shown in pg_stat_activity.
        is_fleet: for a process that serves all tenants. Its connections see all rows from their start, which
            saves a statement in each transaction; one that names a tenant sees those of the tenant alone.
    """
    pool = create_engine(
        parse_url(url),
        pool_size=connections_max,
        max_overflow=0,
        pool_timeout=wait_s,
        connect_args={
            "connect_timeout": choose_connect_s(silence_s) if connect_s is None else connect_s,
            "application_name": application,
            "options": _session_options(silence_s, _FLEET_VALUES if is_fleet else _CALLER_VALUES),
            **_DEAD_PEER,
        },
    )

    def connect(dialect: object, record: object, places: list[Any], values: dict[str, Any]) -> object:
        del dialect, record
        connection = BoundedConnection.connect(*places, **values)
        connection.silence_s = silence_s
        return connection

    def look_at(connection: BoundedConnection, record: object, lent: object) -> None:
        """Replace connections that a restarted server has closed, so that it costs no failed transaction."""
        del record, lent
        if connection.has_news and not _is_alive(pool, connection):
            raise InvalidatePoolError

    event.listen(pool, "do_connect", connect)
    event.listen(pool, "checkout", look_at)
    return Database(pool, sessionmaker(pool, expire_on_commit=False), is_fleet)


def choose_connect_s(silence_s: float) -> int:
    """Return how long a new connection is waited for, in seconds, by whoever waits so long for an answer."""
    return round(min(CONNECT_S, max(_CONNECT_LEAST_S, silence_s * _CONNECT_SHARE)))


def _is_alive(pool: Engine, connection: Any) -> bool:
    try:
        return pool.dialect.do_ping(connection)
    except psycopg.Error:
        return False


def _session_options(silence_s: float, values: Mapping[str, str]) -> str:
    """Return the server's own limits, in milliseconds, and values that hold from the start."""
    limits = {
        "timezone": "UTC",
        "lock_timeout": str(round(1000 * min(_LOCK_S, silence_s * _LOCK_SHARE))),
        "statement_timeout": str(round(1000 * silence_s * _STATEMENT_SHARE)),
        "idle_in_transaction_session_timeout": "120s",
        # What nobody waits for any more ends, and lets go of its locks.
        "client_connection_check_interval": "5s",
    }
    return " ".join(f"-c {name}={value}" for name, value in (limits | dict(values)).items())


def parse_url(url: str) -> URL:
    """Return an address for the driver that we use, or raise SetupRefused, which does not repeat it."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SetupRefused(Reason.INVALID_SETTINGS, "the database URL cannot be read") from error
    if parsed.get_backend_name() != "postgresql":
        raise SetupRefused(Reason.INVALID_SETTINGS, "the database URL does not begin with postgresql://")
    return parsed.set(drivername="postgresql+psycopg")


@contextmanager
def translate_errors() -> Generator[None]:
    """Turn errors of the database's machine into ours; errors of our own statements pass as they are."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable(Reason.DATABASE_UNAVAILABLE, "no free connection in the pool") from error
    except DBAPIError as error:
        code = getattr(error.orig, "sqlstate", None)
        seen = f"{type(error.orig).__name__} {code or ''}".strip()
        if code in _CONFLICTS:
            raise TransactionConflict(Reason.DATABASE_UNAVAILABLE, seen) from error
        # The driver refuses values without asking the server, and then there is no code either.
        is_value = code is None and not isinstance(error, OperationalError | InterfaceError)
        if error.connection_invalidated or (is_unavailable(code) and not is_value):
            raise Unavailable(Reason.DATABASE_UNAVAILABLE, seen) from error
        raise


def is_unavailable(sqlstate: str | None) -> bool:
    """Return whether a code means that the machine, not the statement, is at fault.

    None, which psycopg gives for a connection that could not be made or broke, means so too.
    """
    if sqlstate is None:
        return True
    return sqlstate[:2] in _UNAVAILABLE_CLASSES or sqlstate in _UNAVAILABLE_CODES
