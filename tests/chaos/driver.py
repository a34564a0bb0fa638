"""Submits clips to a fleet under faults as a careful client does, and remembers what it was promised."""

import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import psutil
from sqlalchemy import text

from engine.sandbox.lockdown import CHILD_NAME
from fakesieve.database import Database
from fakesieve.errors import Unavailable
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import JobRow, ShardKey, ShardRow
from fakesieve.jobs.sql.store import SqlJobStore, SqlJobTransaction
from fakesieve.jobs.states import JobState, Lane
from fakesieve.jobs.submit import NewJob, Submitted, submit_video
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.analyses import AnalysisRecord, load_analysis
from fakesieve.records.tenants import ensure_tenant
from tests.chaos.checker import Expected, Report, check
from tests.chaos.clips import draw_clips
from tests.chaos.stack import BUCKET, HOSTS, LEASE_S, Stack
from tests.waiting import PATIENCE_S

Answer = TypeVar("Answer")

WAIT_S = 480.0  # for anything to happen; beside a training and other test runs minutes are needed
# What one lane breaks may end in another, rightful way by what another lane breaks at that moment. So a
# failure is tried again until it was met, but not for ever: a product that never shows it has a fault.
TRIES = 5


class _TellingStore(SqlJobStore):
    """Tells of each new job before it is committed, so that no process of the fleet can know of it yet."""

    def __init__(self, database: Database, tell: Callable[[str], None]) -> None:
        super().__init__(database)
        self._tell = tell

    def run(self, work: Callable[[SqlJobTransaction], Answer]) -> Answer:
        """Run ``work`` in a transaction, and tell of the job that it took in."""

        def work_and_tell(tx: SqlJobTransaction) -> Answer:
            done = work(tx)
            if isinstance(done, Submitted) and done.is_new:
                self._tell(done.job_id)
            return done

        return super().run(work_and_tell)


class Driver:
    """One run: the fleet, what was submitted to it, and which failures were met. Safe between threads."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self.stack = stack
        self.chance = random.Random(seed)
        self.acked: dict[str, Expected] = {}
        self.sometimes: dict[str, bool] = {}
        self.facts: dict[str, str] = {}
        self.golden: dict[str, AnalysisRecord] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._sources = stack.folder / "clips"
        self._sources.mkdir()
        self.clips = draw_clips(self._sources)
        self.reconnect()
        with stack.database.transaction(tenant_id=None) as session:
            self.tenant_id = ensure_tenant(session, "default")

    def reconnect(self) -> None:
        """Work with the database that the stack has now."""
        self.store = SqlJobStore(self.stack.database)

    # ---- submitting

    def upload(self, clip: str = "short") -> VideoRef:
        """Put a copy of a clip that nobody has seen into the store, past all faults."""
        with self._lock:
            number, data = next(self._numbers), self.clips[clip].copy(self.chance)
        path = self._sources / f"{clip}-{number}.mp4"
        path.write_bytes(data)
        ref = self.stack.objects.upload(path, BUCKET, path.name).ref
        path.unlink()
        return ref

    def submit(
        self,
        clip: str = "short",
        *,
        ref: VideoRef | None = None,
        state: JobState = JobState.SUCCEEDED,
        reason: Reason | None = None,
        lane: Lane = Lane.STANDARD,
        tell: Callable[[str], None] = lambda _: None,
    ) -> str:
        """Submit until it is acknowledged, always under the same key; return the job's id.

        ``tell`` gets the id before the fleet can know of the job.
        """
        source = ref or self.upload(clip)
        new = NewJob(self.tenant_id, source, lane, idempotency_key=f"chaos/{source.key}")
        job_id = self.insist(lambda: submit_video(_TellingStore(self.stack.database, tell), new).job_id)
        self.promise(job_id, Expected(clip, state, reason))
        return job_id

    def promise(self, job_id: str, expected: Expected) -> None:
        """Note that a job was accepted, and how it must end."""
        with self._lock:
            self.acked[job_id] = expected

    def forget(self, job_id: str) -> None:
        """Take back a promise that nobody can keep: the database that knew the job is gone."""
        with self._lock:
            del self.acked[job_id]

    def change_promise(self, job_id: str, state: JobState, reason: Reason) -> None:
        """Note that a job must end in another way than it was submitted for."""
        self.promise(job_id, replace(self.acked[job_id], state=state, reason=reason))

    # ---- looking

    def insist(self, work: Callable[[], Answer]) -> Answer:
        """Ask the database, again while it is away."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return work()
            except Unavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def ask(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        """The rows of a query."""

        def work() -> list[tuple[Any, ...]]:
            with self.stack.database.transaction(tenant_id=None) as session:
                return [tuple(row) for row in session.execute(text(query), values)]

        return self.insist(work)

    def read(self, job_id: str) -> JobRow:
        """The job as it is now."""
        job = self.insist(lambda: self.store.run(lambda tx: tx.read_job(job_id)))
        assert job is not None, f"{job_id} was acknowledged and is not there"
        return job

    def load(self, job_id: str) -> AnalysisRecord:
        """The analysis of a job that succeeded."""

        def work() -> AnalysisRecord:
            with self.stack.database.transaction(tenant_id=None) as session:
                return load_analysis(session, self.read(job_id).analysis_id)

        return self.insist(work)

    def read_shard(self, job_id: str, index: int = 1) -> ShardRow | None:
        """The shard as it is now, if there is one yet."""
        return self.insist(lambda: self.store.run(lambda tx: tx.read_shard(ShardKey(job_id, index))))

    def has_ended(self, *job_ids: str) -> bool:
        """Whether all these jobs have ended."""
        return all(self.read(job_id).state.is_terminal for job_id in job_ids)

    def wait(self, condition: Callable[[], bool], what: str, limit_s: float = WAIT_S) -> float:
        """Wait until a condition holds; return how many seconds that took."""
        begun = time.monotonic()
        while not condition():
            assert time.monotonic() - begun < limit_s, f"{what} did not come within {limit_s:.0f} s"
            time.sleep(0.1)
        return time.monotonic() - begun

    def comes(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Wait until a condition holds; say whether it did in time."""
        until = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        return True

    def retry(self, attempt: Callable[[], bool], times: int = 1) -> int:
        """Try something until it has come true so many times; return how often it did."""
        met = 0
        for _ in range(times + TRIES - 1):
            met += attempt()
            if met == times:
                break
        return met

    def wait_ended(self, *job_ids: str) -> float:
        """Wait until these jobs have ended."""
        return self.wait(lambda: self.has_ended(*job_ids), f"the end of {job_ids}")

    def wait_met(self, point: str) -> int:
        """Wait until a process has come to an armed point with whatever job; return its id."""
        self.wait(lambda: bool(self.stack.find_met(point)), point)
        return self.stack.find_met(point)[0]

    def meet(self, point: str, action: str, clip: str = "short") -> tuple[str, int]:
        """Have an action done at a point of a fresh job; return the job and the id of the process.

        A job may end without it by what another lane breaks. Then another one is submitted.
        """
        for _ in range(TRIES):
            job_id = self.submit(clip, tell=lambda new: self.stack.arm(point, action, new))
            self.wait(lambda job_id=job_id: self.was_met(point, job_id) or self.has_ended(job_id), point)
            if met := self.stack.find_met(point, job_id):
                return job_id, met[0]
            self.stack.release(point, job_id)
        raise AssertionError(f"{TRIES} jobs ended and none came to {point}")

    def was_met(self, point: str, job_id: str) -> bool:
        """Whether a process has come to a point that was armed for a job."""
        return bool(self.stack.find_met(point, job_id))

    def has_logged(self, event: str, **fields: str) -> bool:
        """Whether a worker host has logged an event with these fields."""
        return any(
            all(found.get(name) == value for name, value in fields.items())
            for host in HOSTS
            for found in self.stack.read_events(host, event)
        )

    def note(self, name: str, was_met: bool) -> None:
        """Say whether a failure was really met; once is enough."""
        with self._lock:
            self.sometimes[name] = self.sometimes.get(name, False) or was_met

    def tell(self, name: str, fact: str) -> None:
        """Keep a figure for the report."""
        with self._lock:
            self.facts[name] = fact

    def role_of(self, pid: int) -> str:
        """Which host a process id is, or was a moment ago."""
        return next((name for name in HOSTS if self.stack.find_pid(name) == pid), HOSTS[0])

    # ---- the whole run

    def measure_calm(self) -> None:
        """Have each clip scored before anything is broken."""
        jobs = {name: self.submit(name) for name in self.clips}
        self.wait_ended(*jobs.values())
        for name, job_id in jobs.items():
            job = self.read(job_id)
            assert job.analysis_id is not None, job
            assert job.n_shards == self.clips[name].n_shards, job
            with self.stack.database.transaction(tenant_id=None) as session:
                self.golden[name] = load_analysis(session, job.analysis_id)
            assert self.golden[name].score.raw is not None, f"{name} shows no face, so it proves nothing"

    def settle(self, limit_s: float = WAIT_S) -> float:
        """Wait until every job has ended; return the seconds. What has not is the checker's to tell."""
        begun = time.monotonic()
        live = "SELECT count(*) FROM job WHERE state IN ('queued', 'running')"
        while self.ask(live)[0][0] and time.monotonic() - begun < limit_s:
            time.sleep(0.2)
        return time.monotonic() - begun

    def check(self) -> Report:
        """Ask the checker."""
        limits = JobLimits(lease_s=LEASE_S, max_attempts=8, doorbell_wait_s=4.0, host_silence_s=LEASE_S)
        with self.stack.database.transaction(tenant_id=None) as session:
            report = check(session, self.acked, self.golden, limits)
        report.sometimes = dict(sorted(self.sometimes.items()))
        return report


def find_decoders(host_pid: int) -> list[int]:
    """Process ids of the decode children of a host: what its sandbox has forked and given a call."""
    try:
        forked = [each for child in psutil.Process(host_pid).children() for each in child.children()]
        return [each.pid for each in forked if each.name() == CHILD_NAME]
    except psutil.NoSuchProcess:
        return []


def find_inference(host_pid: int) -> int | None:
    """Process id of a host's inference process."""
    try:
        children = psutil.Process(host_pid).children()
        return next((each.pid for each in children if "workers.inference_loop" in each.cmdline()), None)
    except psutil.NoSuchProcess:
        return None


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped by SIGSTOP."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it was killed, and its keeper has seen its end
        return False
    return stat.rpartition(")")[2].split()[0] == "T"
