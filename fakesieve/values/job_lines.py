"""Jobs as people look at them: one in short, and one with its pieces of work and every try at them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fakesieve.ids import IdPrefix, parse_id
from fakesieve.jobs.states import JobState, Lane, ShardState, WorkKind
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.values.jobs import AttemptEnd


@dataclass(frozen=True)
class JobFault:
    """Why a job has no result."""

    reason: Reason
    message: str | None
    hint: str


@dataclass(frozen=True)
class JobLine:
    """One job in short. ``n_done`` of ``n_shards`` pieces are screened; both are 0 before it is planned.

    ``attempts`` counts the tries of the piece that was tried most, None once its work is kept no more.
    ``next_retry_time`` is when a piece that failed is tried again, None where none waits for that.
    ``upload_name`` is what the uploader calls the file, None where it was not uploaded under a name.
    """

    id: str
    state: JobState
    lane: Lane
    source: VideoRef
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    deadline: datetime
    n_shards: int
    n_done: int
    batch_id: str | None
    external_id: str | None
    video_id: str | None
    analysis_id: str | None
    reused_analysis: bool
    fault: JobFault | None
    attempts: int | None = None
    next_retry_time: datetime | None = None
    upload_name: str | None = None

    @property
    def file_name(self) -> str:
        """What people call the file: the name of its upload, else the end of its key."""
        return self.upload_name or self.source.key.rpartition("/")[2] or self.source.key

    @property
    def trace_id(self) -> str:
        """The trace of the job (W3C Trace Context, 32 hexadecimal digits): the UUID in its id."""
        return parse_id(self.id, IdPrefix.JOB).hex


@dataclass(frozen=True)
class AttemptLine:
    """One claim of a piece of work; ``end`` is None while it runs.

    ``owner`` is the host; None where hosts are not told, as over the API.
    """

    shard: int
    kind: WorkKind
    number: int
    owner: str | None
    start_time: datetime
    end_time: datetime | None
    end: AttemptEnd | None
    reason: Reason | None
    message: str | None


@dataclass(frozen=True)
class ShardLine:
    """One piece of a job's work. ``deliveries`` counts claims, ``attempts`` those that ended badly or run.

    ``deliveries`` is None where hosts are not told; ``owner`` is None there too, and while nobody has it.
    """

    index: int
    kind: WorkKind
    state: ShardState
    attempts: int
    deliveries: int | None
    owner: str | None


@dataclass(frozen=True)
class JobDetail:
    """A job with its work. ``media`` is the probe's answer, None before it was looked at.

    Over the API neither ``fingerprint`` nor ``media`` is told: a result's document has both.
    """

    line: JobLine
    fingerprint: str | None
    media: Mapping[str, object] | None
    shards: tuple[ShardLine, ...]
    attempts: tuple[AttemptLine, ...]

    @property
    def attempt_count(self) -> int:
        """How often the piece of work that was tried most was tried."""
        return max((shard.attempts for shard in self.shards), default=0)
