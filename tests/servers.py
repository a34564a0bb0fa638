"""Real Postgres, Valkey and SeaweedFS for the tests, started once for a run and only when a test asks."""

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakesieve.embedded.postgres import PostgresServer
from fakesieve.embedded.seaweed import SeaweedServer
from fakesieve.embedded.valkey import ValkeyServer

# Hundreds of databases are copied and dropped in a run: 20 MB/s to a disk that may be shared and slow.
MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30
_LAST_FILE_S = 10.0  # a process that was killed writes its last file well before


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
    remove_folder(folder)


def remove_folder(folder: Path) -> None:
    """Remove a folder into which processes that were just killed may write a last file.

    Raises OSError where something goes on writing for seconds, and at once for any other reason.
    """
    until_s: float | None = None  # counted from the first time, as a full folder may take long by itself
    while True:
        try:
            shutil.rmtree(folder)
        except OSError as fault:
            until_s = until_s or time.monotonic() + _LAST_FILE_S
            if fault.errno != errno.ENOTEMPTY or time.monotonic() > until_s:
                raise
            time.sleep(0.02)
        else:
            return


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
