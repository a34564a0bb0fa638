"""Free ports of this machine that stay free until a server takes them."""

import json
import secrets
import shlex
import socket
from pathlib import Path
from typing import cast

from fakesieve.embedded.secret import write_private
from fakesieve.errors import SetupRefused, Unavailable
from fakesieve.reasons import Reason

# Below the range that Linux gives to outgoing connections (32768 and up), so that no client takes a port
# between the look and the start, or while its server is started again.
LOWEST, HIGHEST = 16_000, 32_000
_TRIES = 2_000
HOST = "127.0.0.1"

_given = set[int]()


def find_ports(count: int) -> tuple[int, ...]:
    """Return that many different TCP ports on which nothing listens.

    None is given twice by this process: whoever has it may not listen yet.
    """
    found: list[int] = []
    for _ in range(_TRIES):
        if len(found) == count:
            return tuple(found)
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST)
        if port not in _given and is_free(port):
            found.append(port)
            _given.add(port)
    raise Unavailable(
        Reason.INTERNAL,
        f"no {count} free ports between {LOWEST} and {HIGHEST}",
        "end some of the programs that listen on this machine",
    )


def keep_ports(path: Path, names: tuple[str, ...]) -> dict[str, int]:
    """Return a free port by name: those in the file while they are free, new ones else.

    So a server keeps its address over a restart, and what it left behind under its old ports is found.
    """
    kept = _read_ports(path)
    ports = {name: kept[name] for name in names if name in kept and is_free(kept[name])}
    missing = [name for name in names if name not in ports]
    ports |= dict(zip(missing, find_ports(len(missing)), strict=True))
    write_private(path, json.dumps(ports) + "\n")
    return ports


def number_ports(path: Path, names: tuple[str, ...], first: int) -> dict[str, int]:
    """Return a port by name: the first one and those after it, or for 0 such as :func:`keep_ports` finds.

    The file tells them afterwards.
    """
    if first == 0:
        return keep_ports(path, names)
    ports = {name: first + n for n, name in enumerate(names)}
    write_private(path, json.dumps(ports) + "\n")
    return ports


def has_lost_port(path: Path) -> bool:
    """Return whether something listens on a port of the file, whose server does not run."""
    return not all(map(is_free, _read_ports(path).values()))


def _read_ports(path: Path) -> dict[str, int]:
    if not path.exists():
        return {}
    try:
        found: object = json.loads(path.read_text(encoding="ascii"))
    except ValueError:
        found = None
    kept = cast("dict[str, object]", found) if isinstance(found, dict) else {"": found}
    if not all(isinstance(port, int) for port in kept.values()):
        raise SetupRefused(
            Reason.INVALID_SETTINGS,
            f"{path} does not tell the ports of a fleet; it was changed, or cut off by a full disk",
            f"remove it and start again: rm {shlex.quote(str(path))}; free ports are found anew",
        )
    return cast("dict[str, int]", kept)


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port of this machine, on any of its addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do it: a connection that has just ended does not keep the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
