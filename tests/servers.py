"""Real Postgres, Valkey and SeaweedFS for the tests, started once for a run and only when a test asks."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakesieve.embedded.postgres import PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.embedded.valkey import ValkeyServer
from tests.waiting import wait_until

# Hundreds of databases are copied and dropped in a run: 20 MB/s to a disk that may be shared and slow.
MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30


def find_roomy_memory() -> Path | None:
    """Return the file system in memory where it has room for the servers and may run their programs."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return None
    found = os.statvfs(MEMORY)
    may_run = not found.f_flag & os.ST_NOEXEC
    return MEMORY if may_run and found.f_bavail * found.f_frsize >= ROOM_BYTES else None


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """A folder that every user can enter, as Postgres does not run as root; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="fakesieve-servers-", dir=find_roomy_memory()))
    folder.chmod(0o755)
    yield folder

    def is_removed() -> bool:
        shutil.rmtree(folder, ignore_errors=True)  # a process that was killed may write a last file
        return not folder.exists()

    wait_until(is_removed, lambda: list(folder.rglob("*")))


@pytest.fixture(scope="session")
def postgres(servers_folder: Path) -> Iterator[PostgresServer]:
    """A database server with the roles of the fleet; use a fresh database of it, not its own."""
    with PostgresServer(servers_folder / "postgres", is_durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def valkey(servers_folder: Path) -> Iterator[ValkeyServer]:
    """A broker for the whole run; what a test puts there it removes."""
    with ValkeyServer(servers_folder / "valkey") as server:
        yield server


@pytest.fixture(scope="session")
def s3(servers_folder: Path) -> Iterator[SeaweedServer]:
    """An object store for the whole run; a test makes a bucket of its own."""
    with SeaweedServer(servers_folder / "seaweedfs") as server:
        yield server
