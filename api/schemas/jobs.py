"""Jobs and batches on the wire."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from api.schemas.addresses import URI_LETTERS_MAX, Uri
from api.schemas.shape import Answer, Int, Request, Time
from engine.results import Outcome
from fakesieve.jobs.states import BatchEnd, BatchState, JobState, Lane, ShardState, WorkKind
from fakesieve.objects import VideoRef
from fakesieve.places import parse_place
from fakesieve.reasons import Reason
from fakesieve.values.jobs import DEADLINE_S, DEADLINE_S_MAX, KEY_LENGTH_MAX, AttemptEnd

ExternalId = Annotated[
    str, Field(min_length=1, max_length=KEY_LENGTH_MAX, description="The caller's own name for the video.")
]
DeadlineS = Annotated[
    Int, Field(ge=1, le=DEADLINE_S_MAX, description="Seconds after which a job that has not ended expires.")
]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class JobSource(Request):
    """A video: an object, which may be pinned to a version or an ETag, or an upload that is complete."""

    uri: Uri | None = None
    upload_id: Annotated[str | None, Field(max_length=100)] = None
    version_id: Annotated[str | None, Field(min_length=1, max_length=1024)] = None
    etag: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    external_id: ExternalId | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.uri is None) == (self.upload_id is None):
            raise ValueError("give either uri or upload_id")
        if self.upload_id is not None and (self.version_id or self.etag):
            raise ValueError("an upload is pinned already: leave out version_id and etag")
        if self.uri is not None:
            VideoRef(*_split(self.uri), self.version_id, self.etag)
        return self

    def read_ref(self) -> VideoRef:
        """Return the object of ``uri``."""
        assert self.uri is not None
        return VideoRef(*_split(self.uri), self.version_id, self.etag)


def _split(uri: str) -> tuple[str, str]:
    place = VideoRef.parse_uri(uri)
    return place.bucket, place.key


class NewJobBody(JobSource):
    """One video to be screened."""

    lane: Lane = Lane.STANDARD
    deadline_s: DeadlineS = int(DEADLINE_S)


class NewBatchBody(Request):
    """A list of videos: given here, in a manifest, or by a prefix under which they lie."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    items: list[JobSource] | None = None
    manifest: Annotated[
        str | None,
        Field(max_length=URI_LETTERS_MAX, description="A CSV or JSONL file, as s3://bucket/list.csv."),
    ] = None
    prefix: Annotated[
        str | None,
        Field(max_length=URI_LETTERS_MAX, description="All objects under it, as s3://bucket/clips/."),
    ] = None
    first_row: Annotated[
        Int | None,
        Field(
            ge=1, description="Takes a part of the manifest, from this row on; `next_row` begins the next."
        ),
    ] = None
    manifest_etag: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            description="Of the manifest that the parts before were taken from; another one is refused.",
        ),
    ] = None
    lane: Lane = Lane.BULK
    deadline_s: DeadlineS = int(DEADLINE_S)
    max_failure_rate: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description=(
                "Above it, once 20 jobs have ended, the rest is cancelled and the batch `failed` with "
                "`failure_rate`. This is looked at about once a second, less often in batches of more than "
                "10,000 jobs; a short list may be through by then. It cuts nothing off "
                "while all jobs that are left were retried."
            ),
        ),
    ] = 1.0

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if sum(each is not None for each in (self.items, self.manifest, self.prefix)) != 1:
            raise ValueError("give one of items, manifest and prefix")
        if self.first_row is not None and self.manifest is None:
            raise ValueError("first_row is of a manifest")
        if self.manifest_etag is not None and self.manifest is None:
            raise ValueError("manifest_etag is of a manifest")
        if self.items == []:
            raise ValueError("items is empty: give at least one")
        if self.manifest is not None:
            self.read_manifest_ref()
        if self.prefix is not None and (not self.prefix.startswith("s3://") or not self.prefix.endswith("/")):
            raise ValueError("a prefix looks like s3://bucket/ or s3://bucket/folder/")
        if self.prefix is not None:
            parse_place(self.prefix)
        return self

    def read_manifest_ref(self) -> VideoRef:
        """Return the object of ``manifest``."""
        assert self.manifest is not None
        return VideoRef(*_split(self.manifest), None, self.manifest_etag)


class CancelBody(Request):
    """Why something is cancelled; kept with the jobs."""

    message: Annotated[str, Field(max_length=500)] = ""


class RetryBatchBody(Request):
    """Which jobs of a batch to start again: those that ended for one of the reasons, or all that failed."""

    reasons: Annotated[list[Reason], Field(max_length=100)] = Field(default_factory=list[Reason])


class BucketEventsOut(Answer):
    """What became of the objects of a notification. ``ignored`` brought none: tests, tags, folders."""

    new: Annotated[int, Field(description="Became jobs.")]
    known: Annotated[int, Field(description="Were jobs already, or were named twice.")]
    gone: Annotated[int, Field(description="Lie there no longer, or were removed.")]
    outside: Annotated[
        int, Field(description="Lie outside the tenant's places, the prefix or the extensions.")
    ]
    ignored: Annotated[int, Field(description="Parts that tell of no object: tests, tags, folders.")]


class Stage(StrEnum):
    """What is being done for a job that runs."""

    PROBING = "probing"
    SCORING = "scoring"
    AGGREGATING = "aggregating"


class Progress(Answer):
    """How far a job is, in pieces of at most two minutes of video; 0 of 0 until it was looked at."""

    stage: Stage | None
    done: int
    total: int
    unit: Literal["shards"] = "shards"
    percent: int


class JobError(Answer):
    """Why a job has no result."""

    reason: Reason
    message: str | None
    hint: str
    retryable: bool


class SourceOut(Answer):
    """Which bytes a job is about. What is null was not known when it was submitted."""

    uri: str
    bucket: str
    key: str
    version_id: str | None
    etag: str | None
    size_bytes: int | None
    name: Annotated[
        str | None,
        Field(description="What its uploader calls the file; null where it was not uploaded under a name."),
    ] = None


class ShardOut(Answer):
    """One piece of a job's work."""

    index: int
    kind: WorkKind
    state: ShardState
    attempts: int


class AttemptOut(Answer):
    """One try at a piece of work; ``end`` is null while it runs."""

    shard: int
    kind: WorkKind
    number: int
    start_time: Time
    end_time: Time | None
    end: AttemptEnd | None
    reason: Reason | None
    message: str | None


class WorkOut(Answer):
    """A job's pieces and tries, in ``view=full``."""

    shards: list[ShardOut]
    attempts: list[AttemptOut]


class JobOut(Answer):
    """A request to screen one video. ``is_terminal`` says that nothing of it will change by itself."""

    id: str
    object: Literal["job"] = "job"
    state: JobState
    is_terminal: bool
    lane: Lane
    source: SourceOut
    progress: Progress
    error: JobError | None
    batch_id: str | None
    external_id: str | None
    video_id: str | None
    analysis_id: str | None
    reused_analysis: bool
    attempts: Annotated[
        int | None,
        Field(description="Tries of the piece that was tried most; null once its work is kept no more."),
    ]
    next_retry_time: Annotated[
        Time | None,
        Field(description="When a piece that failed is tried again; null if none waits for that."),
    ]
    create_time: Time
    start_time: Time | None
    end_time: Time | None
    deadline: Time
    trace_id: Annotated[
        str | None,
        Field(description="Of the trace that workers send, if they send any (W3C Trace Context)."),
    ] = None
    work: WorkOut | None = None


NextRow = Annotated[
    int | None, Field(description="Where the next part of its manifest begins; null but where it is sent.")
]


ManifestEtag = Annotated[
    str | None, Field(description="Of the manifest that was read; null but where one is sent or previewed.")
]


class JobCounts(Answer):
    """The jobs of a batch by state. ``deduplicated`` of them were answered by an earlier analysis."""

    total: int
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    expired: int
    deduplicated: int


class BatchOut(Answer):
    """A list of jobs as one thing. ``deadline`` is when the last of its jobs expires."""

    id: str
    object: Literal["batch"] = "batch"
    name: str
    state: BatchState
    is_terminal: bool
    lane: Lane
    max_failure_rate: float
    counts: JobCounts
    outcomes: dict[Outcome, int]
    errors: dict[Reason, int]
    progress_percent: int
    deadline: Time | None
    create_time: Time
    end_time: Time | None
    end_reason: Annotated[
        BatchEnd | None,
        Field(
            description=(
                "Why it ended; `submission_cut_off`: the rest of its list never came; `failure_rate`: more "
                "of its jobs failed than `max_failure_rate` allows. Null again while it runs by a retry."
            )
        ),
    ] = None
    next_row: NextRow = None
    manifest_etag: ManifestEtag = None


class BatchPreviewOut(Answer):
    """What a batch would hold. Nothing was submitted. ``size_bytes`` is null where it is not known."""

    object: Literal["batch_preview"] = "batch_preview"
    videos: int
    size_bytes: int | None
    first: Annotated[list[str], Field(description="The first of them, up to ten.")]
    next_row: NextRow = None
    manifest_etag: ManifestEtag = None


class RetriedOut(Answer):
    """How many jobs were started again; ``has_more`` says that the same call would find more."""

    object: Literal["retried"] = "retried"
    batch_id: str
    count: int
    has_more: bool
