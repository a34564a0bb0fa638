"""One tenant's slow requests, and strangers, leave others their turns."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from api.app import create_app
from api.limits import MISSES_BURST
from fakesieve.database import Database
from fakesieve.embedded.postgres import PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from tests.api.callers import make_caller, make_settings, reason_of
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
def client(
    postgres: PostgresServer, s3: SeaweedServer, module_database_name: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    """An API with two turns, where a lock is waited for for twenty seconds, and a turn for any time."""
    monkeypatch.setattr("fakesieve.database._LOCK_S", PATIENCE_S)
    monkeypatch.setattr("api.slots._WAIT_S", PATIENCE_S)
    with TestClient(
        create_app(make_settings(postgres, s3, module_database_name, database_connections=5))
    ) as client:
        yield client


def count_waiting(database: Database) -> int:
    """Return how many connections wait for the lock on the table of batches."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'batch'::regclass")
    with database.transaction(tenant_id=None) as session:
        return session.scalar(waiting)


def test_slow_requests_of_one_tenant_leave_others_a_turn(
    client: TestClient, module_database_as_owner: Database, module_database: Database
) -> None:
    slow, quick = make_caller(client, module_database), make_caller(client, module_database)
    statuses = list[int]()
    threads = [
        threading.Thread(target=lambda: statuses.append(slow.get("/v1/batches").status_code))
        for _ in range(4)
    ]
    with module_database_as_owner.transaction(tenant_id=None) as session:
        session.execute(text("LOCK TABLE batch IN ACCESS EXCLUSIVE MODE"))
        for thread in threads:
            thread.start()
        wait_until(lambda: count_waiting(module_database))
        assert quick.get("/v1/whoami").status_code == 200
        assert quick.get("/v1/videos").status_code == 200
        ended = len(statuses)
    for thread in threads:
        thread.join()
    assert ended <= 1  # each of them waits for the lock for twenty seconds, one after the other
    assert 200 in statuses


def test_wrong_keys_stop_neither_known_keys_nor_new_ones(
    client: TestClient, module_database: Database
) -> None:
    known = make_caller(client, module_database)
    assert known.get("/v1/whoami").status_code == 200
    wrong = {"Authorization": "Bearer fsk_" + "0" * 64}
    assert reason_of(client.get("/v1/whoami", headers=wrong)) == (401, "UNAUTHENTICATED")
    for _ in range(10 * MISSES_BURST):  # some are forgiven each second, however slow this machine is
        if (answer := client.get("/v1/whoami", headers=wrong)).status_code == 429:
            break
    assert reason_of(answer) == (429, "RATE_LIMITED")
    assert known.get("/v1/whoami").status_code == 200
    assert make_caller(client, module_database).get("/v1/whoami").status_code == 200


def test_probes_need_no_key_and_take_no_turn(client: TestClient) -> None:
    for path in ("/health/live", "/health/ready", "/health/started"):
        assert client.get(path).json()["status"] == "ok", path


def test_a_connection_that_is_not_answered_leaves_time_to_who_waits_behind_it(client: TestClient) -> None:
    services = client.app.state.services  # type: ignore[attr-defined] - an application of Starlette
    with services.database.transaction(tenant_id=None) as session:
        driver = session.connection().connection.driver_connection
        connect_s = int(driver.info.get_parameters()["connect_timeout"])
    assert 5 < connect_s <= 10  # of the 15 s that a request waits for its turn
