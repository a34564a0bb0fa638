"""What submitters and workers do to the job store in memory."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from engine.policy import Policy
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import (
    BatchDraft,
    Claim,
    Fault,
    JobDraft,
    JobEnd,
    JobPlan,
    JobRow,
    Mark,
    Placed,
    Same,
    ShardDraft,
    ShardKey,
    ShardRow,
    VideoDraft,
    Waiting,
)
from fakesieve.jobs.states import RETRY_STATES, JobState, ShardState, WorkKind
from tests.simulation.memory_journal import Journal
from tests.simulation.memory_rows import MemoryBatch, MemoryJob, MemoryOutbox, MemoryShard, as_time

_LEASED, _PENDING, _DONE, _FAILED = (
    ShardState.LEASED,
    ShardState.PENDING,
    ShardState.DONE,
    ShardState.FAILED,
)


class MemoryWork(Journal):
    """Taking in, claiming, finishing and ending."""

    def now(self) -> datetime:
        return as_time(self.store.read_clock())

    def insert_job(self, draft: JobDraft) -> Placed:
        store = self.store
        if draft.idempotency_key is not None:
            there = store.job_keys.get((draft.tenant_id, draft.idempotency_key))
            if there is not None:
                return Placed(there, store.jobs[there].draft.request_hash, is_new=False)
            self._put(store.job_keys, (draft.tenant_id, draft.idempotency_key), draft.id)
        self._put(store.jobs, draft.id, MemoryJob(draft, store.read_clock()))
        self._put(store.shards, draft.id, {})
        return Placed(draft.id, draft.request_hash, is_new=True)

    def count_known_jobs(self, tenant_id: str, keys: Collection[str]) -> int:
        return sum((tenant_id, key) in self.store.job_keys for key in keys)

    def count_over_quota(self, tenant_id: str) -> int:
        jobs_max = self.store.quotas.get(tenant_id)
        if jobs_max is None:
            return 0
        live = sum(job.is_live and job.draft.tenant_id == tenant_id for job in self.store.jobs.values())
        now_s = self.store.read_clock()
        batches = [batch for batch in self.store.batches.values() if batch.draft.tenant_id == tenant_id]
        to_come = sum(batch.places for batch in batches if batch.places_until_s > now_s)
        return max(0, live + to_come - jobs_max)

    def insert_jobs(self, drafts: Sequence[JobDraft]) -> list[Placed]:
        return [self.insert_job(draft) for draft in drafts]

    def insert_batch(self, draft: BatchDraft) -> Placed:
        store = self.store
        if draft.idempotency_key is not None:
            there = store.batch_keys.get((draft.tenant_id, draft.idempotency_key))
            if there is not None:
                return Placed(there, store.batches[there].draft.request_hash, is_new=False)
            self._put(store.batch_keys, (draft.tenant_id, draft.idempotency_key), draft.id)
        self._put(store.batches, draft.id, MemoryBatch(draft, store.read_clock()))
        return Placed(draft.id, draft.request_hash, is_new=True)

    def insert_shards(self, drafts: Sequence[ShardDraft]) -> None:
        for draft in drafts:
            self._put(
                self.store.shards[draft.key.job_id],
                draft.key.index,
                MemoryShard(draft, self.store.read_clock()),
            )

    def insert_doorbells(self, keys: Sequence[ShardKey], delay_s: float = 0.0) -> None:
        store = self.store
        for key in keys:
            shard = store.shards[key.job_id][key.index]
            self._touch(shard)
            shard.ring_s = None
            if key in store.outbox:
                self._touch(store.outbox[key])
                store.outbox[key].due_s = store.read_clock() + delay_s
            else:
                draft = shard.draft
                waiting = Waiting(next(store.serial), key, draft.tenant_id, draft.lane, draft.cost)
                row = MemoryOutbox(waiting.outbox_id, waiting, store.read_clock() + delay_s)
                self._put(store.outbox, key, row)

    def insert_event(self, job: JobRow, topic: str) -> None:
        self.store.events.append((topic, job.id))
        self.journal.append((self.store.events, None, None))

    def _find(self, key: ShardKey) -> MemoryShard | None:
        return self.store.shards.get(key.job_id, {}).get(key.index)

    def _may_lease(self, job: MemoryJob, shard: MemoryShard, limits: JobLimits, now_s: float) -> bool:
        if not job.is_live or job.deadline_s <= now_s or shard.retry_s > now_s:
            return False
        if not self._has_attempts(shard, limits):
            return False
        return shard.state is _PENDING or (shard.state is _LEASED and shard.lease_until_s < now_s)

    def _has_attempts(self, shard: MemoryShard, limits: JobLimits) -> bool:
        return shard.attempts < limits.max_attempts and shard.deliveries < limits.max_deliveries

    def lease_shard(self, key: ShardKey, owner: str, lease_s: float, limits: JobLimits) -> Claim | None:
        store = self.store
        shard, now_s = self._find(key), store.read_clock()
        if shard is None:
            return None
        job = store.jobs[key.job_id]
        if not self._may_lease(job, shard, limits, now_s):
            return None
        self._touch(shard)
        self._move_shard(shard, _LEASED)
        shard.owner, shard.lease_until_s = owner, now_s + lease_s
        shard.fence += 1
        shard.attempts += 1
        shard.deliveries += 1
        if shard.fence <= store.highest_fence.get(key, 0):
            store.violations.append(f"I5: fence {shard.fence} of {key} was granted before")
        self.fences.append((key, shard.fence))
        if job.state is JobState.QUEUED:
            self._touch(job)
            self._move_job(job, JobState.RUNNING)
        return self._make_claim(job, shard)

    def find_claim(self, key: ShardKey, owner: str) -> Claim | None:
        shard, now_s = self._find(key), self.store.read_clock()
        if shard is None or shard.state is not _LEASED or shard.owner != owner:
            return None
        job = self.store.jobs[key.job_id]
        return self._make_claim(job, shard) if job.is_live and shard.lease_until_s > now_s else None

    def _make_claim(self, job: MemoryJob, shard: MemoryShard) -> Claim:
        return Claim(
            shard.key,
            shard.kind,
            shard.fence,
            shard.attempts,
            job.draft.lane,
            job.draft.tenant_id,
            job.source,
            shard.draft.plan,
            job.media,
            job.deadline,
            None,
            job.video_id,
            job.fingerprint,
            job.n_shards,
            shard.deliveries,
        )

    def extend_leases(
        self, owner: str, fences: Mapping[ShardKey, int], lease_s: float
    ) -> frozenset[ShardKey]:
        kept, now_s = set(), self.store.read_clock()
        for key, fence in fences.items():
            shard = self._find(key)
            if shard is None or shard.fence != fence or shard.state is not _LEASED or shard.owner != owner:
                continue
            job = self.store.jobs[key.job_id]
            if job.is_live and job.deadline_s > now_s:
                self._touch(shard)
                shard.lease_until_s = now_s + lease_s
                kept.add(key)
        return frozenset(kept)

    def find_live_jobs(self, job_ids: Collection[str]) -> frozenset[str]:
        jobs = self.store.jobs
        return frozenset(job_id for job_id in job_ids if job_id in jobs and jobs[job_id].is_live)

    def release_lease(
        self, key: ShardKey, fence: int, fault: Fault, delay_s: float, *, refund: bool
    ) -> ShardRow | None:
        shard = self._find(key)
        if shard is None or not self._is_current(shard, fence):
            return None
        self._touch(shard)
        self._move_shard(shard, _PENDING)
        shard.retry_s = self.store.read_clock() + delay_s
        shard.attempts -= refund
        shard.last_reason, shard.last_message = fault.reason, fault.message
        return self._make_shard_row(shard)

    def _is_current(self, shard: MemoryShard, fence: int) -> bool:
        return shard.fence == fence and shard.state is _LEASED

    def _make_shard_row(self, shard: MemoryShard) -> ShardRow:
        now_s = self.store.read_clock()
        return ShardRow(
            shard.key,
            shard.kind,
            shard.state,
            shard.fence,
            shard.attempts,
            shard.deliveries,
            shard.state is _LEASED and shard.lease_until_s < now_s,
            shard.retry_s > now_s,
            shard.last_reason,
            shard.last_message,
        )

    def read_shard(self, key: ShardKey) -> ShardRow | None:
        shard = self._find(key)
        return None if shard is None else self._make_shard_row(shard)

    def read_job(self, job_id: str) -> JobRow | None:
        job = self.store.jobs.get(job_id)
        return None if job is None else self._make_job_row(job)

    def _make_job_row(self, job: MemoryJob) -> JobRow:
        draft = job.draft
        return JobRow(
            job.id,
            draft.tenant_id,
            job.state,
            draft.lane,
            job.source,
            job.n_shards,
            job.n_done,
            job.fence,
            job.deadline,
            draft.batch_id,
            job.video_id,
            job.fingerprint,
            job.analysis_id,
            job.reused_analysis,
            job.reason,
            asked_time=as_time(job.begin_s),
        )

    def mark_shard_done(self, key: ShardKey, fence: int, evidence: bytes | None) -> Mark:
        return self._mark(key, fence, _DONE, evidence, None)

    def mark_shard_failed(self, key: ShardKey, fence: int, fault: Fault) -> Mark:
        return self._mark(key, fence, _FAILED, None, fault)

    def _mark(
        self, key: ShardKey, fence: int, state: ShardState, evidence: bytes | None, fault: Fault | None
    ) -> Mark:
        shard = self._find(key)
        if shard is None:
            return Mark.STALE
        if not self._is_current(shard, fence):
            is_mine = shard.state is state and shard.fence == fence
            return Mark.REPEATED if is_mine else Mark.STALE
        self._note_write(key, fence)
        self._touch(shard)
        self._move_shard(shard, state)
        shard.evidence = evidence
        if fault is not None:
            shard.last_reason, shard.last_message = fault.reason, fault.message
        return Mark.WRITTEN

    def _note_write(self, key: ShardKey, fence: int) -> None:
        if fence != self.store.highest_fence.get(key):
            self.store.violations.append(f"I5: {key} was written under the old fence {fence}")

    def mark_and_lock(self, key: ShardKey, fence: int) -> tuple[Mark, JobRow | None]:
        mark = self.mark_shard_done(key, fence, None)
        return mark, None if mark is Mark.STALE else self.lock_job(key.job_id)

    def mark_and_count(self, key: ShardKey, fence: int, evidence: bytes | None) -> tuple[Mark, JobRow | None]:
        mark = self.mark_shard_done(key, fence, evidence)
        if mark is Mark.STALE:
            return mark, None
        job = self.store.jobs[key.job_id]
        if mark is Mark.WRITTEN:
            self._touch(job)
            job.n_done += 1
        return mark, self._make_job_row(job)

    def lock_job(self, job_id: str) -> JobRow | None:
        return self.read_job(job_id)

    def lock_shards(self, job_id: str) -> list[ShardRow]:
        return [self._make_shard_row(shard) for _, shard in sorted(self.store.shards.get(job_id, {}).items())]

    def lock_score_shard(self, job_id: str) -> ShardRow | None:
        for shard in self.store.shards.get(job_id, {}).values():
            if shard.kind is WorkKind.SCORE:
                return self._make_shard_row(shard)
        return None

    def plan_job(self, job_id: str, plan: JobPlan, n_shards: int) -> None:
        job = self.store.jobs[job_id]
        self._touch(job)
        job.source, job.video_id, job.n_shards = plan.source, plan.video_id, n_shards
        job.fingerprint, job.media = plan.fingerprint, plan.media

    def open_shards(self, job_id: str, plan: JobPlan, drafts: Sequence[ShardDraft]) -> None:
        self.plan_job(job_id, plan, len(drafts))
        self.insert_shards(drafts)

    def end_job(self, job_id: str, end: JobEnd) -> JobRow | None:
        job = self.store.jobs.get(job_id)
        if job is None or not job.is_live:
            return None
        self._touch(job)
        self._move_job(job, end.state)
        job.reason, job.message, job.hint = end.reason, end.message, end.hint
        job.analysis_id, job.reused_analysis = end.analysis_id, end.reused_analysis
        job.end_s = self.store.read_clock()
        job.has_open_shards = end.state is not JobState.SUCCEEDED
        if end.state is not JobState.SUCCEEDED:
            for shard in self.store.shards[job_id].values():
                if shard.key in self.store.outbox:
                    self._drop(self.store.outbox, shard.key)
        return self._make_job_row(job)

    def close_job(self, job_id: str, end: JobEnd, *, is_billed: bool = False) -> JobRow | None:
        job = self.end_job(job_id, end)
        if job is None:
            return None
        self.insert_event(job, f"job.{end.state}")
        if is_billed and job_id not in self.store.usage:
            self._put(self.store.usage, job_id, job.tenant_id)
        return job

    def reset_job(self, job_id: str, *, is_new_start: bool = True) -> bool:
        job = self.store.jobs.get(job_id)
        if job is None or job.state not in RETRY_STATES:
            return False
        shards = self.store.shards[job_id]
        self._touch(job)
        self._move_job(job, JobState.QUEUED)
        job.fence = 1 + max([job.fence, *(shard.fence for shard in shards.values())])
        job.n_shards = job.n_done = 0
        job.has_open_shards = False
        if is_new_start:
            job.begin_s = self.store.read_clock()
            job.deadline_s = job.begin_s + job.draft.deadline_s
            job.deadline = as_time(job.deadline_s)
        job.reason = job.message = job.hint = job.end_s = None
        job.video_id = job.fingerprint = job.media = None
        for index in list(shards):
            self._drop(shards, index)
        draft = ShardDraft(ShardKey(job_id, 0), WorkKind.PREPARE, job.draft.tenant_id, job.draft.lane)
        first = MemoryShard(draft, self.store.read_clock())
        first.fence = job.fence
        self._put(shards, 0, first)
        return True

    def load_evidence(self, job_id: str) -> list[bytes]:
        shards = sorted(self.store.shards.get(job_id, {}).items())
        return [shard.evidence for _, shard in shards if shard.evidence is not None]

    def upsert_video(self, draft: VideoDraft) -> str:
        key = (draft.tenant_id, draft.sha256)
        if key not in self.store.videos:
            self._put(self.store.videos, key, f"vid_{len(self.store.videos)}")
        video_id = self.store.videos[key]
        ref = draft.source
        place = (draft.tenant_id, ref.bucket, ref.key, ref.version_id, ref.etag)
        self._put(self.store.sources, place, video_id)
        return video_id

    def find_same(self, job: JobRow, video_id: str, fingerprint: str) -> Same:
        analysis_id = self.store.analyses.get((video_id, fingerprint))
        return Same(analysis_id, self._find_twin(job, video_id, fingerprint))

    def _find_twin(self, job: JobRow, video_id: str, fingerprint: str) -> str | None:
        for other in self.store.jobs.values():
            if (
                other.id != job.id
                and other.state is JobState.RUNNING
                and (other.video_id, other.fingerprint) == (video_id, fingerprint)
                and other.n_shards
                and other.draft.lane in job.lane.not_later
            ):
                return other.id
        return None

    def judge_analysis(self, analysis_id: str, policy: Policy) -> None:
        self._put(self.store.verdicts, (analysis_id, policy.name, policy.version), policy)

    def store_analysis(self, analysis) -> tuple[str, bool]:
        key = (analysis.video_id, analysis.fingerprint)
        there = self.store.analyses.get(key)
        if there is not None:
            return there, False
        self._put(self.store.analyses, key, f"ana_{next(self.store.serial)}")
        return self.store.analyses[key], True
