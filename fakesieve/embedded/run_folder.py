"""The folder of a fleet on one machine: who runs in it, and how to reach what runs there.

A lock that the kernel drops with its holder says whether a fleet runs, so that a killed one leaves no doubt.
"""

import fcntl
import json
import os
import shlex
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

from fakesieve.embedded.program import POLL_S, kill_group
from fakesieve.embedded.secret import write_private
from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason

MARK = "FAKESIEVE_RUN_FOLDER"
"""The variable by which the processes of a folder are known again, whatever else got their ids."""
MAIN_ROLE = "up"
_LEAVE_S = 10.0


class RunFolder:
    """A folder in which at most one fleet runs."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.env_file = self.path / "env"
        self.pids_file = self.path / "pids.json"
        self.logs = self.path / "logs"
        self._lock: int | None = None

    def take(self) -> None:
        """Become the one that runs here; ends what a killed predecessor left behind.

        Raises RequestRefused where another fleet runs in the folder.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            os.close(lock)
            raise self._refuse() from fault
        self._lock = lock
        self.logs.mkdir(exist_ok=True)
        self.end_strays()
        self.forget()
        self.publish_pids({})

    def check_free(self) -> None:
        """Raise RequestRefused where a fleet runs in the folder."""
        if self.is_taken():
            raise self._refuse()

    def _refuse(self) -> RequestRefused:
        return RequestRefused(
            Reason.INVALID_REQUEST,
            f"a fleet runs in {self.path} already (process {self.read_pids().get(MAIN_ROLE, 'unknown')})",
            f"use it, see {self.env_file}; or end it: fakesieve down --dir {shlex.quote(str(self.path))}; "
            "or choose another --dir",
        )

    def leave(self) -> None:
        """Stop being the one that runs here; nothing where this is not the one."""
        if self._lock is not None:
            self.forget()
            os.close(self._lock)
            self._lock = None

    def is_taken(self) -> bool:
        """Return whether a fleet runs here, of this process or another."""
        try:
            lock = os.open(self.path / "lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def forget(self) -> None:
        """Remove the files that describe a running fleet."""
        self.env_file.unlink(missing_ok=True)
        self.pids_file.unlink(missing_ok=True)

    def publish_pids(self, pids: Mapping[str, int]) -> None:
        """Write the process ids by role, this process among them."""
        write_private(self.pids_file, json.dumps({MAIN_ROLE: os.getpid(), **pids}, indent=1) + "\n")

    def read_pids(self) -> dict[str, int]:
        """Return the process ids by role as last written, none where no fleet runs."""
        try:
            return cast("dict[str, int]", json.loads(self.pids_file.read_text(encoding="ascii")))
        except FileNotFoundError:
            return {}

    def publish_environment(self, values: Mapping[str, str]) -> None:
        """Write the variables with which commands reach this fleet, for a shell to read."""
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
        write_private(self.env_file, "".join(lines))

    def read_environment(self) -> dict[str, str]:
        """Return the variables with which commands reach the fleet that runs here, none where none does."""
        if not self.env_file.exists():
            return {}
        words = [shlex.split(line)[1] for line in self.env_file.read_text(encoding="utf-8").splitlines()]
        return dict(word.split("=", 1) for word in words)

    def end_strays(self, patience_s: float = _LEAVE_S) -> None:
        """End what a killed fleet left running; the kernel told its programs, and some take their time."""
        pids = [pid for role, pid in self.read_pids().items() if role != MAIN_ROLE and self._is_ours(pid)]
        deadline = time.monotonic() + patience_s
        while any(self._is_ours(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        for pid in pids:
            if self._is_ours(pid):
                kill_group(pid)

    def _is_ours(self, pid: int) -> bool:
        """Return whether a process was started for this folder; another may have got its id since."""
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return os.fsencode(f"{MARK}={self.path}") in environment.split(b"\0")


def ask_to_end(pid: int) -> None:
    """Send a fleet's main process the signal on which it ends everything."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one whose status nobody has fetched yet does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"
