"""One round: some clips through the fleet, and the same clips through ``fakesieve scan --jobs``."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from bench.fleet.processes import Peaks, cpu_by_role
from fakesieve.database import Database
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import Lane
from fakesieve.jobs.submit import NewBatch, NewJob, submit_batch
from fakesieve.objects import ObjectStore, VideoRef

POLL_S = 0.05
ROUND_S = 1800.0
_ACCEPTED = (0, 3)  # 3: some input has no score


@dataclass(frozen=True)
class FleetRound:
    """Clips that went through the fleet; ``begin`` and ``end`` are of the monotonic clock."""

    clips: int
    scored: int
    begin: float
    end: float
    submit_s: float
    cpu_s: Mapping[str, float]

    @property
    def per_second(self) -> float:
        """Clips a second, from the call that submits them to the last verdict."""
        return self.clips / (self.end - self.begin)


@dataclass(frozen=True)
class ScanRound:
    """The same clips in one process. ``steady_s`` begins with the first result: without the start."""

    clips: int
    whole_s: float
    steady_s: float
    cpu_s: float

    @property
    def per_second(self) -> float:
        """Clips a second, with the start of the process."""
        return self.clips / self.whole_s

    @property
    def steady_per_second(self) -> float:
        """Clips a second once the networks are loaded."""
        return (self.clips - 1) / self.steady_s


class FleetSide:
    """Gives clips to a fleet that runs, and waits for their ends."""

    def __init__(
        self, database: Database, objects: ObjectStore, bucket: str, tenant_id: str, pids: Mapping[str, int]
    ) -> None:
        self._database, self._objects, self._bucket = database, objects, bucket
        self._tenant_id, self._pids = tenant_id, pids

    @property
    def worker(self) -> int:
        """Process id of the host."""
        return self._pids["worker"]

    def upload(self, paths: Sequence[Path]) -> list[VideoRef]:
        """Put the clips where the fleet finds them; this is not measured, as scan's lie on the disk too."""
        return [self._objects.upload(path, self._bucket, f"clips/{path.name}").ref for path in paths]

    def run(self, refs: Sequence[VideoRef], name: str) -> FleetRound:
        """Submit all of them as one list and return when each has ended."""
        before, begin = cpu_by_role(self._pids), time.monotonic()
        jobs = [NewJob(self._tenant_id, ref, Lane.BULK) for ref in refs]
        batch = NewBatch(self._tenant_id, name, Lane.BULK)
        batch_id = submit_batch(SqlJobStore(self._database), batch, jobs).batch_id
        submitted = time.monotonic()
        while (left := self._count(batch_id, "end_time IS NULL")) and time.monotonic() < begin + ROUND_S:
            time.sleep(POLL_S)
        end, after = time.monotonic(), cpu_by_role(self._pids)
        if left:
            raise RuntimeError(f"{left} jobs of {batch_id} have not ended")
        spent = {role: after[role] - before.get(role, 0.0) for role in after}
        scored = self._count(batch_id, "state = 'succeeded' AND NOT reused_analysis")
        return FleetRound(len(refs), scored, begin, end, submitted - begin, spent)

    def _count(self, batch_id: str, condition: str) -> int:
        with self._database.transaction(tenant_id=None) as session:
            wanted = text(f"SELECT count(*) FROM job WHERE batch_id = :batch AND {condition}")
            return session.execute(wanted, {"batch": batch_id}).scalar_one()


def scan_round(paths: Sequence[Path], jobs: int, peaks: Peaks) -> ScanRound:
    """Scan the clips with so many jobs, printing JSON lines, and time the lines."""
    command = [sys.executable, "-P", "-m", "fakesieve", "scan", *map(str, paths)]
    command += ["--jobs", str(jobs), "--jsonl"]
    cpu_before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun, lines = time.monotonic(), list[float]()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        with peaks.watch_tree("scan", process.pid):
            lines += (time.monotonic() for _ in process.stdout)
    ended, cpu_after = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode not in _ACCEPTED or len(lines) != len(paths):
        raise RuntimeError(f"scan ended with {process.returncode} after {len(lines)} of {len(paths)} clips")
    cpu_s = cpu_after.ru_utime + cpu_after.ru_stime - cpu_before.ru_utime - cpu_before.ru_stime
    return ScanRound(len(paths), ended - begun, lines[-1] - lines[0], cpu_s)


def inherit_path() -> None:
    """Let the processes that are started find this package, wherever they run."""
    root = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
