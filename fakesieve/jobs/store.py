"""What keeps the truth about jobs: the row operations over which everything in this folder is written.

Two implementations obey one contract test: ``SqlJobStore`` in ``fakesieve/jobs/sql/store.py`` and the one in
memory under which the simulation runs. An operation is one statement or a few; which of them belong
together in a transaction is decided by the functions of ``claim``, ``fan_out``, ``finish`` and so on.

Whoever locks several rows of a job locks its shards first, then the job, then its rows of the outbox; then
comes the batch, and last the tenant's quota. The relay (``take_doorbells``) comes the other way, from the
outbox to the shards. It passes over what others have locked, as does the end of a job that takes its
doorbells out: neither waits, so there is no circle.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, TypeVar

from engine.policy import Policy
from fakesieve.jobs.batch_rows import BatchRows
from fakesieve.jobs.limits import JobLimits
from fakesieve.jobs.rows import (
    WAITING_MAX,
    BatchDraft,
    Claim,
    Closed,
    Fault,
    HostBeat,
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
from fakesieve.jobs.states import Lane
from fakesieve.records.analyses import AnalysisRecord

Answer = TypeVar("Answer")


class SubmitRows(Protocol):
    """Rows that come into being when work is taken in."""

    def now(self) -> datetime:
        """Return the time of the store's own clock, on which all leases and deadlines stand."""
        ...

    def insert_job(self, draft: JobDraft) -> Placed:
        """Insert a queued job, or find the one of the same tenant and idempotency key."""
        ...

    def insert_jobs(self, drafts: Sequence[JobDraft]) -> list[Placed]:
        """Do the same for many of one tenant, each with a key, in their order.

        Of two with one key the later one finds the earlier.
        """
        ...

    def count_over_quota(self, tenant_id: str) -> int:
        """Return how many more live jobs the tenant has than it may have; 0 where there is no limit.

        The places of lists that are on their way count as jobs. Whoever asks next for the same tenant waits
        until this transaction has ended, and so counts its jobs and places. Raises ``RequestRefused`` when
        there is no such tenant.
        """
        ...

    def insert_batch(self, draft: BatchDraft) -> Placed:
        """Insert an open batch, or find the one of the same tenant and idempotency key."""
        ...

    def count_known_jobs(self, tenant_id: str, keys: Collection[str]) -> int:
        """Return how many of these idempotency keys the tenant has a job for."""
        ...

    def insert_shards(self, drafts: Sequence[ShardDraft]) -> None:
        """Insert pending shards. They are silent until :meth:`insert_doorbells` is called for them."""
        ...

    def insert_doorbells(self, keys: Sequence[ShardKey], delay_s: float = 0.0) -> None:
        """Put one doorbell per shard into the outbox, due after the delay; one that waits there is moved."""
        ...

    def insert_event(self, job: JobRow, topic: str) -> None:
        """Put an event about a job, such as ``job.succeeded``, into the outbox."""
        ...


class ClaimRows(Protocol):
    """The one claim statement, and what holds or gives back a claim."""

    def lease_shard(self, key: ShardKey, owner: str, lease_s: float, limits: JobLimits) -> Claim | None:
        """Lease the shard when it may be, in one statement that raises fence, attempts and deliveries.

        It may be when its job is live and within its deadline, attempts and deliveries are left, no delay
        runs, and it is pending or its lease is over. A queued job runs from then on.
        """
        ...

    def find_claim(self, key: ShardKey, owner: str) -> Claim | None:
        """Return the claim of a shard of a live job that ``owner`` has leased, while the lease lasts."""
        ...

    def extend_leases(
        self, owner: str, fences: Mapping[ShardKey, int], lease_s: float
    ) -> frozenset[ShardKey]:
        """Lengthen the leases that are still held under these fences for live jobs; return those.

        One that is being written to just now is returned and not lengthened.
        """
        ...

    def find_live_jobs(self, job_ids: Collection[str]) -> frozenset[str]:
        """Return those of the jobs that have not ended, without locking any."""
        ...

    def release_lease(
        self, key: ShardKey, fence: int, fault: Fault, delay_s: float, *, refund: bool
    ) -> ShardRow | None:
        """Make the shard pending again, claimable after the delay; None when the fence is not its own."""
        ...

    def read_shard(self, key: ShardKey) -> ShardRow | None:
        """Return the shard without locking it."""
        ...

    def read_job(self, job_id: str) -> JobRow | None:
        """Return the job without locking it."""
        ...


class FinishRows(Protocol):
    """Writing under a fence, counting, and ends of jobs."""

    def mark_shard_done(self, key: ShardKey, fence: int, evidence: bytes | None) -> Mark:
        """Write the result of a leased shard under its fence."""
        ...

    def mark_shard_failed(self, key: ShardKey, fence: int, fault: Fault) -> Mark:
        """Write that a leased shard has no result and gets no further attempt."""
        ...

    def mark_and_lock(self, key: ShardKey, fence: int) -> tuple[Mark, JobRow | None]:
        """Do what :meth:`mark_shard_done` and, unless the claim is stale, :meth:`lock_job` do."""
        ...

    def mark_and_count(self, key: ShardKey, fence: int, evidence: bytes | None) -> tuple[Mark, JobRow | None]:
        """Do what :meth:`mark_shard_done` does, count the ``screen`` shard, and return its job, locked.

        It is counted whatever the job's state. What is written already is not counted again, and its job is
        not locked; there is none where the claim is stale.
        """
        ...

    def lock_job(self, job_id: str) -> JobRow | None:
        """Return the job and keep others from changing it until the transaction ends."""
        ...

    def lock_shards(self, job_id: str) -> list[ShardRow]:
        """Return all shards of a job in their order, locked. Who is about to lock the job calls it first."""
        ...

    def lock_score_shard(self, job_id: str) -> ShardRow | None:
        """Return the job's ``score`` shard, locked; None before all others are done."""
        ...

    def plan_job(self, job_id: str, plan: JobPlan, n_shards: int) -> None:
        """Write what preparing has found out about a locked job. Its later claims read ``plan.source``."""
        ...

    def open_shards(self, job_id: str, plan: JobPlan, drafts: Sequence[ShardDraft]) -> None:
        """Do what :meth:`plan_job` does, and insert the ``screen`` shards: ``drafts`` are all of them."""
        ...

    def end_job(self, job_id: str, end: JobEnd) -> JobRow | None:
        """End a live job and return it as it is now; None when it has ended already.

        Unless it succeeded, its doorbells leave the outbox, where they would stand before those of live work.
        """
        ...

    def close_job(self, job_id: str, end: JobEnd, *, is_billed: bool = False) -> JobRow | None:
        """Do what :meth:`end_job` does, put the event of it into the outbox, and bill the job if told to.

        A job has one bill, however often it is scored.
        """
        ...

    def reset_job(self, job_id: str, *, is_new_start: bool = True) -> bool:
        """Put a failed, cancelled or expired job back to its beginning under higher fences.

        Its evidence goes, and it has its first shard alone; with ``is_new_start`` its deadline starts again.
        False when the job is in another state.
        """
        ...

    def load_evidence(self, job_id: str) -> list[bytes]:
        """Return what the ``screen`` shards have found, in their order."""
        ...

    def upsert_video(self, draft: VideoDraft) -> str:
        """Return the id of the tenant's video with this content, and note where it was seen."""
        ...

    def find_same(self, job: JobRow, video_id: str, fingerprint: str) -> Same:
        """Return what is known of this video by this pipeline, and who screens it in no later lane."""
        ...

    def judge_analysis(self, analysis_id: str, policy: Policy) -> None:
        """Add what a policy says of an analysis that is there, unless it has said so already."""
        ...

    def store_analysis(self, analysis: AnalysisRecord) -> tuple[str, bool]:
        """Store it unless one is there; return the id of the one that counts, and whether it is new."""
        ...


class OverdueRows(Protocol):
    """What the reconciler looks for. Each method locks what it returns and passes over locked rows."""

    def lock_overdue_jobs(self, limit: int) -> list[JobRow]:
        """Return live jobs that are past their deadline."""
        ...

    def lock_exhausted_shards(self, limits: JobLimits) -> list[ShardRow]:
        """Return shards of live jobs that wait, or whose lease is over, with no attempt or delivery left."""
        ...

    def take_back_leases(self, limits: JobLimits) -> list[ShardKey]:
        """Make shards of live jobs pending whose lease is over while attempts are left; return them."""
        ...

    def end_leases(self, owner: str) -> int:
        """Have all leases of a host that is known to be dead run out now, and forget it; return how many.

        What it worked on comes back with the next pass of the reconciler, at the cost of an attempt.
        """
        ...

    def fail_shard(self, key: ShardKey, fault: Fault) -> None:
        """Give up a locked shard."""
        ...

    def lock_silent_shards(self, limits: JobLimits) -> list[ShardKey]:
        """Return claimable shards whose doorbell left the outbox so long ago that it must be lost."""
        ...

    def close_ended_shards(self, limit: int) -> Closed:
        """Give up shards whose job has ended and that nobody works on, of at most so many jobs."""
        ...

    def drop_evidence(self, age_s: float) -> int:
        """Forget what shards found whose job ended after them, and so long ago; return of how many."""
        ...

    def drop_shards(self, age_s: float) -> int:
        """Delete shards and attempts of jobs that ended so long ago; return of how many jobs.

        A job keeps the highest fence of its shards, for the case that it is retried all the same.
        """
        ...

    def purge(self, event_age_s: float, host_age_s: float) -> int:
        """Delete published or old events and hosts that are long gone; return how many rows."""
        ...


class OutboxRows(Protocol):
    """The backlog as the relay sees it, and the hosts that work on it."""

    def list_waiting(self, per_queue: int, in_all: int = WAITING_MAX) -> list[Waiting]:
        """Return the first due doorbells of each lane and tenant, oldest first, without locking them.

        They are fewer of each where there are many queues: at most ``in_all``, but one of each queue.
        """
        ...

    def take_doorbells(self, outbox_ids: Sequence[int]) -> list[Waiting]:
        """Take these rows out of the outbox and return those whose shard still waits for a worker.

        Rows that another transaction holds are passed over. A returned shard is noted as rung now.
        """
        ...

    def count_ringing(self, wait_s: float) -> Mapping[Lane, int]:
        """Return by lane how many rung doorbells are unanswered and younger than ``wait_s``."""
        ...

    def keep_doorbells(self, lanes: Collection[Lane], age_s: float) -> int:
        """Note unanswered doorbells of these lanes as rung now that were rung so long ago; return how many.

        One whose shard is being written to just now is passed over.
        """
        ...

    def age_ringing(self) -> Mapping[Lane, float]:
        """Return by lane for how many seconds the oldest work whose doorbell is rung could have been begun.

        It counts from when the work was made or is tried again, however often it was rung since.
        """
        ...

    def beat_host(self, beat: HostBeat) -> None:
        """Note that a worker host lives."""
        ...

    def remove_host(self, owner: str) -> None:
        """Forget a host that has stopped."""
        ...

    def count_slots(self, silence_s: float, fingerprint: str | None = None) -> int:
        """Return the slots of hosts that were heard of within ``silence_s`` and do not drain.

        With ``fingerprint`` only those count that run this pipeline.
        """
        ...


class JobTransaction(SubmitRows, ClaimRows, FinishRows, OverdueRows, OutboxRows, BatchRows, Protocol):
    """All row operations of one transaction: either all of them happen or none."""


class JobStore(Protocol):
    """Where jobs are kept."""

    def transaction(self) -> AbstractContextManager[JobTransaction]:
        """Begin; commit at the end of the block, undo when it raises.

        Raises ``TransactionConflict`` when it was undone for another one's sake, and ``Unavailable`` when the
        store does not answer; then it may have happened or not.
        """
        ...

    def run(self, work: Callable[[JobTransaction], Answer]) -> Answer:
        """Run ``work`` in a transaction, again when it was undone for another one's sake."""
        ...

    def run_alone(self, work: Callable[[JobTransaction], Answer]) -> Answer:
        """Run ``work`` as :meth:`run` does, where its first statement does all of its writing.

        What it reads after that may be newer, as if somebody else had asked.
        """
        ...
