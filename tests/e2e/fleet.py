"""The processes of a fleet over real servers, each with the command that people use."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from engine.sandbox.lockdown import die_with_parent
from fakesieve.database import Database
from fakesieve.jobs.rows import JobRow, ShardKey, ShardRow
from fakesieve.jobs.sql.store import SqlJobStore
from fakesieve.jobs.states import Lane
from fakesieve.jobs.submit import NewJob, submit_video
from fakesieve.objects import ObjectStore
from fakesieve.records.tenants import ensure_tenant
from tests.e2e.processes import descendants, heed_interrupts
from tests.waiting import PATIENCE_S, wait_until


@dataclass
class FleetProcesses:
    """Starts relays, reconcilers and workers, and looks at what they did."""

    environment: Mapping[str, str]
    database: Database
    objects: ObjectStore
    bucket: str
    logs: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = SqlJobStore(self.database)
        with self.database.transaction(tenant_id=None) as session:
            self.tenant_id = ensure_tenant(session, "default")

    def start(self, role: str, **changes: str) -> subprocess.Popen[bytes]:
        """Start one process in a session of its own; it inherits none of our settings."""
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("FAKESIEVE_")}
        log = self.logs / f"{role}-{len(self.running)}.log"
        test_run = os.getpid()

        def prepare() -> None:
            heed_interrupts()
            die_with_parent(test_run)  # a test run that is killed leaves no fleet behind

        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "fakesieve", role],
                env=inherited | dict(self.environment) | changes,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=prepare,  # noqa: PLW1509 - it takes no lock that a thread could hold
            )
        self.running.append(process)
        return process

    def ensure_worker(self) -> subprocess.Popen[bytes]:
        """The one worker that runs, started if there is none."""
        for process in self.running:
            if process.args[-1] == "worker" and process.poll() is None:
                return process
        return self.start("worker")

    def submit(self, path: Path, key: str | None = None, lane: Lane = Lane.STANDARD) -> str:
        """Upload a file and submit it; return the job's id."""
        ref = self.objects.upload(path, self.bucket, key or path.name).ref
        return submit_video(self.store, NewJob(self.tenant_id, ref, lane)).job_id

    def read(self, job_id: str) -> JobRow:
        """The job as it is now."""
        job = self.store.run(lambda tx: tx.read_job(job_id))
        assert job is not None
        return job

    def read_shard(self, job_id: str, index: int) -> ShardRow | None:
        """The shard as it is now, if there is one yet."""
        return self.store.run(lambda tx: tx.read_shard(ShardKey(job_id, index)))

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; show the logs if it does not."""
        wait_until(condition, self.read_logs)

    def wait_ended(self, job_id: str) -> JobRow:
        """Wait until a job has ended and return it."""
        self.wait(lambda: self.read(job_id).state.is_terminal)
        return self.read(job_id)

    def read_logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"== {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.logs.iterdir()))

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process as a power cut would: nothing of it gets to do anything."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)

    def stop(self) -> None:
        """End all that still runs."""
        for process in self.running:
            if process.poll() is None:
                process.terminate()
        for process in self.running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S)
                continue
            process.kill()
            process.wait()


def find_descendants(process: subprocess.Popen[bytes]) -> set[int]:
    """Process ids of all that a process has started."""
    return set(descendants(process.pid))


def still_running(pids: set[int]) -> set[int]:
    """Those of the process ids that are no zombies."""
    alive = set()
    for pid in pids:
        with suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                alive.add(pid)
    return alive


def find_inference(worker: subprocess.Popen[bytes]) -> int:
    """Process id of a worker's inference process."""
    return next(pid for pid, words in descendants(worker.pid).items() if "workers.inference_loop" in words)
