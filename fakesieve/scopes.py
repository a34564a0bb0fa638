"""What a key may be allowed to do: one closed list for the API and the command that makes keys."""

from collections.abc import Sequence
from enum import StrEnum


class Scope(StrEnum):
    """One right of a key. A key has only those that it was given."""

    JOBS_WRITE = "jobs:write"
    JOBS_READ = "jobs:read"
    RESULTS_READ = "results:read"
    POLICIES_WRITE = "policies:write"
    MODELS_ADMIN = "models:admin"
    REVIEW_READ = "review:read"
    REVIEW_WRITE = "review:write"
    REVIEW_ADMIN = "review:admin"
    WEBHOOKS_WRITE = "webhooks:write"
    KEYS_ADMIN = "keys:admin"
    ERASE_WRITE = "erase:write"
    HOLD_WRITE = "hold:write"
    USAGE_READ = "usage:read"


ALL_SCOPES = frozenset(scope.value for scope in Scope)
DEFAULT_SCOPES = frozenset({Scope.JOBS_WRITE.value, Scope.JOBS_READ.value, Scope.RESULTS_READ.value})
_EVERY = "all"


def read_scopes(given: Sequence[str]) -> frozenset[str]:
    """Return the scopes that are named, every one for ``all``. Raises ValueError for one that is none."""
    if _EVERY in given:
        return ALL_SCOPES
    unknown = sorted(set(given) - ALL_SCOPES)
    if unknown:
        raise ValueError(f"no scope {unknown[0]!r}; known are {', '.join(sorted(ALL_SCOPES))}")
    return frozenset(given)
