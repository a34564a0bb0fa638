"""The rows of the job store in memory."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from fakesieve.jobs.rows import BatchDraft, JobDraft, ShardDraft, Waiting
from fakesieve.jobs.states import BatchEnd, BatchState, JobState, ShardState

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def as_time(now_s: float) -> datetime:
    """The date of a reading of a store's clock."""
    return EPOCH + timedelta(seconds=now_s)


class MemoryJob:
    """One row of the table of jobs."""

    def __init__(self, draft: JobDraft, now_s: float) -> None:
        self.draft = draft
        self.id = draft.id
        self.source = draft.source
        self.state = JobState.QUEUED
        self.is_live = True
        self.n_shards = 0
        self.n_done = 0
        self.fence = 0
        self.create_s = self.begin_s = now_s
        self.deadline_s = now_s + draft.deadline_s
        self.deadline = as_time(self.deadline_s)
        self.end_s: float | None = None
        self.has_open_shards = False
        self.video_id: str | None = None
        self.fingerprint: str | None = None
        self.media: Mapping[str, object] | None = None
        self.analysis_id: str | None = None
        self.reused_analysis = False
        self.reason = None
        self.message: str | None = None
        self.hint: str | None = None


class MemoryShard:
    """One row of the table of shards."""

    def __init__(self, draft: ShardDraft, create_s: float) -> None:
        self.draft = draft
        self.create_s = create_s
        self.key = draft.key
        self.kind = draft.kind
        self.state = ShardState.PENDING
        self.fence = draft.fence
        self.attempts = 0
        self.deliveries = 0
        self.owner: str | None = None
        self.lease_until_s = 0.0
        self.retry_s = 0.0
        self.ring_s: float | None = None  # None while its doorbell waits in the outbox
        self.evidence: bytes | None = None
        self.last_reason = None
        self.last_message: str | None = None


class MemoryOutbox:
    """One doorbell or event that is not published."""

    def __init__(self, outbox_id: int, waiting: Waiting, due_s: float) -> None:
        self.id = outbox_id
        self.waiting = waiting
        self.due_s = due_s


class MemoryBatch:
    """One row of the table of batches."""

    def __init__(self, draft: BatchDraft, now_s: float) -> None:
        self.draft = draft
        self.state = BatchState.OPEN
        self.end_reason: BatchEnd | None = None
        self.create_s = now_s
        self.end_s = 0.0
        self.places, self.places_until_s = 0, 0.0
