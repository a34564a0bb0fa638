"""The tables of the job store in memory, and the journal by which a transaction is undone."""

import itertools
from collections.abc import Callable

from engine.policy import Policy
from fakesieve.jobs.rows import HostBeat, ShardKey
from fakesieve.jobs.states import JOB_MOVES, SHARD_MOVES, JobState, ShardState
from tests.simulation.memory_rows import MemoryBatch, MemoryJob, MemoryOutbox, MemoryShard


class MemoryTables:
    """Jobs in dictionaries. ``read_clock`` gives the seconds of the store's own clock."""

    def __init__(self, read_clock: Callable[[], float]) -> None:
        self.read_clock = read_clock
        self.jobs: dict[str, MemoryJob] = {}
        self.shards: dict[str, dict[int, MemoryShard]] = {}
        self.job_keys: dict[tuple[str, str], str] = {}
        self.batches: dict[str, MemoryBatch] = {}
        self.batch_keys: dict[tuple[str, str], str] = {}
        self.outbox: dict[ShardKey, MemoryOutbox] = {}
        self.events: list[tuple[str, str]] = []
        self.videos: dict[tuple[str, str], str] = {}
        self.sources: dict[tuple[str | None, ...], str] = {}
        self.analyses: dict[tuple[str, str], str] = {}
        self.verdicts: dict[tuple[str, str, int], Policy] = {}
        self.usage: dict[str, str] = {}
        self.hosts: dict[str, tuple[HostBeat, float]] = {}
        self.highest_fence: dict[ShardKey, int] = {}
        self.quotas: dict[str, int] = {}
        self.violations: list[str] = []
        self.serial = itertools.count(1)


class Journal:
    """What was there before each write of a transaction, and the moves between states."""

    def __init__(self, store: MemoryTables) -> None:
        self.store = store
        self.journal: list[tuple] = []
        self.fences: list[tuple[ShardKey, int]] = []

    def _touch(self, row: object) -> None:
        self.journal.append((row, row.__dict__.copy()))

    def _put(self, table: dict, key: object, value: object) -> None:
        self.journal.append((table, key, table.get(key)))
        table[key] = value

    def _drop(self, table: dict, key: object) -> None:
        self.journal.append((table, key, table.pop(key, None)))

    def undo(self) -> None:
        for entry in reversed(self.journal):
            if len(entry) == 2:
                entry[0].__dict__.update(entry[1])
            elif isinstance(entry[0], list):
                entry[0].pop()
            elif entry[2] is None:
                entry[0].pop(entry[1], None)
            else:
                entry[0][entry[1]] = entry[2]
        self.journal.clear()
        self.fences.clear()

    def commit(self) -> None:
        self.journal.clear()
        if self.fences:
            self.store.highest_fence.update(self.fences)
            self.fences.clear()

    def _move_job(self, job: MemoryJob, state: JobState) -> None:
        if state not in JOB_MOVES[job.state]:
            self.store.violations.append(f"job {job.id} moved from {job.state} to {state}")
        job.state = state
        job.is_live = not state.is_terminal

    def _move_shard(self, shard: MemoryShard, state: ShardState) -> None:
        if state not in SHARD_MOVES[shard.state]:
            self.store.violations.append(f"shard {shard.key} moved from {shard.state} to {state}")
        shard.state = state
