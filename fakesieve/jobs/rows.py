"""What crosses the store: keys, claims, drafts of rows and snapshots of rows. Values without behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from engine.policy import Policy
from fakesieve.jobs.states import BatchState, JobState, Lane, ShardState, WorkKind
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.models import ModelFacts
from fakesieve.texts import make_storable
from fakesieve.values.videos import SourceKind

# Doorbells that one look at the backlog returns at most, some megabytes: a thousand tenants with ten thousand
# videos each would fill the memory of a relay that asks for as many of each as there are free slots.
WAITING_MAX = 10_000


@dataclass(frozen=True, order=True, slots=True)
class ShardKey:
    """One piece of work: what a doorbell carries. Index 0 prepares, 1 to n screen, n + 1 scores."""

    job_id: str
    index: int

    def __post_init__(self) -> None:
        if self.index < 0:
            raise ValueError(f"index of a shard must not be negative, is {self.index}")


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one shard until the lease ends.

    Whatever the worker writes is accepted only under this ``fence``. ``attempt`` counts from 1. ``media``
    is the probe as JSON and ``plan`` what to sample; both are null while the job is being prepared for the
    first time.
    ``deadline`` and the lease are times of the database's clock: compare them with nothing else.
    """

    key: ShardKey
    kind: WorkKind
    fence: int
    attempt: int
    lane: Lane
    tenant_id: str
    source: VideoRef
    plan: Mapping[str, object] | None
    media: Mapping[str, object] | None
    deadline: datetime
    sha256: str | None = None
    video_id: str | None = None
    fingerprint: str | None = None
    n_shards: int = 0
    deliveries: int = 1


class Refusal(StrEnum):
    """Why a doorbell led to no claim. In every case the message is acknowledged and dropped."""

    DONE = "done"
    HELD = "held"  # somebody else's lease has not run out
    NOT_YET = "not_yet"  # given back with a delay that has not passed
    EXHAUSTED = "exhausted"  # the reconciler fails the job
    ENDED = "ended"  # the job is terminal or past its deadline
    UNKNOWN = "unknown"  # no such shard, or another tenant's


@dataclass(frozen=True, slots=True)
class JobDraft:
    """A job about to be inserted. ``request_hash`` tells whether an idempotency key means the same again."""

    id: str
    tenant_id: str
    source: VideoRef
    lane: Lane
    deadline_s: float
    request_hash: str
    idempotency_key: str | None = None
    external_id: str | None = None
    batch_id: str | None = None
    source_kind: SourceKind = SourceKind.API


@dataclass(frozen=True, slots=True)
class Placed:
    """What an insert under an idempotency key found: the new row, or the one that was there."""

    id: str
    request_hash: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class BatchDraft:
    """A batch about to be inserted; ``max_failure_rate`` is a share of the ended jobs, 0 to 1."""

    id: str
    tenant_id: str
    name: str
    lane: Lane
    max_failure_rate: float
    request_hash: str
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class ShardDraft:
    """A shard about to be inserted. ``fence`` is the highest that any earlier run of its job has seen."""

    key: ShardKey
    kind: WorkKind
    tenant_id: str
    lane: Lane
    plan: Mapping[str, object] | None = None
    cost: float = 1.0
    fence: int = 0


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as a transaction sees it."""

    id: str
    tenant_id: str
    state: JobState
    lane: Lane
    source: VideoRef
    n_shards: int
    n_done: int
    fence: int
    deadline: datetime
    batch_id: str | None = None
    video_id: str | None = None
    fingerprint: str | None = None
    analysis_id: str | None = None
    reused_analysis: bool = False
    reason: Reason | None = None
    external_id: str | None = None
    source_kind: SourceKind = SourceKind.API
    asked_time: datetime | None = None  # when it was submitted, or retried last


@dataclass(frozen=True, slots=True)
class ShardRow:
    """A shard as a transaction sees it. The flags compare with the database's clock at that moment."""

    key: ShardKey
    kind: WorkKind
    state: ShardState
    fence: int
    attempts: int
    deliveries: int
    is_lease_over: bool
    is_delayed: bool
    last_reason: Reason | None = None
    last_message: str | None = None


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ends: with an analysis, or with a reason."""

    state: JobState
    reason: Reason | None = None
    message: str | None = None
    hint: str | None = None
    analysis_id: str | None = None
    reused_analysis: bool = False

    def __post_init__(self) -> None:
        for name in ("message", "hint"):
            text: str | None = getattr(self, name)
            if text is not None:
                object.__setattr__(self, name, make_storable(text))
        if not self.state.is_terminal:
            raise ValueError(f"{self.state} is no end")
        if (self.state is JobState.SUCCEEDED) != (self.reason is None):
            raise ValueError("a job that did not succeed has a reason, one that did has none")
        if (self.state is JobState.SUCCEEDED) != (self.analysis_id is not None):
            raise ValueError("a job that succeeded has an analysis, others have none")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an attempt ended without a result; kept with the shard and in the log of attempts."""

    reason: Reason
    message: str = ""
    hint: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", make_storable(self.message))
        object.__setattr__(self, "hint", make_storable(self.hint))


class Mark(StrEnum):
    """What writing under a fence met."""

    WRITTEN = "written"
    REPEATED = "repeated"  # the same claim wrote it already: its first reply was lost
    STALE = "stale"  # another claim has the shard now


@dataclass(frozen=True, slots=True)
class Same:
    """What there is of the same bytes by the same pipeline."""

    analysis_id: str | None = None
    job_id: str | None = None  # of another job that screens them now


@dataclass(frozen=True, slots=True)
class VideoDraft:
    """A video by its content, for the one row that a tenant has of it."""

    tenant_id: str
    sha256: str
    size_bytes: int
    media: Mapping[str, object]
    source: VideoRef
    external_id: str | None = None
    source_kind: SourceKind = SourceKind.API
    asked_time: datetime | None = None  # absent is now; a deletion after it stands


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What preparing has written about a job: the object as it was read, whose bytes these are, by what they
    are screened, and the probe as JSON.
    """

    source: VideoRef
    video_id: str
    fingerprint: str
    media: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A doorbell in the outbox that may be rung now. ``cost`` is in units of predicted work."""

    outbox_id: int
    key: ShardKey
    tenant_id: str
    lane: Lane
    cost: float = 1.0
    weight: float = 1.0  # of the tenant beside other tenants
    waited_s: float = field(default=0.0, compare=False)  # since it could have been rung


@dataclass(frozen=True, slots=True)
class HostModel:
    """What a host scores with: the model, the fingerprint of the pipeline, what is known of the model.

    ``policy`` judges its scores where a tenant has chosen none.
    """

    facts: ModelFacts
    fingerprint: str
    card: Mapping[str, str] = field(default_factory=dict[str, str])
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class HostBeat:
    """What a worker host says of itself at each heartbeat. A draining host has no slots to offer."""

    owner: str
    slots: int
    is_draining: bool = False
    name: str = ""
    version: str = ""
    rss_bytes: int | None = None
    model: HostModel | None = None

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError(f"a host has at least one slot, is {self.slots}")


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that has ended without an analysis, once nobody works on it any more.

    The deadline tells its run from those of earlier retries.
    """

    id: str
    state: JobState
    reason: Reason
    end_time: datetime
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Closed:
    """What was closed: so many shards, and these jobs whole, each of which is told once for each end.

    ``is_full`` says that more jobs may wait for it. It is false where somebody works on all that were looked
    at: then it is no use to look again at once.
    """

    shards: int = 0
    jobs: tuple[EndedJob, ...] = ()
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch and the number of its jobs in each state."""

    id: str
    tenant_id: str
    state: BatchState
    max_failure_rate: float
    counts: Mapping[JobState, int]
    n_reused: int = 0
    n_again: int = 0  # of the live ones: those that were retried

    @property
    def total(self) -> int:
        """Number of jobs."""
        return sum(self.counts.values())

    @property
    def live(self) -> int:
        """Number of jobs that have not ended."""
        return sum(n for state, n in self.counts.items() if not state.is_terminal)


@dataclass(frozen=True, slots=True)
class UnsettledBatch:
    """A batch that has not ended, or whose end is unfinished, without its counts."""

    id: str
    state: BatchState
    max_failure_rate: float
    has_live_jobs: bool
