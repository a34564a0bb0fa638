"""What the processes of a fleet use: processor time by role, memory by part of the host."""

import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from bench.measure import tree_pss_bytes

LOOK_S = 1.0  # a look at the memory of all processes of a host takes some ten milliseconds
INFERENCE = "workers.inference_loop"
PARTS = ("host", "inference", "decoders")


def tree_cpu_s(pid: int) -> float:
    """Sum the processor time of a process, its descendants, and those that they have waited for."""
    total = 0.0
    for member in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            times = member.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def cpu_by_role(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the processor time of each role so far, in seconds."""
    return {role: tree_cpu_s(pid) for role, pid in pids.items() if role != "up"}


def memory_by_part(worker: int) -> dict[str, int]:
    """Return the proportional set sizes of a host: its own process, the network's, and those that decode."""
    found = dict.fromkeys(PARTS, 0)
    for member in _tree(worker):
        with suppress(psutil.NoSuchProcess):
            found[_name_part(member, worker)] += pss_bytes(member.pid)
    return found


def _name_part(member: psutil.Process, worker: int) -> str:
    if member.pid == worker:
        return "host"
    return "inference" if INFERENCE in member.cmdline() else "decoders"


def pss_bytes(pid: int) -> int:
    """Return the proportional set size of one process, 0 if it has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0) * 1024


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


class Peaks:
    """The greatest memory seen so far: of the parts of a host each, of all together, and of another tree."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}

    def note(self, name: str, size: int) -> None:
        """Keep the greatest."""
        self.bytes[name] = max(self.bytes.get(name, 0), size)

    @contextmanager
    def watch_host(self, worker: int) -> Generator[None]:
        """Look at a host during the block."""

        def look() -> None:
            parts = memory_by_part(worker)
            for part, size in parts.items():
                self.note(part, size)
            self.note("host and all its processes", sum(parts.values()))

        with _repeat(look):
            yield

    @contextmanager
    def watch_tree(self, name: str, pid: int) -> Generator[None]:
        """Look at a process and all below it during the block."""
        with _repeat(lambda: self.note(name, tree_pss_bytes(pid))):
            yield


@contextmanager
def _repeat(look: Callable[[], None]) -> Generator[None]:
    stop = threading.Event()

    def run() -> None:
        look()
        while not stop.wait(LOOK_S):
            look()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
