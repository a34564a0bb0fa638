"""What the reconciler, the relay and batches do to the job store in memory."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import (
    WAITING_MAX,
    BatchRow,
    Closed,
    EndedJob,
    Fault,
    HostBeat,
    JobEnd,
    JobRow,
    ShardKey,
    ShardRow,
    UnsettledBatch,
    Waiting,
)
from fakesieve.jobs.states import BatchEnd, BatchState, JobState, Lane, ShardState
from fakesieve.reasons import Reason
from tests.simulation.memory_rows import MemoryBatch, MemoryJob, MemoryShard, as_time
from tests.simulation.memory_work import MemoryWork

_LEASED, _PENDING, _DONE, _FAILED = (
    ShardState.LEASED,
    ShardState.PENDING,
    ShardState.DONE,
    ShardState.FAILED,
)


class MemoryTransaction(MemoryWork):
    """All operations of ``JobTransaction``. A store has one: transactions never overlap."""

    def lock_overdue_jobs(self, limit: int) -> list[JobRow]:
        now_s = self.store.read_clock()
        late = (job for job in self.store.jobs.values() if job.is_live and job.deadline_s < now_s)
        return [self._make_job_row(job) for job in itertools.islice(late, limit)]

    def _idle_shards(self, now_s: float) -> Iterator[MemoryShard]:
        """Shards of live jobs that nobody works on."""
        for job in self.store.jobs.values():
            if job.is_live:
                for shard in self.store.shards[job.id].values():
                    if shard.state is _PENDING or (shard.state is _LEASED and shard.lease_until_s < now_s):
                        yield shard

    def lock_exhausted_shards(self, limits: JobLimits) -> list[ShardRow]:
        idle = self._idle_shards(self.store.read_clock())
        worn = (shard for shard in idle if not self._has_attempts(shard, limits))
        return [self._make_shard_row(shard) for shard in itertools.islice(worn, limits.step_rows)]

    def take_back_leases(self, limits: JobLimits) -> list[ShardKey]:
        idle = self._idle_shards(self.store.read_clock())
        over = (shard for shard in idle if shard.state is _LEASED and self._has_attempts(shard, limits))
        taken = list(itertools.islice(over, limits.step_rows))
        for shard in taken:
            self._touch(shard)
            self._move_shard(shard, _PENDING)
            shard.last_reason, shard.last_message = Reason.LEASE_LOST, None
        return [shard.key for shard in taken]

    def end_leases(self, owner: str) -> int:
        shards = [shard for job in self.store.shards.values() for shard in job.values()]
        held = [shard for shard in shards if shard.state is _LEASED and shard.owner == owner]
        for shard in held:
            self._touch(shard)
            shard.lease_until_s = self.store.read_clock()
        self._drop(self.store.hosts, owner)
        return len(held)

    def fail_shard(self, key: ShardKey, fault: Fault) -> None:
        shard = self.store.shards[key.job_id][key.index]
        self._touch(shard)
        self._move_shard(shard, _FAILED)
        shard.last_reason, shard.last_message = fault.reason, fault.message

    def lock_silent_shards(self, limits: JobLimits) -> list[ShardKey]:
        now_s = self.store.read_clock()
        silent = (
            shard.key
            for shard in self._idle_shards(now_s)
            if shard.state is _PENDING
            and shard.ring_s is not None
            and shard.ring_s < now_s - limits.doorbell_wait_s
            and shard.retry_s <= now_s
        )
        return list(itertools.islice(silent, limits.step_rows))

    def close_ended_shards(self, limit: int) -> Closed:
        closed, now_s, whole = 0, self.store.read_clock(), []
        ended = (job for job in self.store.jobs.values() if not job.is_live and job.has_open_shards)
        found = list(itertools.islice(ended, limit))
        for job in found:
            for shard in self.store.shards[job.id].values():
                is_idle = shard.state is _LEASED and shard.lease_until_s < now_s
                if shard.state is _PENDING or is_idle:
                    self._touch(shard)
                    self._move_shard(shard, _FAILED)
                    closed += 1
            states = {shard.state for shard in self.store.shards[job.id].values()}
            if not states & {_PENDING, _LEASED}:
                self._touch(job)
                job.has_open_shards = False
                whole.append(EndedJob(job.id, job.state, job.reason, as_time(job.end_s), job.deadline))
        return Closed(closed, tuple(whole), is_full=len(found) == limit and bool(whole))

    def drop_evidence(self, age_s: float) -> int:
        oldest_s, dropped = self.store.read_clock() - age_s, 0
        for job in self.store.jobs.values():
            if not job.is_live and job.end_s is not None and job.end_s < oldest_s:
                for shard in self.store.shards[job.id].values():
                    if shard.evidence is not None:
                        self._touch(shard)
                        shard.evidence = None
                        dropped += 1
        return dropped

    def drop_shards(self, age_s: float) -> int:
        oldest_s, gone = self.store.read_clock() - age_s, 0
        for job in self.store.jobs.values():
            shards = self.store.shards[job.id]
            if not job.is_live and job.end_s is not None and job.end_s < oldest_s and shards:
                self._touch(job)
                job.fence = max(shard.fence for shard in shards.values())
                for index in list(shards):
                    self._drop(shards, index)
                gone += 1
        return gone

    def purge(self, event_age_s: float, host_age_s: float) -> int:
        oldest_s = self.store.read_clock() - host_age_s
        gone = [owner for owner, (_, seen_s) in self.store.hosts.items() if seen_s < oldest_s]
        for owner in gone:
            self._drop(self.store.hosts, owner)
        return len(gone)

    def list_waiting(self, per_queue: int, in_all: int = WAITING_MAX) -> list[Waiting]:
        now_s, found, sizes = self.store.read_clock(), [], {}
        queues = {(row.waiting.lane, row.waiting.tenant_id) for row in self.store.outbox.values()}
        per_queue = min(per_queue, max(1, in_all // max(1, len(queues))))
        for row in self.store.outbox.values():
            if row.due_s <= now_s:
                queue = (row.waiting.lane, row.waiting.tenant_id)
                sizes[queue] = sizes.get(queue, 0) + 1
                if sizes[queue] <= per_queue:
                    found.append(replace(row.waiting, waited_s=now_s - row.due_s))
        return found

    def take_doorbells(self, outbox_ids: Sequence[int]) -> list[Waiting]:
        wanted = set(outbox_ids)
        taken = []
        for row in [row for row in self.store.outbox.values() if row.id in wanted]:
            key = row.waiting.key
            shard = self._find(key)
            is_open = shard is not None and shard.state is _PENDING and self.store.jobs[key.job_id].is_live
            if is_open and shard.retry_s > self.store.read_clock():
                continue  # given back with a delay while its doorbell still lay here
            self._drop(self.store.outbox, key)
            if is_open:
                self._touch(shard)
                shard.ring_s = self.store.read_clock()
                taken.append(row.waiting)
        order = {outbox_id: place for place, outbox_id in enumerate(outbox_ids)}
        return sorted(taken, key=lambda waiting: order[waiting.outbox_id])

    def count_ringing(self, wait_s: float) -> Mapping[Lane, int]:
        since_s, counts = self.store.read_clock() - wait_s, {}
        for job in self.store.jobs.values():
            if job.is_live:
                for shard in self.store.shards[job.id].values():
                    if shard.state is _PENDING and shard.ring_s is not None and shard.ring_s >= since_s:
                        counts[job.draft.lane] = counts.get(job.draft.lane, 0) + 1
        return counts

    def keep_doorbells(self, lanes: Collection[Lane], age_s: float) -> int:
        now_s, kept = self.store.read_clock(), 0
        for shard in (shard for job in self.store.shards.values() for shard in job.values()):
            is_rung = shard.state is _PENDING and shard.ring_s is not None
            if is_rung and shard.draft.lane in lanes and shard.ring_s < now_s - age_s:
                self._touch(shard)
                shard.ring_s = now_s
                kept += 1
        return kept

    def age_ringing(self) -> Mapping[Lane, float]:
        now_s, ages_s = self.store.read_clock(), {}
        for job in self.store.jobs.values():
            for shard in self.store.shards[job.id].values() if job.is_live else ():
                if shard.state is _PENDING and shard.ring_s is not None and shard.retry_s <= now_s:
                    age_s = now_s - max(shard.create_s, shard.retry_s)
                    ages_s[job.draft.lane] = max(age_s, ages_s.get(job.draft.lane, 0.0))
        return ages_s

    def beat_host(self, beat: HostBeat) -> None:
        self._put(self.store.hosts, beat.owner, (beat, self.store.read_clock()))

    def remove_host(self, owner: str) -> None:
        self._drop(self.store.hosts, owner)

    def count_slots(self, silence_s: float, fingerprint: str | None = None) -> int:
        since_s = self.store.read_clock() - silence_s
        live = [b for b, seen_s in self.store.hosts.values() if seen_s >= since_s and not b.is_draining]
        if fingerprint is not None:
            live = [b for b in live if b.model is not None and b.model.fingerprint == fingerprint]
        return sum(b.slots for b in live)

    def _batch_jobs(self, batch_id: str) -> list[MemoryJob]:
        return [job for job in self.store.jobs.values() if job.draft.batch_id == batch_id]

    def read_batch(self, batch_id: str) -> BatchRow | None:
        batch = self.store.batches.get(batch_id)
        if batch is None:
            return None
        counts: dict[JobState, int] = {}
        jobs = self._batch_jobs(batch_id)
        for job in jobs:
            counts[job.state] = counts.get(job.state, 0) + 1
        draft, n_reused = batch.draft, sum(job.reused_analysis for job in jobs)
        n_again = sum(job.is_live and job.begin_s > job.create_s for job in jobs)
        return BatchRow(
            draft.id, draft.tenant_id, batch.state, draft.max_failure_rate, counts, n_reused, n_again
        )

    def find_batch_tenant(self, batch_id: str) -> str | None:
        batch = self.store.batches.get(batch_id)
        return None if batch is None else batch.draft.tenant_id

    def share_batch(self, batch_id: str) -> BatchState | None:
        batch = self.store.batches.get(batch_id)
        return None if batch is None else batch.state

    def hold_batch(self, batch_id: str) -> BatchState | None:
        return self.share_batch(batch_id)

    def set_places(self, batch_id: str, places: int, span_s: float) -> None:
        batch = self.store.batches[batch_id]
        self._touch(batch)
        batch.places, batch.places_until_s = places, self.store.read_clock() + span_s

    def take_places(self, batch_id: str, taken: int, span_s: float) -> BatchState | None:
        batch = self.store.batches.get(batch_id)
        if batch is None:
            return None
        self.set_places(batch_id, max(0, batch.places - taken), span_s)
        return batch.state

    def is_cut_off(self, batch_id: str, idle_s: float) -> bool:
        batch, jobs = self.store.batches[batch_id], self._batch_jobs(batch_id)
        newest_s = max([batch.create_s, *(job.create_s for job in jobs)])
        is_idle = newest_s < self.store.read_clock() - idle_s and not any(job.is_live for job in jobs)
        return is_idle and batch.state is BatchState.OPEN

    def list_unsettled_batches(self, limit: int, after: str = "") -> list[UnsettledBatch]:
        batches = [batch for batch_id, batch in sorted(self.store.batches.items()) if batch_id > after]
        return [
            UnsettledBatch(
                batch.draft.id,
                batch.state,
                batch.draft.max_failure_rate,
                any(job.is_live for job in self._batch_jobs(batch.draft.id)),
            )
            for batch in batches
            if self._is_unsettled(batch)
        ][:limit]

    def _is_unsettled(self, batch: MemoryBatch) -> bool:
        if not batch.state.is_terminal:
            return True
        live = (job for job in self._batch_jobs(batch.draft.id) if job.is_live)
        return any(job.begin_s <= batch.end_s or job.begin_s == job.create_s for job in live)

    def set_batch_state(self, batch_id: str, state: BatchState, end: BatchEnd | None = None) -> bool:
        batch = self.store.batches[batch_id]
        if batch.state.is_terminal:
            return False
        self._touch(batch)
        batch.state, batch.end_reason, batch.places = state, end, 0
        batch.end_s = self.store.read_clock()
        if state.is_terminal:
            self.store.events.append(("batch.completed", batch_id))
            self.journal.append((self.store.events, None, None))
        return True

    def reopen_batches(self, job_ids: Sequence[str]) -> None:
        ids = {self.store.jobs[job_id].draft.batch_id for job_id in job_ids} - {None}
        for batch in (self.store.batches[batch_id] for batch_id in sorted(ids)):
            if batch.state.is_terminal:
                self._touch(batch)
                is_cut_off = batch.end_reason is BatchEnd.SUBMISSION_CUT_OFF
                batch.state = BatchState.OPEN if is_cut_off else BatchState.RUNNING
                batch.end_reason, batch.end_s = None, 0.0

    def end_batch_jobs(self, batch_id: str, end: JobEnd, limit: int) -> list[JobRow]:
        if not self.store.batches[batch_id].state.is_terminal:
            return []
        live = [job for job in self._batch_jobs(batch_id) if job.is_live]
        ended = [self.end_job(job.id, end) for job in sorted(live, key=lambda job: job.id)[:limit]]
        return [row for row in ended if row is not None]
