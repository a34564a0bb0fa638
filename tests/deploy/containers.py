"""A service of docker-compose.yml run on this machine: its command, its variables, its files elsewhere."""

import json
import os
import re
import shutil
import signal
import sys
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakesieve.embedded.postgres import PostgresServer
from fakesieve.embedded.program import Program
from fakesieve.embedded.wheels import find_postgres, find_seaweed, find_valkey
from tests.deploy.manifests import ROOT
from tests.waiting import PATIENCE_S

_NAMED_HOST = re.compile(r"@?\b(postgres|valkey|seaweedfs):(5432|6379|8333)\b")
WEED_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
)


class BarePostgres(PostgresServer):
    """A server without the roles of the fleet, as its image starts one."""

    def finish_start(self) -> None:
        return


@dataclass(frozen=True)
class Machine:
    """Where what the containers have lies here: their programs, their folders, and each other."""

    folder: Path
    ports: Mapping[str, int]  # by name of the service

    def __post_init__(self) -> None:
        programs = self.folder / "bin"
        programs.mkdir()
        found = {
            "valkey-server": find_valkey(),
            "weed": find_seaweed(),
            "psql": find_postgres() / "bin" / "psql",
            "pg_isready": find_postgres() / "bin" / "pg_isready",
            "fakesieve": Path(sys.executable).parent / "fakesieve",
            "python": Path(sys.executable),
        }
        for name, path in found.items():
            # A link to Python would lose its environment, so all are small scripts.
            script = programs / name
            script.write_text(f'#!/bin/sh\nexec "{path}" "$@"\n', encoding="utf-8")
            script.chmod(0o755)

    def environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        """The variables of a service and no others; names of services become ports of this machine."""
        given = {name: self.place(str(value)) for name, value in (service.get("environment") or {}).items()}
        base = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "HOME": str(self.folder)}
        return base | given

    def place(self, text: str) -> str:
        """Return a text with the addresses of services replaced by those on this machine."""

        def replace(found: re.Match[str]) -> str:
            at = "@" if found[0].startswith("@") else ""
            return f"{at}127.0.0.1:{self.ports[found[1]]}"

        return _NAMED_HOST.sub(replace, text)

    def mount(self, name: str, service: Mapping[str, Any]) -> Callable[[str], str]:
        """Make the folders and files that a service mounts; return what names them in a text."""
        root = self.folder / name
        places = {mount["target"]: mount.get("source") for mount in service.get("volumes", ())}
        places |= {entry.partition(":")[0]: None for entry in service.get("tmpfs", ())}
        for target, source in places.items():
            here = root / target.lstrip("/")
            if source is not None and Path(source).is_file():
                here.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, here)
            else:
                here.mkdir(parents=True, exist_ok=True)
        targets = re.compile("|".join(rf"{re.escape(target)}(?![\w-])" for target in places))
        return lambda text: targets.sub(lambda found: f"{root}{found[0]}", text)

    def program(
        self,
        name: str,
        service: Mapping[str, Any],
        words: Iterable[str],
        is_ready: Callable[[], bool] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Program:
        """The service as a program of this machine, to be ended as Compose would."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return Program(
            role=name,
            command=tuple(words),
            folder=folder,
            log=self.folder / f"{name}.log",
            environment=self.environment(service) | dict(environment or {}),
            stop_signal=signal.Signals[service.get("stop_signal", "SIGTERM")],
            stop_s=PATIENCE_S,
            start_s=PATIENCE_S,
            is_ready=is_ready,
        )


def read_instruction(target: str, name: str) -> list[str]:
    """The words of ENTRYPOINT or CMD of an image of ours, its own or that of the image it is made from."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(rf"^FROM (\S+) AS {re.escape(target)}\n(.*?)(?=^FROM |\Z)", dockerfile, re.M | re.S)
    if found is None:
        return []  # an image of somebody else
    told = re.search(rf"^{name} (\[.+\])$", found[2], re.MULTILINE)
    words: list[str] = json.loads(told[1]) if told else read_instruction(found[1], name)
    return words


def command_of(service: Mapping[str, Any]) -> list[str]:
    """All words of a service's command line; what it does not say is what its image says."""
    image = str(service["image"])
    target = image.removeprefix("fakesieve-") if image.startswith("fakesieve-") else ""
    entrypoint, command = service.get("entrypoint"), service.get("command")
    if target and entrypoint is None:
        entrypoint = read_instruction(target, "ENTRYPOINT")
    if target and command is None:
        command = read_instruction(target, "CMD")
    return [*(entrypoint or ()), *(command or ())]


def read_metrics(port: int) -> str:
    """What Prometheus is told at a port of this machine."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
        text: str = answer.read().decode()
    return text


def read_figure(port: int, figure: str) -> float | None:
    """What a process tells of a figure, None where it does not tell it yet."""
    found = re.search(rf"^{re.escape(figure)} (\S+)$", read_metrics(port), re.MULTILINE)
    return None if found is None else float(found[1])
