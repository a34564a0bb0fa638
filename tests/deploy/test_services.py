"""Each service's command as docker-compose.yml has it, run on this machine against each other.

What differs from a container: paths that it mounts lie in a folder of the test, names of services are ports
of this machine, and ports come as further arguments. Images, limits and networks are not tried out here.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import onnxruntime
import psycopg
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from standardwebhooks.webhooks import Webhook

from fakesieve.database import open_database
from fakesieve.embedded.ports import find_ports
from fakesieve.embedded.postgres import SUPERUSER
from fakesieve.embedded.program import Running
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.records.revision import check_revision
from fakesieve.records.tenants import ensure_tenant
from fakesieve.values.webhooks import EndpointDraft, EventType
from fakesieve.webhooks.addresses import AddressRules
from fakesieve.webhooks.endpoints import create_endpoint
from fakesieve.webhooks.events import record_event
from tests.deploy.containers import WEED_PORTS, BarePostgres, Machine, command_of, read_figure
from tests.deploy.manifests import make_secrets, read_compose
from tests.receivers import LOCAL_NETWORKS, receiving
from tests.waiting import PATIENCE_S, wait_until
from workers.startup import check_broker

ROLES = ("fakesieve_app", "fakesieve_fleet", "fakesieve_owner")


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    return make_secrets()


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory, secrets: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = read_compose(tmp_path_factory.mktemp("compose"), secrets)["services"]
    return found


@pytest.fixture(scope="module")
def bare_postgres(servers_folder: Path) -> Iterator[BarePostgres]:
    with BarePostgres(servers_folder / "bare-postgres", is_durable=False) as server:
        yield server


@pytest.fixture(scope="module")
def machine(servers_folder: Path, bare_postgres: BarePostgres) -> Machine:
    folder = servers_folder / "containers"
    folder.mkdir()
    valkey, seaweedfs = find_ports(2)
    return Machine(folder, {"postgres": bare_postgres.port, "valkey": valkey, "seaweedfs": seaweedfs})


@pytest.fixture(scope="module")
def roles(machine: Machine, compose: dict[str, Any], bare_postgres: BarePostgres) -> dict[str, str]:
    """The environment of the Postgres service, once its init script has run."""
    service = compose["postgres"]
    (script,) = (mount for mount in service["volumes"] if mount["target"].endswith("/10-roles.sh"))
    environment = machine.environment(service) | {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(bare_postgres.port),
        "PGPASSWORD": bare_postgres._secrets[SUPERUSER],
    }
    # The image runs it like this if it may be executed.
    assert os.access(script["source"], os.X_OK)
    run = subprocess.run(
        [script["source"]], env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    return environment


@pytest.fixture(scope="module")
def migrated(machine: Machine, compose: dict[str, Any], roles: dict[str, str]) -> dict[str, str]:
    """The environment of the fleet, once the service ``migrate`` has ended."""
    service = compose["migrate"]
    run = subprocess.run(
        command_of(service),
        env=machine.environment(service),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert run.returncode == 0, run.stderr
    assert "went from revision none to" in run.stdout
    return machine.environment(compose["relay"])


@pytest.fixture(scope="module")
def broker(machine: Machine, compose: dict[str, Any]) -> Iterator[str]:
    """The address of the service ``valkey``, which runs."""
    service = compose["valkey"]
    here = machine.mount("valkey", service)
    config = machine.folder / "valkey" / "etc" / "valkey" / "valkey.conf"
    config.write_text(here(config.read_text(encoding="utf-8")), encoding="utf-8")
    shell, flags, script = command_of(service)
    assert script.endswith("/run/valkey/valkey.conf\n")
    script = f"{here(script).rstrip()} --port {machine.ports['valkey']} --bind 127.0.0.1"
    url = machine.place(compose["relay"]["environment"]["FAKESIEVE_BROKER_URL"])

    def is_ready() -> bool:
        try:
            check_broker(url)
        except Exception:  # noqa: BLE001 - not yet, whatever it is
            return False
        return True

    with running(machine, "valkey", service, [shell, flags, script], is_ready):
        yield url


@pytest.fixture(scope="module")
def objects(machine: Machine, compose: dict[str, Any]) -> Iterator[str]:
    """The address of the service ``seaweedfs``, which runs."""
    service = compose["seaweedfs"]
    here = machine.mount("seaweedfs", service)
    port = machine.ports["seaweedfs"]
    ports = dict(zip((*WEED_PORTS, "s3.port.grpc"), find_ports(len(WEED_PORTS) + 1), strict=True))
    (shell, flags, script, *words) = [here(word) for word in command_of(service)]
    assert "-master=127.0.0.1:9333" in script
    script = script.replace("127.0.0.1:9333", f"127.0.0.1:{ports['master.port']}.{ports['master.port.grpc']}")
    words += [f"-{name}={found}" for name, found in ports.items()]
    words += [
        f"-s3.port={port}",
        "-s3.ip.bind=127.0.0.1",
        "-s3.localSocket=s3.sock",
        "-filer.localSocket=f.sock",
    ]
    kind, check = service["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    check = here(check).replace(":8333/", f":{port}/")
    server = SeaweedServer(machine.folder / "unused")
    server.port = port

    def is_ready() -> bool:
        return (
            subprocess.run(
                ["sh", "-c", check], check=False, capture_output=True, timeout=PATIENCE_S
            ).returncode
            == 0
        )

    # Killed: it would take 17 s to end by itself, and nobody misses its data.
    with running(machine, "seaweedfs", service, [shell, flags, script, *words], is_ready, stop_s=0.1):
        yield server.endpoint
    for found in (*ports.values(), port):
        for socket in Path("/tmp").glob(f"seaweedfs-*-{found}.sock"):
            socket.unlink()


@contextmanager
def running(
    machine: Machine,
    name: str,
    service: dict[str, Any],
    words: list[str],
    is_ready: Callable[[], bool],
    stop_s: float = 20.0,
) -> Iterator[Running]:
    process = Running(replace(machine.program(name, service, words, is_ready), stop_s=stop_s))
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()


def test_the_roles_are_plain_and_only_one_owns_the_tables(
    compose: dict[str, Any], machine: Machine, migrated: dict[str, str], bare_postgres: BarePostgres
) -> None:
    with bare_postgres.connect("postgres") as connection:
        rows = connection.execute(
            "SELECT rolname, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolcanlogin FROM pg_roles"
            " WHERE rolname LIKE 'fakesieve%' ORDER BY 1"
        ).fetchall()
    assert rows == [(name, False, False, False, False, True) for name in ROLES]
    with psycopg.connect(migrated["FAKESIEVE_DATABASE_URL"]) as connection:
        assert connection.execute("SELECT current_user, count(*) FROM job").fetchone() == (
            "fakesieve_fleet",
            0,
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DROP TABLE job")


def test_the_tables_are_those_of_this_release(migrated: dict[str, str]) -> None:
    database = open_database(migrated["FAKESIEVE_DATABASE_URL"])
    try:
        check_revision(database)
    finally:
        database.close()


def test_postgres_is_healthy_for_the_check_and_starts_with_its_options(
    compose: dict[str, Any], roles: dict[str, str], machine: Machine, bare_postgres: BarePostgres
) -> None:
    kind, *check = compose["postgres"]["healthcheck"]["test"]
    assert kind == "CMD"
    run = subprocess.run([*check, f"--port={bare_postgres.port}"], env=roles, check=False, timeout=PATIENCE_S)
    assert run.returncode == 0
    # Every option that the service gives is one that the server knows.
    options = [word for word in compose["postgres"]["command"] if "=" in word]
    with bare_postgres.connect("postgres") as connection:
        for name in (option.partition("=")[0] for option in options):
            assert connection.execute("SELECT current_setting(%s)", (name,)).fetchone()


def test_the_broker_evicts_nothing_and_wants_its_password(broker: str, machine: Machine) -> None:
    check_broker(broker)
    with pytest.raises(Exception, match="does not answer: Auth"):
        check_broker(f"redis://127.0.0.1:{machine.ports['valkey']}/0")
    config = machine.folder / "valkey" / "run" / "valkey" / "valkey.conf"
    assert config.stat().st_mode & 0o077 == 0


def test_the_key_of_the_store_reaches_its_bucket_alone(objects: str, secrets: dict[str, str]) -> None:
    def client(secret: str) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=objects,
            aws_access_key_id=secrets["S3_ACCESS_KEY"],
            aws_secret_access_key=secret,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 10}),  # it has just started; a refusal is final
        )

    ours = client(secrets["S3_SECRET_KEY"])
    assert [each["Name"] for each in ours.list_buckets()["Buckets"]] == ["videos"]
    ours.put_object(Bucket="videos", Key="a clip.mp4", Body=b"bytes")
    assert ours.get_object(Bucket="videos", Key="a clip.mp4")["Body"].read() == b"bytes"
    for attempt in (
        lambda: ours.create_bucket(Bucket="another"),
        lambda: ours.put_object(Bucket="another", Key="a", Body=b""),
        lambda: client("0" * 48).get_object(Bucket="videos", Key="a clip.mp4"),
    ):
        with pytest.raises(ClientError) as refused:
            attempt()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


# Of each service a figure that it tells once it is healthy; the API has counted the check.
FIGURES = {
    "relay": "fakesieve_relay_failures_total",
    "reconciler": "fakesieve_relay_failures_total",
    "sender": "fakesieve_relay_failures_total",
    "worker-cpu": "fakesieve_running",
    "worker-gpu": "fakesieve_running",
    "api": 'fakesieve_api_answers_total{method="GET",route="/health/ready",status="200"}',
}


@pytest.mark.parametrize("name", FIGURES)
def test_it_starts_answers_its_health_check_and_ends(
    compose: dict[str, Any],
    machine: Machine,
    migrated: dict[str, str],
    broker: str,
    objects: str,
    name: str,
) -> None:
    service = compose[name]
    port, api_port = find_ports(2)
    kind, *check = service["healthcheck"]["test"]
    assert kind == "CMD"
    check = [word.replace(":9100/", f":{port}/").replace(":8080/", f":{api_port}/") for word in check]
    scratch = machine.folder / f"{name}-scratch"
    scratch.mkdir()
    changed = {
        "FAKESIEVE_METRICS_PORT": str(port),
        "FAKESIEVE_API_PORT": str(api_port),
        "FAKESIEVE_SCRATCH_DIR": str(scratch),
        "FAKESIEVE_SLOTS": "1",
        "FAKESIEVE_DRAIN_S": "2",
    }
    if name == "worker-gpu":
        changed["FAKESIEVE_ENGINE"] = "auto"  # here is no GPU, and without one it does not start
    log = machine.folder / f"{name}.log"

    def is_ready() -> bool:
        return log.exists() and (b"host.started" in log.read_bytes() or not name.startswith("worker"))

    program = machine.program(name, service, command_of(service), is_ready, changed)
    process, checks = Running(program), 0

    def is_healthy() -> bool:
        nonlocal checks
        checks += 1
        assert process.poll() is None, log.read_text()
        run = subprocess.run(
            check, env=program.environment, capture_output=True, check=False, timeout=PATIENCE_S
        )
        return run.returncode == 0

    try:
        process.wait_ready()
        wait_until(is_healthy, log.read_text, every_s=0.2)
        # An answer is counted behind its end, and one that came too late for its check is counted, too.
        wanted = range(1, checks + 1) if name == "api" else range(1)
        wait_until(lambda: read_figure(port, FIGURES[name]) in wanted, log.read_text)
    finally:
        process.stop()
    # 143 is the command's own answer to SIGTERM, as long as Celery does not listen for it yet.
    assert process.poll() in ((0, 143) if name.startswith("worker") else (0,)), log.read_text()
    assert b"host.stopped" in log.read_bytes() or not name.startswith("worker")


def test_a_worker_without_its_gpu_does_not_compute_on_the_processor(
    compose: dict[str, Any], machine: Machine, migrated: dict[str, str], broker: str, objects: str
) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("its GPU is here")
    service = compose["worker-gpu"]
    scratch = machine.folder / "no-gpu-scratch"
    scratch.mkdir()
    changed = {"FAKESIEVE_METRICS_PORT": "0", "FAKESIEVE_SCRATCH_DIR": str(scratch)}
    log = machine.folder / "no-gpu.log"
    process = Running(machine.program("no-gpu", service, command_of(service), None, changed))
    try:
        wait_until(lambda: process.poll() is not None, log.read_text)
    finally:
        process.stop()
    assert process.poll() not in (None, 0)
    assert "ENGINE_UNAVAILABLE: onnxruntime-cuda" in log.read_text()


def test_a_first_key_is_made_and_jobs_are_listed(
    compose: dict[str, Any], machine: Machine, migrated: dict[str, str]
) -> None:
    service = compose["cli"]
    *command, help_ = command_of(service)
    assert help_ == "--help"

    def run(*arguments: str, **more: str) -> str:
        done = subprocess.run(
            [*command, *arguments],
            env=machine.environment(service) | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    key = run("keys", "create", "--tenant", "default").strip()
    assert len(key) > 64
    assert run("jobs", "ls", "--json", FAKESIEVE_API_KEY=key) == run("jobs", "ls", "--json") == ""


def test_the_sender_of_compose_takes_a_message_to_its_receiver(
    compose: dict[str, Any], machine: Machine, migrated: dict[str, str]
) -> None:
    """Its command and its variables as they stand, but for the network that the test's receiver is in."""
    service = compose["sender"]
    database = open_database(migrated["FAKESIEVE_DATABASE_URL"])
    with receiving() as receiver:
        with database.transaction(tenant_id=None) as session:
            tenant_id = ensure_tenant(session, "hooked")
        draft = EndpointDraft(receiver.url)
        with database.transaction(tenant_id=tenant_id) as session:
            made = create_endpoint(session, tenant_id, "key_test", draft, AddressRules.allow(LOCAL_NETWORKS))
            record_event(session, tenant_id, EventType.MODEL_PROMOTED, {"model_id": "mdl_x"})
        changed = {"FAKESIEVE_WEBHOOK_NETWORKS": ",".join(LOCAL_NETWORKS), "FAKESIEVE_METRICS_PORT": "0"}
        process = Running(machine.program("sender-posts", service, command_of(service), None, changed))
        try:
            wait_until(lambda: receiver.messages, (machine.folder / "sender-posts.log").read_text)
        finally:
            process.stop()
    database.close()
    (message,) = receiver.messages
    told = Webhook(made.secret).verify(message.body, dict(message.headers))
    assert (told["type"], told["data"]) == ("model.promoted", {"model_id": "mdl_x"})


def test_help_is_what_the_command_line_prints_first(compose: dict[str, Any], machine: Machine) -> None:
    run = subprocess.run(
        command_of(compose["cli"]),
        env=machine.environment(compose["cli"]),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert run.returncode == 0
    assert run.stdout.startswith("Usage: fakesieve COMMAND")
