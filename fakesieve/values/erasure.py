"""Choices and limits of erasure."""

from enum import StrEnum

KEEP_S_MAX = 100 * 365 * 86_400


class ErasureCause(StrEnum):
    """Why a video is erased."""

    REQUEST = "request"
    PURGE = "purge"  # it was deleted, and the time for taking that back is over
    RETENTION = "retention"  # its class keeps it no longer


class ErasureState(StrEnum):
    """``running`` until every store is cleared; whoever began it may have died."""

    RUNNING = "running"
    COMPLETED = "completed"
