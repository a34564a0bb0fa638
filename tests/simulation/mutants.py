"""The product with one safeguard left out. A simulation that does not notice is too weak."""

from collections.abc import Sequence

from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import ShardKey, Waiting
from fakesieve.jobs.states import JobState, ShardState
from tests.simulation.memory_overdue import MemoryTransaction
from tests.simulation.memory_rows import MemoryJob, MemoryShard
from tests.simulation.world import Rules


class WithoutFence(MemoryTransaction):
    """Whoever had a lease once may write while somebody has one."""

    def _is_current(self, shard: MemoryShard, fence: int) -> bool:
        return shard.state is ShardState.LEASED


class WithoutAttempts(MemoryTransaction):
    """Work is tried again for ever."""

    def _has_attempts(self, shard: MemoryShard, limits: JobLimits) -> bool:
        return True


class WithoutOutbox(MemoryTransaction):
    """Doorbells are rung while the transaction runs, and are not written down."""

    def insert_doorbells(self, keys: Sequence[ShardKey], delay_s: float = 0.0) -> None:
        for key in keys:
            shard = self.store.shards[key.job_id][key.index]
            self._touch(shard)
            shard.ring_s = None
            draft = shard.draft
            self.store.ring_directly(Waiting(0, key, draft.tenant_id, draft.lane))


class WithoutState(MemoryTransaction):
    """A shard that is done is counted again when its reply was lost."""

    def _mark(self, key, fence, state, evidence, fault):
        shard = self._find(key)
        if shard is not None and shard.state is state and shard.fence == fence:
            shard.state = ShardState.LEASED
        return super()._mark(key, fence, state, evidence, fault)


class WithoutHigherFences(MemoryTransaction):
    """A retried job begins with the fences that it had before."""

    def reset_job(self, job_id: str, *, is_new_start: bool = True) -> bool:
        is_reset = super().reset_job(job_id, is_new_start=is_new_start)
        if is_reset:
            self.store.jobs[job_id].fence = self.store.shards[job_id][0].fence = 0
        return is_reset


class WithoutEnds(MemoryTransaction):
    """A job that has ended may end again."""

    def end_job(self, job_id, end):
        job: MemoryJob = self.store.jobs[job_id]
        if job.state is JobState.CANCELLED:
            job.is_live = True
        return super().end_job(job_id, end)


MUTANTS = {
    "fence": Rules(WithoutFence),
    "attempts": Rules(WithoutAttempts),
    "outbox": Rules(WithoutOutbox),
    "reconciler": Rules(has_reconciler=False),
    "repeated writes": Rules(WithoutState),
    "higher fences after a retry": Rules(WithoutHigherFences),
    "ends are final": Rules(WithoutEnds),
}
