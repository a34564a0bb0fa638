"""What must hold in a simulated fleet, by the numbers of ``fakesieve/jobs/sql/invariants.py``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fakesieve.jobs.reconcile import reconcile
from fakesieve.jobs.states import JobState, ShardState, WorkKind
from fakesieve.reasons import Reason
from tests.simulation.memory_rows import MemoryJob, MemoryShard

if TYPE_CHECKING:
    from tests.simulation.world import World

OVERDUE_S = 120.0


def find_violations(world: "World") -> list[str]:
    """Check what must hold at any moment: I1 to I3, I5, I7, I8 and I9."""
    store = world.store
    found = store.violations + world.wrong
    found += [
        f"I1: {job_id} was acknowledged and is gone" for job_id in world.acked if job_id not in store.jobs
    ]
    scored = [store.jobs[job_id].analysis_id for job_id in store.usage]
    if len(set(scored)) != len(scored):
        found.append("I2: an analysis was made twice")
    for job in store.jobs.values():
        found += _check_job(job, list(store.shards[job.id].values()), world.limits.max_attempts)
        should_be_billed = job.state is JobState.SUCCEEDED and not job.reused_analysis
        if should_be_billed != (job.id in store.usage):
            found.append(f"I9: {job.id} is {job.state}, billed: {job.id in store.usage}")
    return found


def _check_job(job: MemoryJob, shards: list[MemoryShard], attempts_max: int) -> Iterator[str]:
    screens = [shard for shard in shards if shard.kind is WorkKind.SCREEN]
    done = sum(shard.state is ShardState.DONE for shard in screens)
    if done != job.n_done or len(screens) != job.n_shards:
        yield f"I3: {job.id} counts {job.n_done} of {job.n_shards}, has {done} of {len(screens)}"
    if any(shard.attempts > attempts_max for shard in shards):
        yield f"I7: a shard of {job.id} was tried {max(s.attempts for s in shards)} times"
    if not job.is_live and job.state is not JobState.SUCCEEDED and not isinstance(job.reason, Reason):
        yield f"I8: {job.id} is {job.state} without a reason"
    if (
        job.state is JobState.SUCCEEDED
        and (job.analysis_id is None or job.n_done != job.n_shards)
        and (not job.reused_analysis)
    ):
        yield f"I8: {job.id} succeeded with {job.n_done} of {job.n_shards} shards"


def find_stuck(world: "World") -> list[str]:
    """Check I4 and I6 a while after the last fault, when the reconciler has passed once."""
    world.heal()
    world.now_s += 400.0
    if world.rules.has_reconciler:
        reconcile(world.store, world.limits)
    found = list[str]()
    for job in world.store.jobs.values():
        if job.is_live:
            if job.deadline_s + OVERDUE_S < world.now_s:
                found.append(f"I4: {job.id} is {job.state} past its deadline")
            found += _check_moves_on(world, job)
    return found


def _check_moves_on(world: "World", job: MemoryJob) -> Iterator[str]:
    store, now_s = world.store, world.now_s
    is_open = False
    for shard in store.shards[job.id].values():
        if shard.state in (ShardState.DONE, ShardState.FAILED):
            continue
        is_open = True
        is_held = shard.state is ShardState.LEASED and shard.lease_until_s > now_s
        is_rung = shard.ring_s is not None and shard.ring_s >= now_s - world.limits.doorbell_wait_s
        if not (is_held or is_rung or shard.retry_s > now_s or shard.key in store.outbox):
            yield f"I6: nothing will ever happen to {shard.key} ({shard.state})"
    if not is_open:
        yield f"I6: {job.id} is {job.state} and has no open shard"
