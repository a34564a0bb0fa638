import json
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fakesieve.embedded.postgres import APP_ROLE, FLEET_ROLE, OWNER_ROLE, PostgresServer
from fakesieve.embedded.program import EndedAtStart, Program
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.embedded.server import Server
from fakesieve.embedded.valkey import ValkeyServer
from fakesieve.supervise import Supervisor
from tests.waiting import wait_until


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_roles_of_the_fleet_are_plain_and_log_in(postgres: PostgresServer) -> None:
    for role in (OWNER_ROLE, FLEET_ROLE, APP_ROLE):
        with psycopg.connect(postgres.url(role)) as connection:
            found = connection.execute(
                "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles "
                "WHERE rolname = current_user"
            ).fetchone()
        assert found == (role, False, False, False, False)


def test_only_the_owner_makes_tables_in_its_database(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.url(OWNER_ROLE)) as owner:
        owner.execute("CREATE TABLE ours (number int)")
        owner.rollback()
    for role in (FLEET_ROLE, APP_ROLE):
        with psycopg.connect(postgres.url(role)) as other:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                other.execute("CREATE TABLE theirs (number int)")
            other.rollback()


def test_postgres_wants_the_password(postgres: PostgresServer) -> None:
    url = re.sub(r":[0-9a-f]+@", ":wrong@", postgres.url())
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url)


def test_postgres_times_are_utc_and_its_order_is_of_code_points(postgres: PostgresServer) -> None:
    with postgres.connect() as connection:
        (zone,) = connection.execute("SHOW timezone").fetchone() or ("",)
        rows = connection.execute("SELECT x FROM (VALUES ('a'), ('B'), ('é')) AS t(x) ORDER BY x").fetchall()
    assert zone == "UTC"
    assert [row[0] for row in rows] == ["B", "a", "é"]


def test_a_statement_that_took_long_is_logged_without_what_it_was_about(postgres: PostgresServer) -> None:
    log = postgres.folder / "postgres.log"
    with postgres.connect() as connection:
        connection.execute("SET log_min_duration_statement = 0")  # from now on any time is long
        connection.execute("SELECT length(%s) AS first_of_two", ("holiday.mp4",))
        connection.execute("SELECT 2 AS second_of_two")
    wait_until(lambda: "second_of_two" in log.read_text())
    assert "first_of_two" in log.read_text()
    assert "holiday.mp4" not in log.read_text()


def test_a_rule_that_was_broken_is_logged_without_what_broke_it(postgres: PostgresServer) -> None:
    log = postgres.folder / "postgres.log"
    with postgres.connect() as connection:
        connection.execute("CREATE TEMP TABLE kept (name text UNIQUE, size int CHECK (size > 0))")
        insert = "INSERT INTO kept VALUES (%s, %s)"
        connection.execute(insert, ("birthday.mp4", 1))
        with pytest.raises(psycopg.errors.UniqueViolation, match=r"birthday\.mp4"):  # told to who asked
            connection.execute(insert, ("birthday.mp4", 2))
        with pytest.raises(psycopg.errors.CheckViolation, match=r"birthday\.mp4"):
            connection.execute(insert, ("birthday.mp4", -1))
    wait_until(lambda: "kept_size_check" in log.read_text())
    assert "kept_name_key" in log.read_text()
    assert "birthday.mp4" not in log.read_text()


def test_postgres_keeps_its_data_its_address_and_its_passwords(servers_folder: Path) -> None:
    folder = servers_folder / "kept"
    with PostgresServer(folder, is_durable=False) as first:
        first_url, first_pid = first.url(), first.pid
        with psycopg.connect(first.url(OWNER_ROLE)) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    with PostgresServer(folder, is_durable=False) as second:
        assert second.url() == first_url
        assert second.pid != first_pid
        with psycopg.connect(second.url(OWNER_ROLE)) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
    assert not listens(second.port)
    assert second.pid is None


def test_a_template_gives_databases_that_know_nothing_of_each_other(postgres: PostgresServer) -> None:
    postgres.make_database("first_copy")
    postgres.make_database("second_copy", template="first_copy")
    with psycopg.connect(postgres.url(OWNER_ROLE, "first_copy")) as connection:
        connection.execute("CREATE TABLE only_here (number int)")
    with psycopg.connect(postgres.url(OWNER_ROLE, "second_copy")) as connection:
        assert connection.execute("SELECT to_regclass('only_here')").fetchone() == (None,)
    postgres.drop_database("first_copy")
    postgres.drop_database("second_copy")
    postgres.drop_database("second_copy")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another user")
def test_root_opens_no_folder_for_postgres(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    above = [closed, *closed.parents]
    modes = [path.stat().st_mode for path in above]
    with PostgresServer(closed / "postgres", is_durable=False) as server:
        place = (closed / "postgres" / "place").resolve()
        with psycopg.connect(server.url()) as connection:
            assert connection.info.user == FLEET_ROLE
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
        assert place.parent == Path("/var/lib")
    assert [path.stat().st_mode for path in above] == modes
    assert stat.S_IMODE((place / "data").stat().st_mode) == 0o700
    for path in sorted(place.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    place.rmdir()


def test_secrets_are_for_their_owner_alone(
    postgres: PostgresServer, valkey: ValkeyServer, s3: SeaweedServer
) -> None:
    files = [server.folder / "secrets.json" for server in (postgres, valkey, s3)]
    files += [valkey.folder / "valkey.conf", s3.folder / "s3.json"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600] * 5


def test_valkey_never_evicts_and_keeps_messages_over_a_restart(servers_folder: Path) -> None:
    folder = servers_folder / "kept-valkey"
    with ValkeyServer(folder) as first:
        with redis.Redis.from_url(first.url) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            client.rpush("standard", "doorbell")
        url = first.url
    with ValkeyServer(folder) as second, redis.Redis.from_url(url) as client:
        assert second.url == url
        assert client.lrange("standard", 0, -1) == [b"doorbell"]


def test_valkey_wants_the_password(valkey: ValkeyServer) -> None:
    with (
        redis.Redis(host="127.0.0.1", port=valkey.port, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        client.ping()


def test_valkey_is_not_ready_while_it_does_not_answer(valkey: ValkeyServer) -> None:
    wait_until(valkey.is_ready)  # a look gives up after a second, in which a busy machine may not answer
    other = ValkeyServer(valkey.folder.parent / "never")
    other.port = valkey.port
    assert not other.is_ready()  # without the password it does not serve


def test_seaweedfs_leaves_no_port_and_no_socket(servers_folder: Path) -> None:
    with SeaweedServer(servers_folder / "short") as server:
        ports = json.loads((server.folder / "ports.json").read_text()).values()
        assert listens(server.port)
    assert [port for port in ports if listens(port)] == []
    assert [path for port in ports for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")] == []


class PortTaker:
    """Listens on a server's port in the moment between the choice of it and the server's start."""

    def __init__(self, server: Server, starts: int) -> None:
        self._prepare, self._starts = server.prepare, starts
        self._server = server
        self.taken: list[socket.socket] = []

    def prepare(self) -> Program:
        program = self._prepare()
        if len(self.taken) < self._starts:
            self.taken.append(socket.create_server(("127.0.0.1", self._server.port)))
        return program

    def ports(self) -> list[int]:
        return [each.getsockname()[1] for each in self.taken]


@pytest.fixture
def take_ports(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Server, int], PortTaker]]:
    takers: list[PortTaker] = []

    def take(server: Server, starts: int) -> PortTaker:
        takers.append(PortTaker(server, starts))
        monkeypatch.setattr(server, "prepare", takers[-1].prepare)
        return takers[-1]

    yield take
    for taken in (each for taker in takers for each in taker.taken):
        taken.close()


@pytest.mark.parametrize("kind", [PostgresServer, ValkeyServer, SeaweedServer])
def test_a_server_whose_port_is_taken_before_it_listens_takes_another(
    servers_folder: Path, take_ports: Callable[[Server, int], PortTaker], kind: type[Server]
) -> None:
    server = kind(servers_folder / f"late-{kind.name}")
    taker = take_ports(server, 1)
    with server:
        assert taker.ports() != [server.port]
        assert server.is_ready()


def test_a_supervised_server_whose_port_is_taken_runs_once(
    servers_folder: Path, take_ports: Callable[[Server, int], PortTaker]
) -> None:
    server, supervisor = (
        ValkeyServer(servers_folder / "late-again"),
        Supervisor(lambda _: None, lambda _: None),
    )
    taker = take_ports(server, 1)
    try:
        server.run_with(supervisor.start)
        assert taker.ports() != [server.port]
        assert set(supervisor.pids) == {"valkey"}
        supervisor.watch()
        assert server.is_ready()
    finally:
        supervisor.stop(lambda: True)


def test_a_server_whose_ports_are_always_taken_says_so(
    servers_folder: Path, take_ports: Callable[[Server, int], PortTaker]
) -> None:
    server = ValkeyServer(servers_folder / "never-free")
    taker = take_ports(server, 100)
    with pytest.raises(EndedAtStart, match="Address already in use"):
        server.start()
    assert len(taker.ports()) == 3
    assert server.pid is None


def test_a_store_takes_objects_in_many_buckets(s3: SeaweedServer) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        region_name="us-east-1",
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
    )
    for count in range(20):
        client.create_bucket(Bucket=f"many-{count}")
        client.put_object(Bucket=f"many-{count}", Key="a.mp4", Body=b"x" * 4096)
    assert client.get_object(Bucket="many-19", Key="a.mp4")["Body"].read() == b"x" * 4096
