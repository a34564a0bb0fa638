"""Transactions commit whole or not at all, and tell our faults from the machine's."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from fakesieve.database import (
    RUNS_MAX,
    SILENCE_S,
    Database,
    choose_connect_s,
    is_unavailable,
    open_database,
)
from fakesieve.embedded.ports import find_ports
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.errors import SetupRefused, TransactionConflict, Unavailable
from fakesieve.reasons import Reason
from tests.databases import opened
from tests.factories import make_tenant
from tests.waiting import PATIENCE_S

INSERT = text("INSERT INTO tenant (id, name) VALUES (:id, :id)")
COUNT = text("SELECT count(*) FROM tenant")


def count_tenants(database: Database) -> int:
    with database.transaction(tenant_id=None) as session:
        return session.scalar(COUNT) or 0


def test_an_error_undoes_the_transaction(database: Database) -> None:
    def stumble() -> None:
        with database.transaction(tenant_id=None) as session:
            session.execute(INSERT, {"id": "ten_a"})
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        stumble()
    assert count_tenants(database) == 0


def test_the_end_of_the_block_commits(database: Database) -> None:
    with database.transaction(tenant_id=None) as session:
        session.execute(INSERT, {"id": "ten_a"})
    assert count_tenants(database) == 1


def test_our_own_mistakes_pass_as_they_are(database: Database) -> None:
    make_tenant(database, "acme")
    with pytest.raises(IntegrityError), database.transaction(tenant_id=None) as session:
        session.execute(text("INSERT INTO tenant (id, name) VALUES ('ten_b', 'acme')"))


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_text_that_no_database_holds_is_not_taken_for_an_outage(database: Database, name: str) -> None:
    with pytest.raises((DataError, UnicodeEncodeError)), database.transaction(tenant_id=None) as session:
        session.execute(INSERT, {"id": name})
    assert count_tenants(database) == 0


def test_all_tenants_are_not_the_name_of_one(database: Database) -> None:
    with pytest.raises(ValueError, match="not the name of a tenant"), database.transaction(tenant_id="*"):
        pass


def test_a_lost_connection_is_unavailable_and_the_next_transaction_works(
    postgres: PostgresServer, database: Database, database_name: str
) -> None:
    def lose_connection() -> None:
        with database.transaction(tenant_id=None) as session:
            backend = session.scalar(text("SELECT pg_backend_pid()"))
            with postgres.connect(database_name) as root:
                root.execute("SELECT pg_terminate_backend(%s, 300000)", (backend,))
            session.execute(COUNT)

    with pytest.raises(Unavailable) as caught:
        lose_connection()
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    assert not isinstance(caught.value, TransactionConflict)
    assert count_tenants(database) == 0


def test_a_server_that_is_not_there_is_unavailable() -> None:
    database = open_database(f"postgresql://app:hunter2@127.0.0.1:{find_ports(1)[0]}/none")
    with pytest.raises(Unavailable) as caught:
        count_tenants(database)
    assert "hunter2" not in str(caught.value)


def test_a_full_pool_is_unavailable(postgres: PostgresServer, database_name: str) -> None:
    database = open_database(postgres.url(database=database_name), connections_max=1, wait_s=0.05)
    with database.transaction(tenant_id=None), pytest.raises(Unavailable, match="no free connection"):
        count_tenants(database)
    database.close()


@pytest.mark.parametrize("url", ["mysql://h/d", "sqlite:///x", "not a url", ""])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(SetupRefused) as caught:
        open_database(url)
    assert caught.value.reason is Reason.INVALID_SETTINGS


def raise_conflict(session: Session) -> None:
    session.execute(text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))


def test_a_conflict_runs_again_from_the_start(database: Database) -> None:
    runs: list[int] = []

    def work(session: Session) -> str:
        runs.append(len(runs))
        session.execute(INSERT, {"id": "ten_a"})
        if len(runs) < 3:
            raise_conflict(session)
        return "done"

    assert database.run_transaction(work, tenant_id=None) == "done"
    assert len(runs) == 3
    assert count_tenants(database) == 1


def test_a_conflict_that_does_not_end_is_told(database: Database) -> None:
    runs: list[int] = []

    def work(session: Session) -> None:
        runs.append(1)
        raise_conflict(session)

    with pytest.raises(TransactionConflict, match="40001"):
        database.run_transaction(work, tenant_id=None)
    assert len(runs) == RUNS_MAX


def test_two_in_a_deadlock_both_come_through(database: Database) -> None:
    for name in ("ten_a", "ten_b"):
        with database.transaction(tenant_id=None) as session:
            session.execute(INSERT, {"id": name})
    meeting = threading.Barrier(2, timeout=PATIENCE_S)
    first_runs = threading.local()

    def run(order: tuple[str, str]) -> None:
        def work(session: Session) -> None:
            session.execute(text("SET LOCAL lock_timeout = 0"))  # the other one may stand still meanwhile
            for place, name in enumerate(order):
                session.execute(text("UPDATE tenant SET weight = weight + 1 WHERE id = :id"), {"id": name})
                if place == 0 and not getattr(first_runs, "met", False):
                    first_runs.met = True
                    meeting.wait()

        database.run_transaction(work, tenant_id=None)

    threads = [
        threading.Thread(target=run, args=(order,)) for order in (("ten_a", "ten_b"), ("ten_b", "ten_a"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    with database.transaction(tenant_id=None) as session:
        assert session.scalars(text("SELECT weight FROM tenant")).all() == [3, 3]


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        (None, True),
        ("08006", True),
        ("53300", True),
        ("57P01", True),
        ("57014", True),
        ("55P03", True),
        ("25006", True),
        ("23505", False),
        ("42P01", False),
        ("22003", False),
    ],
)
def test_codes_tell_the_machine_from_the_statement(code: str | None, answer: bool) -> None:
    assert is_unavailable(code) is answer


def test_times_are_told_in_utc(database: Database) -> None:
    with database.transaction(tenant_id=None) as session:
        assert session.scalar(text("SHOW timezone")) == "UTC"
        assert session.scalar(text("SHOW lock_timeout")) == "5s"


def test_a_server_that_vanishes_is_found_out_within_a_lease(database: Database) -> None:
    with database.transaction(tenant_id=None) as session:
        driver = session.connection().connection.driver_connection
        asked = driver.info.get_parameters()  # type: ignore[union-attr] - psycopg's own
    assert int(asked["tcp_user_timeout"]) <= 20_000
    silent_s = int(asked["keepalives_idle"]) + int(asked["keepalives_count"]) * int(
        asked["keepalives_interval"]
    )
    assert silent_s <= 30


@pytest.mark.parametrize(("silence_s", "connect_s"), [(SILENCE_S, 15), (30.0, 10), (6.0, 5)])
def test_a_command_waits_longer_for_a_connection_than_a_host_that_holds_leases(
    silence_s: float, connect_s: int
) -> None:
    assert choose_connect_s(silence_s) == connect_s


@pytest.fixture
def fleet_database(postgres: PostgresServer, database_name: str) -> Iterator[Database]:
    with opened(postgres, database_name, is_fleet=True) as found:
        yield found


def insert_and_stumble(session: Session, tenant_id: str = "ten_a") -> None:
    session.execute(INSERT, {"id": tenant_id})
    raise KeyError("mine")


def test_what_runs_alone_is_written_at_once_and_the_next_transaction_is_one(fleet_database: Database) -> None:
    with pytest.raises(KeyError, match="mine"):
        fleet_database.run_alone(insert_and_stumble, tenant_id=None)
    assert count_tenants(fleet_database) == 1
    with pytest.raises(KeyError, match="mine"):
        fleet_database.run_transaction(lambda session: insert_and_stumble(session, "ten_b"), tenant_id=None)
    assert count_tenants(fleet_database) == 1


def test_what_a_tenant_runs_alone_is_a_transaction(database: Database) -> None:
    with pytest.raises(KeyError, match="mine"):
        database.run_alone(insert_and_stumble, tenant_id=None)
    assert count_tenants(database) == 0


def test_a_conflict_runs_again_what_runs_alone(fleet_database: Database) -> None:
    runs: list[int] = []

    def work(session: Session) -> int:
        runs.append(len(runs))
        if len(runs) < RUNS_MAX:
            raise_conflict(session)
        return session.scalar(text("SELECT 7")) or 0

    assert fleet_database.run_alone(work, tenant_id=None) == 7
    assert len(runs) == RUNS_MAX


def test_a_connection_that_is_lost_while_something_runs_alone_is_replaced(fleet_database: Database) -> None:
    end = text("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(Unavailable):
        fleet_database.run_alone(lambda session: session.execute(end), tenant_id=None)
    assert fleet_database.run_alone(lambda session: session.scalar(COUNT), tenant_id=None) == 0
    assert count_tenants(fleet_database) == 0
