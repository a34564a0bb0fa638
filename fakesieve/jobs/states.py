"""The states of jobs and shards, the moves between them, and the two ways in which work is sorted."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class JobState(StrEnum):
    """Did the work of a request run? Whether there was evidence is the analysis' ``outcome``."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended. Only a retry, asked for by a person, leaves such a state."""
        return self not in LIVE_STATES


LIVE_STATES = frozenset({JobState.QUEUED, JobState.RUNNING})
RETRY_STATES = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})

_ENDS = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})

JOB_MOVES: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        JobState.QUEUED: frozenset({JobState.RUNNING}) | _ENDS - {JobState.SUCCEEDED},
        JobState.RUNNING: _ENDS,
        JobState.SUCCEEDED: frozenset[JobState](),
        JobState.FAILED: frozenset({JobState.QUEUED}),
        JobState.CANCELLED: frozenset({JobState.QUEUED}),
        JobState.EXPIRED: frozenset({JobState.QUEUED}),
    }
)


class ShardState(StrEnum):
    """Where one piece of work stands. A lease that ran out is still ``leased`` until somebody sees it."""

    PENDING = "pending"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"


SHARD_MOVES: Mapping[ShardState, frozenset[ShardState]] = MappingProxyType(
    {
        ShardState.PENDING: frozenset({ShardState.LEASED, ShardState.FAILED}),
        # leased to leased: another worker takes over a lease that ran out.
        ShardState.LEASED: frozenset(ShardState),
        # back to pending only when a person retries the job, under a higher fence.
        ShardState.DONE: frozenset({ShardState.PENDING}),
        ShardState.FAILED: frozenset({ShardState.PENDING}),
    }
)


class BatchState(StrEnum):
    """Where a list of jobs stands. ``open`` may still be given jobs, ``running`` is complete and works."""

    OPEN = "open"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    SUCCEEDED_WITH_ERRORS = "succeeded_with_errors"  # some jobs did succeed
    FAILED = "failed"
    CANCELLED = "cancelled"  # as a whole, or each of its jobs

    @property
    def is_terminal(self) -> bool:
        """Whether nothing of the batch runs any more."""
        return self not in (BatchState.OPEN, BatchState.RUNNING)


class BatchEnd(StrEnum):
    """Why a batch ended in the state that it is in."""

    JOBS_ENDED = "jobs_ended"
    CANCELLED = "cancelled"
    FAILURE_RATE = "failure_rate"
    SUBMISSION_CUT_OFF = "submission_cut_off"  # the rest of its list never came


class Lane(StrEnum):
    """How soon somebody waits for the answer. Each lane has its own queue."""

    INTERACTIVE = "interactive"
    STANDARD = "standard"
    BULK = "bulk"

    @property
    def not_later(self) -> tuple["Lane", ...]:
        """This lane and those for which somebody waits more."""
        lanes = tuple(Lane)
        return lanes[: lanes.index(self) + 1]


class WorkKind(StrEnum):
    """What a shard asks of the worker that claims it.

    ``prepare`` (index 0) downloads, hashes, probes and plans. ``screen`` (1 to n) decodes and predicts.
    ``score`` (n + 1) joins the evidence; it comes into being when the last ``screen`` is done.
    """

    PREPARE = "prepare"
    SCREEN = "screen"
    SCORE = "score"
