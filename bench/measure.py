"""Runs contenders in processes of their own and takes wall time and memory from outside."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from bench.contender import Screening
from bench.worker import Setting

SAMPLE_S = 0.1  # between two looks at the memory; a look at a process of 1 GB takes about 3 ms
STOP_S = 20


@dataclass(frozen=True)
class Timed:
    """One video by one contender, as seen from outside."""

    screening: Screening
    wall_ms: float
    peak_pss_bytes: int

    @property
    def whole_video_ms(self) -> float:
        """Wall time of the whole video; of a slice, the work per frame is scaled, opening the file is not."""
        per_frame_ms = sum(self.screening.stages_ms.values())
        return self.wall_ms + per_frame_ms * (self.screening.scale - 1)


class Worker:
    """A contender's process, from its start to its end."""

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", name, json.dumps(asdict(setting))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def screen(self, path: Path) -> Timed:
        """Screen one video; memory is the proportional share summed over the process and its children."""
        assert self._process.stdin is not None
        with watch_memory(self._process.pid) as peak:
            start = time.perf_counter()
            self._process.stdin.write(f"{path}\n")
            self._process.stdin.flush()
            answer = self._answer()
            wall_ms = 1000 * (time.perf_counter() - start)
        return Timed(Screening(**answer), wall_ms, peak[0])

    def age_ms(self) -> float:
        """Time since the process was asked for."""
        return 1000 * (time.perf_counter() - self._started)

    def close(self) -> None:
        """End the input and wait."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(STOP_S)

    def _answer(self) -> dict[str, object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"{self.name} ended with status {self._process.wait(STOP_S)}; see its message above"
            )
        return json.loads(line)


@contextmanager
def watch_memory(pid: int) -> Iterator[list[int]]:
    """Yield a list whose first entry is the peak so far, in bytes, of a process and all below it."""
    peak, stop = [tree_pss_bytes(pid)], threading.Event()

    def look() -> None:
        while not stop.wait(SAMPLE_S):
            peak[0] = max(peak[0], tree_pss_bytes(pid))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()


def tree_pss_bytes(pid: int) -> int:
    """Sum the proportional set sizes of a process and its descendants; pages that they share count once."""
    total = 0
    try:
        root = psutil.Process(pid)
        members = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in members:
        try:
            rollup = Path(f"/proc/{member.pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError:
            continue  # it ended between the two looks
        total += next((int(x.split()[1]) for x in rollup.splitlines() if x.startswith("Pss:")), 0) * 1024
    return total


def first_verdict_ms(name: str, setting: Setting, path: Path) -> float:
    """Time from asking for the process to its answer about its first video, files in the page cache."""
    worker = Worker(name, setting)
    timed = worker.screen(path)
    age_ms = worker.age_ms() + timed.whole_video_ms - timed.wall_ms
    worker.close()
    return age_ms
