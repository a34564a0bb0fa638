"""What a key may be allowed to do: one closed list for the API and the command that makes keys."""

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
    WEBHOOKS_WRITE = "webhooks:write"
    KEYS_ADMIN = "keys:admin"
    ERASE_WRITE = "erase:write"
    USAGE_READ = "usage:read"


ALL_SCOPES = frozenset(scope.value for scope in Scope)
