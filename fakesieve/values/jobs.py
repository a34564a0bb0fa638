"""Choices and limits of jobs."""

from enum import StrEnum

DEADLINE_S = 24 * 3600.0
DEADLINE_S_MAX = 30 * 24 * 3600
KEY_LENGTH_MAX = 200


class AttemptEnd(StrEnum):
    """How a claim ended."""

    DONE = "done"
    FAILED = "failed"
    RELEASED = "released"  # given back cleanly
    LOST = "lost"  # the lease ran out
