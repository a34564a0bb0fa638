"""Why a job failed or a request was refused: one closed list for jobs, commands and the API."""

from enum import StrEnum


class Reason(StrEnum):
    """The engine's reasons by the same names, and those that only a fleet has."""

    # The input's own fault.
    EMPTY = "EMPTY"
    NOT_VIDEO = "NOT_VIDEO"
    UNSUPPORTED_CONTAINER = "UNSUPPORTED_CONTAINER"
    UNSUPPORTED_CODEC = "UNSUPPORTED_CODEC"
    TRUNCATED = "TRUNCATED"
    CORRUPT = "CORRUPT"
    NO_FRAMES = "NO_FRAMES"
    NO_VIDEO_STREAM = "NO_VIDEO_STREAM"
    ENCRYPTED = "ENCRYPTED"
    TOO_SMALL = "TOO_SMALL"
    RESOLUTION_CHANGE = "RESOLUTION_CHANGE"
    LIMIT_PIXELS = "LIMIT_PIXELS"
    LIMIT_FRAMES = "LIMIT_FRAMES"
    LIMIT_DURATION = "LIMIT_DURATION"
    LIMIT_STREAMS = "LIMIT_STREAMS"
    LIMIT_MEMORY = "LIMIT_MEMORY"
    DECODE_TIMEOUT = "DECODE_TIMEOUT"
    DECODER_CRASHED = "DECODER_CRASHED"
    # The place where the input lies.
    SOURCE_TOO_LARGE = "SOURCE_TOO_LARGE"
    SOURCE_NOT_FOUND = "SOURCE_NOT_FOUND"
    SOURCE_ACCESS_DENIED = "SOURCE_ACCESS_DENIED"
    SOURCE_CHANGED = "SOURCE_CHANGED"
    SOURCE_ARCHIVED = "SOURCE_ARCHIVED"
    # The machine, or a service that it needs.
    SANDBOX_UNAVAILABLE = "SANDBOX_UNAVAILABLE"
    ENGINE_UNAVAILABLE = "ENGINE_UNAVAILABLE"
    GPU_OUT_OF_MEMORY = "GPU_OUT_OF_MEMORY"
    GPU_FAULT = "GPU_FAULT"
    OBJECT_STORE_UNAVAILABLE = "OBJECT_STORE_UNAVAILABLE"
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
    BROKER_UNAVAILABLE = "BROKER_UNAVAILABLE"
    API_UNAVAILABLE = "API_UNAVAILABLE"
    NO_SPACE = "NO_SPACE"
    # The work itself.
    LEASE_LOST = "LEASE_LOST"
    ATTEMPTS_EXHAUSTED = "ATTEMPTS_EXHAUSTED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED_BY_CALLER = "CANCELLED_BY_CALLER"
    FAILURE_RATE_EXCEEDED = "FAILURE_RATE_EXCEEDED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    # The request.
    INVALID_REQUEST = "INVALID_REQUEST"
    INVALID_MANIFEST = "INVALID_MANIFEST"
    INVALID_SETTINGS = "INVALID_SETTINGS"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    NOT_FOUND = "NOT_FOUND"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    MISSING_SCOPE = "MISSING_SCOPE"
    RATE_LIMITED = "RATE_LIMITED"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    REQUEST_IN_PROGRESS = "REQUEST_IN_PROGRESS"
    STATE_CONFLICT = "STATE_CONFLICT"
    PRECONDITION_FAILED = "PRECONDITION_FAILED"
    INVALID_FILTER = "INVALID_FILTER"
    INVALID_PAGE_TOKEN = "INVALID_PAGE_TOKEN"  # noqa: S105 - a name and no password
    URL_NOT_ALLOWED = "URL_NOT_ALLOWED"
    LEGAL_HOLD = "LEGAL_HOLD"
    TOO_FEW_DECISIONS = "TOO_FEW_DECISIONS"
    # The installation.
    MODEL_INVALID = "MODEL_INVALID"
    MIGRATIONS_BEHIND = "MIGRATIONS_BEHIND"
    BROKER_MISCONFIGURED = "BROKER_MISCONFIGURED"
    OUTPUT_FAILED = "OUTPUT_FAILED"
    INTERNAL = "INTERNAL"

    @property
    def is_retryable(self) -> bool:
        """Whether the same work may succeed when it is tried again without a change by the caller."""
        return self in _RETRYABLE

    @property
    def hint(self) -> str:
        """What the reader can do about it, in one sentence."""
        return _HINTS[self]


OF_CALLERS = frozenset({Reason.API_UNAVAILABLE})
"""What is told on the callers' side alone: the API answers with none of these, and no row holds one."""

_RETRYABLE = frozenset(
    {
        Reason.DECODE_TIMEOUT,
        Reason.DECODER_CRASHED,
        Reason.SANDBOX_UNAVAILABLE,
        Reason.ENGINE_UNAVAILABLE,
        Reason.GPU_OUT_OF_MEMORY,
        Reason.GPU_FAULT,
        Reason.OBJECT_STORE_UNAVAILABLE,
        Reason.DATABASE_UNAVAILABLE,
        Reason.BROKER_UNAVAILABLE,
        Reason.API_UNAVAILABLE,
        Reason.NO_SPACE,
        Reason.LEASE_LOST,
        Reason.LIMIT_MEMORY,
        Reason.RATE_LIMITED,
        Reason.REQUEST_IN_PROGRESS,
    }
)

_HINTS: dict[Reason, str] = {
    Reason.EMPTY: "the object has no bytes: upload it again",
    Reason.NOT_VIDEO: "submit a video or a picture",
    Reason.UNSUPPORTED_CONTAINER: "convert it to MP4, Matroska or WebM",
    Reason.UNSUPPORTED_CODEC: "convert it to H.264, HEVC, VP9 or AV1",
    Reason.TRUNCATED: "the end of the file is missing: upload it again",
    Reason.CORRUPT: "the file cannot be read: play it in a player, then upload it again",
    Reason.NO_FRAMES: "no picture could be decoded: play the file in a player",
    Reason.NO_VIDEO_STREAM: "the file has sound only: submit one with pictures",
    Reason.ENCRYPTED: "remove the protection first",
    Reason.TOO_SMALL: "the picture is too small for a face to be judged: submit a larger one",
    Reason.RESOLUTION_CHANGE: "the picture size changes within the file: convert it to one size",
    Reason.LIMIT_PIXELS: "scale the video down",
    Reason.LIMIT_FRAMES: "cut the video into parts",
    Reason.LIMIT_DURATION: "cut the video into parts",
    Reason.LIMIT_STREAMS: "keep one video stream",
    Reason.LIMIT_MEMORY: "scale the video down, or give the worker more memory",
    Reason.DECODE_TIMEOUT: "scale the video down, or raise the time limit of decoding",
    Reason.DECODER_CRASHED: "convert the video with another program and submit the copy",
    Reason.SOURCE_TOO_LARGE: "submit a smaller file, or raise the size limit",
    Reason.SOURCE_NOT_FOUND: "check bucket, key and version; the object may have been deleted",
    Reason.SOURCE_ACCESS_DENIED: "allow the fleet's key to read this object",
    Reason.SOURCE_CHANGED: "the object was replaced after it was submitted: submit it again",
    Reason.SOURCE_ARCHIVED: "restore the object from its archive, then submit it again",
    Reason.SANDBOX_UNAVAILABLE: "run 'fakesieve doctor' on the worker",
    Reason.ENGINE_UNAVAILABLE: "run 'fakesieve doctor' on the worker",
    Reason.GPU_OUT_OF_MEMORY: "lower the worker's slots, or use a GPU with more memory",
    Reason.GPU_FAULT: "look at the GPU's log; the worker starts again by itself",
    Reason.OBJECT_STORE_UNAVAILABLE: "check that FAKESIEVE_S3_ENDPOINT answers; work goes on when it does",
    Reason.DATABASE_UNAVAILABLE: "check that FAKESIEVE_DATABASE_URL answers; work goes on when it does",
    Reason.BROKER_UNAVAILABLE: "check that FAKESIEVE_BROKER_URL answers; work goes on when it does",
    Reason.API_UNAVAILABLE: "check that FAKESIEVE_API_URL is the API's address, and that it answers",
    Reason.NO_SPACE: "free space on the disk of the worker or of the API, see FAKESIEVE_SCRATCH_DIR",
    Reason.LEASE_LOST: "another worker has taken the work over; nothing is to be done",
    Reason.ATTEMPTS_EXHAUSTED: "every attempt failed, see 'fakesieve jobs show'; then retry the job",
    Reason.DEADLINE_EXCEEDED: "submit it again with a later deadline, or add workers",
    Reason.CANCELLED_BY_CALLER: "submit it again if it is wanted after all",
    Reason.FAILURE_RATE_EXCEEDED: "too many jobs of the batch failed: look at their reasons first",
    Reason.QUOTA_EXCEEDED: "wait for running jobs to end, or ask for a higher quota",
    Reason.INVALID_REQUEST: "correct the request; the message names the part",
    Reason.INVALID_MANIFEST: "correct the manifest; the message names the line",
    Reason.INVALID_SETTINGS: "correct the FAKESIEVE_ variables that the message names",
    Reason.IDEMPOTENCY_CONFLICT: "use a new idempotency key for another request",
    Reason.NOT_FOUND: "check the id; it may belong to another tenant",
    Reason.UNAUTHENTICATED: "send a key in force as 'Authorization: Bearer fsk_...'",
    Reason.MISSING_SCOPE: "use a key that has the scope which the message names",
    Reason.RATE_LIMITED: "wait as long as Retry-After says, then send the request again",
    Reason.METHOD_NOT_ALLOWED: "use a method that the header Allow names",
    Reason.UNSUPPORTED_MEDIA_TYPE: "send the body as application/json in UTF-8",
    Reason.REQUEST_TOO_LARGE: "send less at once; GET /v1/limits says how much",
    Reason.REQUEST_IN_PROGRESS: "the first request under this key still runs: ask again in a moment",
    Reason.STATE_CONFLICT: "look at the present state first; this cannot be done in it",
    Reason.PRECONDITION_FAILED: "it has changed meanwhile: read it again, then decide again",
    Reason.INVALID_FILTER: "correct the filter; the message names the place",
    Reason.INVALID_PAGE_TOKEN: "use next_page_token unchanged and with the same filter and order",
    Reason.URL_NOT_ALLOWED: "use https and a public host name, without user or password",
    Reason.LEGAL_HOLD: "lift the legal hold first; it is there so that nothing is deleted",
    Reason.TOO_FEW_DECISIONS: "have more videos reviewed, of both kinds, then ask again",
    Reason.MODEL_INVALID: "import the model again; run 'fakesieve model verify'",
    Reason.MIGRATIONS_BEHIND: "run 'fakesieve migrate' with the owner's database URL",
    Reason.BROKER_MISCONFIGURED: "set maxmemory-policy noeviction on the broker",
    Reason.OUTPUT_FAILED: "check that the folder can be written and has space",
    Reason.INTERNAL: "this is a fault of fakesieve: please report it with the worker's log",
}
