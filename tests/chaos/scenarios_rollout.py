"""A deployment under load: the tables of the next release are there, and each process is started again."""

import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

from sqlalchemy import text

from fakesieve.database import open_database
from fakesieve.embedded.postgres import OWNER_ROLE
from tests.chaos.checker import Expected
from tests.chaos.driver import Driver
from tests.chaos.scenarios_http import ROLE, HttpCaller, start_service
from tests.chaos.stack import HOSTS

_END_S = 30.0  # after the last process was started again
# What a release may do to tables beside which the one before it still runs: it adds.
_NEXT = (
    "ALTER TABLE job ADD COLUMN of_next TEXT",
    "ALTER TABLE shard ADD COLUMN of_next INTEGER DEFAULT 0 NOT NULL",
    "ALTER TABLE analysis ADD COLUMN of_next TEXT",
    "CREATE TABLE of_next (id BIGINT PRIMARY KEY)",
    "UPDATE alembic_version SET version_num = 'next'",
)
_BACK = (
    "ALTER TABLE job DROP COLUMN of_next",
    "ALTER TABLE shard DROP COLUMN of_next",
    "ALTER TABLE analysis DROP COLUMN of_next",
    "DROP TABLE of_next",
)


def r05_rolled_beside_newer_tables(d: Driver, times: int) -> None:
    """All processes of this release are told to end, and start again, beside the tables of the next one.

    Callers submit over HTTP meanwhile, and are never told of a fault. Nothing else is broken, so no attempt
    may be lost: what a host cannot finish it gives back.
    """
    codes: list[int | None] = []
    with _have_newer_tables(d):
        caller = start_service(d)
        told: list[str] = []
        over = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(_submit_on, d, caller, told, over)
            try:
                for _ in range(times):
                    codes += [_start_again(d, name) for name in (*HOSTS, "relay", "reconciler")]
            finally:
                over.set()
            load.result()
        waited_s = d.wait_ended(*told)
        d.stack.drain(ROLE)
    repeated = "SELECT count(*) FROM shard WHERE job_id = ANY(:jobs) AND attempts <> 1"
    d.note("R05 every process of a roll-out ended with 0", set(codes) == {0})
    d.note("R05 no attempt was lost by a roll-out", d.ask(repeated, jobs=told)[0][0] == 0)
    d.note("R05 callers were told 202 and nothing else", set(caller.answers) == {202})
    d.note("R05 jobs ended soon after a roll-out", waited_s < _END_S)
    d.tell("R05 newer tables", f"{len(codes)} ends, {len(told)} jobs, the last {waited_s:.0f} s after them")


def _submit_on(d: Driver, caller: HttpCaller, told: list[str], over: threading.Event) -> None:
    """Submit clips, never more than the hosts have at hand, until it is over."""
    while not over.is_set() or not told:
        job_id = caller.submit(d.upload())
        d.promise(job_id, Expected("short"))
        told.append(job_id)
        over.wait(0.5)


def _start_again(d: Driver, name: str) -> int | None:
    """Have a process end by itself and start again; return its exit code."""
    starts = d.stack.roles[name].starts
    code = d.stack.drain(name)
    d.stack.let_up(name)
    d.wait(lambda: d.stack.roles[name].starts > starts, f"the start of {name}")
    return code


@contextmanager
def _have_newer_tables(d: Driver) -> Generator[None]:
    """Migrate to what the next release might bring, and back after the block."""
    (revision,) = d.ask("SELECT version_num FROM alembic_version")[0]
    _alter(d, _NEXT)
    try:
        yield
    finally:
        _alter(d, (*_BACK, f"UPDATE alembic_version SET version_num = '{revision}'"))


def _alter(d: Driver, statements: Sequence[str]) -> None:
    """Alter tables as their owner, again where somebody holds one of them for too long."""

    def work() -> None:
        with (
            closing(open_database(d.stack.postgres.url(OWNER_ROLE), connections_max=1)) as owner,
            owner.transaction(tenant_id=None) as session,
        ):
            for statement in statements:
                session.execute(text(statement))

    d.insist(work)
