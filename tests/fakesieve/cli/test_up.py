"""A whole fleet of real servers, with small programs in place of the worker processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from fakesieve.cli.down import end_fleet
from fakesieve.cli.folder import choose_folder
from fakesieve.cli.up import StopAsked, StopSignals
from fakesieve.embedded.ports import HIGHEST, LOWEST
from fakesieve.embedded.run_folder import MARK, RunFolder, is_alive
from fakesieve.errors import RequestRefused, Unavailable
from fakesieve.reasons import Reason
from tests.waiting import PATIENCE_S, wait_until

# What `fakesieve up` runs, but with programs that only wait in place of those that load a network.
RUN = """
import sys
from pathlib import Path
from fakesieve.cli.up import run_fleet
from fakesieve.embedded import ports
from fakesieve.embedded.fleet import Fleet
from fakesieve.embedded.run_folder import RunFolder
ports.LOWEST, ports.HIGHEST = map(int, sys.argv[2:])
wait = "import os, time; print(os.environ['FAKESIEVE_BUCKET'], flush=True); time.sleep(600)"
idle = (sys.executable, "-c", wait)
from fakesieve.errors import FleetError
try:
    sys.exit(run_fleet(Fleet(RunFolder(Path(sys.argv[1])), {"relay": idle, "worker": idle, "api": idle})))
except FleetError as fault:
    sys.exit(f"{fault.seen} {fault.hint}")
"""
ROLES = {"up", "postgres", "valkey", "seaweedfs", "relay", "worker", "api"}


def start(folder: Path) -> "subprocess.Popen[str]":
    # Of the ports that no other process of the tests takes.
    command = [sys.executable, "-c", RUN, str(folder), str(LOWEST), str(HIGHEST)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until_up(process: "subprocess.Popen[str]", folder: RunFolder) -> dict[str, int]:
    def is_up() -> bool:
        if process.poll() is not None:
            raise AssertionError(process.communicate())
        return folder.env_file.exists() and folder.read_pids().get("up") == process.pid

    wait_until(is_up)
    return folder.read_pids()


def wait_until_gone(pids: dict[str, int]) -> None:
    def list_living() -> list[str]:
        return [role for role, pid in pids.items() if is_alive(pid)]

    wait_until(lambda: not list_living(), list_living)


def list_ports(folder: RunFolder) -> list[int]:
    return [
        port
        for name in ("postgres", "valkey", "seaweedfs", "api")
        for port in json.loads((folder.path / name / "ports.json").read_text()).values()
    ]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fakesieve-up-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture(autouse=True)
def _leave_no_fleet(place: Path) -> Iterator[None]:
    """End what a failed test has left, so that the next one fails for reasons of its own."""
    yield
    end_fleet(RunFolder(place / "fleet"))


def test_a_fleet_runs_heals_ends_and_comes_back(place: Path) -> None:
    folder = RunFolder(place / "fleet")
    process = start(folder.path)
    pids = wait_until_up(process, folder)
    assert set(pids) == ROLES

    # What it wrote leads to what runs.
    environment = folder.read_environment()
    assert set(environment) == {
        f"FAKESIEVE_{name}"
        for name in (
            "DATABASE_URL",
            "BROKER_URL",
            "S3_ENDPOINT",
            "S3_ACCESS_KEY",
            "S3_SECRET_KEY",
            "BUCKET",
            "API_KEY",
            "API_URL",
        )
    }
    shell = subprocess.run(
        ["sh", "-c", f". {folder.env_file} && echo $FAKESIEVE_DATABASE_URL"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout.strip() == environment["FAKESIEVE_DATABASE_URL"]
    assert folder.env_file.stat().st_mode & 0o077 == 0
    with psycopg.connect(environment["FAKESIEVE_DATABASE_URL"]) as connection:
        connection.execute("SET fakesieve.tenant_id = '*'")
        assert connection.execute("SELECT count(*) FROM api_key").fetchone() == (1,)
    with redis.Redis.from_url(environment["FAKESIEVE_BROKER_URL"]) as broker:
        assert broker.ping()
    wait_until((folder.logs / "worker.log").read_text)  # nobody waits for a worker to be ready
    assert (folder.logs / "worker.log").read_text() == "videos\n"

    # A second one is refused and harms nothing.
    second = start(folder.path)
    _, said = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 1
    assert "already (process" in said
    assert "fakesieve down --dir" in said
    assert folder.read_pids() == pids

    # What dies is started again, a server under its old address.
    for role in ("worker", "valkey"):
        os.kill(pids[role], signal.SIGKILL)
    killed = {pids["worker"], pids["valkey"]}
    wait_until(lambda: set(folder.read_pids()) == ROLES and not killed & set(folder.read_pids().values()))
    now = folder.read_pids()
    # Its new process is known before it listens; clients try again, as Celery does.
    patient = Retry(ConstantBackoff(0.1), 1000)
    with redis.Redis.from_url(environment["FAKESIEVE_BROKER_URL"], retry=patient) as broker:
        assert broker.ping()

    # Killed without a chance to end anything, it leaves nothing that the next start does not clear.
    process.kill()
    process.communicate()
    again = start(folder.path)
    after = wait_until_up(again, folder)
    wait_until_gone({role: pid for role, pid in now.items() if role != "up"})
    assert set(after) == ROLES
    assert folder.read_environment() == environment

    # Ctrl-C ends everything.
    ports = list_ports(folder)
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 130
    wait_until_gone(after)
    assert [port for port in ports if listens(port)] == []
    assert not folder.env_file.exists()
    assert folder.read_pids() == {}
    left = {f"/tmp/seaweedfs-{part}-grpc-{port}.sock" for part in ("s3", "filer", "admin") for port in ports}
    assert [path for path in left if Path(path).exists()] == []


def test_down_ends_a_fleet_and_says_where_none_runs(place: Path) -> None:
    folder = RunFolder(place / "fleet")
    process = start(folder.path)
    pids = wait_until_up(process, folder)
    assert end_fleet(folder)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    wait_until_gone(pids)
    assert not end_fleet(folder)
    assert not end_fleet(RunFolder(place / "nowhere"))
    assert not (place / "nowhere").exists()


def test_a_signal_waits_until_a_started_program_is_noted() -> None:
    signals, noted = StopSignals(), list[str]()

    def start_one() -> None:
        with signals.hold():
            os.kill(os.getpid(), signal.SIGTERM)
            noted.append("started")

    with signals.listen(), pytest.raises(StopAsked) as asked:
        start_one()
    assert noted == ["started"]
    assert asked.value.number == signal.SIGTERM


def test_a_signal_during_a_start_that_fails_is_put_off_no_further() -> None:
    signals = StopSignals()

    def start_one() -> None:
        with suppress(Unavailable), signals.hold():  # as of a program that is started again later
            os.kill(os.getpid(), signal.SIGTERM)
            raise Unavailable(Reason.INTERNAL, "no memory for one more process")

    with signals.listen(), pytest.raises(StopAsked) as asked:
        start_one()
    assert asked.value.number == signal.SIGTERM


def test_a_second_signal_hurries_and_interrupts_nothing() -> None:
    signals = StopSignals()
    with signals.listen():
        with pytest.raises(StopAsked):
            os.kill(os.getpid(), signal.SIGINT)
        assert not signals.is_hurried()
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.is_hurried()


def test_strays_are_ended_and_strangers_spared(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    stray = subprocess.Popen(["sleep", "600"], env={MARK: str(folder.path)}, start_new_session=True)
    stranger = subprocess.Popen(["sleep", "600"], env={MARK: "/elsewhere"}, start_new_session=True)
    folder.publish_pids({"worker": stray.pid, "relay": stranger.pid})
    # A program is begun a moment before the system can tell its environment.
    wait_until(lambda: MARK.encode() in Path(f"/proc/{stray.pid}/environ").read_bytes())
    folder.end_strays(patience_s=0.1)
    assert stray.wait(PATIENCE_S) == -signal.SIGKILL
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_folder_is_taken_by_one_alone(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path), RunFolder(tmp_path)
    assert not first.is_taken()
    first.take()
    assert second.is_taken()
    with pytest.raises(RequestRefused, match="a fleet runs in"):
        second.take()
    second.leave()
    assert first.read_pids() == {"up": os.getpid()}
    first.leave()
    assert not second.is_taken()
    second.take()
    second.leave()


def test_variables_survive_the_shell(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    values = {"FAKESIEVE_A": "it's $HOME `ls`", "FAKESIEVE_B": "redis://:x@h/0?a=b"}
    folder.publish_environment(values)
    assert folder.read_environment() == values
    script = f'. {folder.env_file}; printf "%s|%s" "$FAKESIEVE_A" "$FAKESIEVE_B"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "|".join(values.values())


def test_without_a_folder_it_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert choose_folder(tmp_path / "a") == tmp_path / "a"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert choose_folder(None) == Path("/var/lib/fakesieve")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert choose_folder(None) == tmp_path / "fakesieve"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    assert choose_folder(None) == Path("/home/ada/.local/state/fakesieve")
