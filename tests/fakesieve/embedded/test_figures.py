"""Where Prometheus reads the processes of a fleet on one machine: each at a port of its own."""

import json
from pathlib import Path

import pytest

from fakesieve.embedded.fleet import METRICS_PORT, Fleet
from fakesieve.embedded.run_folder import RunFolder

ROLES = ("relay", "reconciler", "worker")


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(RunFolder(tmp_path), {role: ("fakesieve", role) for role in ROLES})


def ask(fleet: Fleet, tell: list[str]) -> dict[str, str]:
    """The variable by role, as each process gets it."""
    figures = fleet._number_figures(tell.append)
    programs = {
        role: fleet._make_program(role, command, figures.get(role, {}))
        for role, command in fleet.commands.items()
    }
    return {
        role: program.environment[METRICS_PORT]
        for role, program in programs.items()
        if METRICS_PORT in program.environment
    }


def test_each_process_has_a_port_from_the_one_that_is_asked_for(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(METRICS_PORT, "9100")
    told = list[str]()
    assert ask(fleet, told) == {"relay": "9100", "reconciler": "9101", "worker": "9102"}
    assert told[1] == "reconciler shows its figures at http://127.0.0.1:9101/metrics"
    kept = json.loads((fleet.folder.path / "metrics-ports.json").read_text())
    assert kept == {"relay": 9100, "reconciler": 9101, "worker": 9102}


def test_free_ports_are_found_told_and_kept(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(METRICS_PORT, "0")
    told = list[str]()
    ports = ask(fleet, told)
    assert set(ports) == set(ROLES)
    assert len(set(ports.values())) == len(ROLES)
    assert all(f":{ports[role]}/" in line for role, line in zip(ROLES, told, strict=True))
    assert ask(fleet, []) == ports


@pytest.mark.parametrize("asked", [None, "", "nine"])
def test_what_names_no_port_is_left_to_the_processes(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, asked: str | None
) -> None:
    monkeypatch.delenv(METRICS_PORT, raising=False)
    if asked is not None:
        monkeypatch.setenv(METRICS_PORT, asked)
    told = list[str]()
    assert set(ask(fleet, told).values()) == ({asked} if asked is not None else set())
    assert told == []
