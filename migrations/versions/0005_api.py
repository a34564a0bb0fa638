"""Reasons of the API."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Columns that hold a reason: table, column.
REASONS_IN = (("job", "error_reason"), ("shard", "last_reason"), ("attempt", "reason"))
BEFORE = (
    *("EMPTY", "NOT_VIDEO", "UNSUPPORTED_CONTAINER", "UNSUPPORTED_CODEC", "TRUNCATED", "CORRUPT"),
    *("NO_FRAMES", "NO_VIDEO_STREAM", "ENCRYPTED", "TOO_SMALL", "RESOLUTION_CHANGE", "LIMIT_PIXELS"),
    *("LIMIT_FRAMES", "LIMIT_DURATION", "LIMIT_STREAMS", "LIMIT_MEMORY", "DECODE_TIMEOUT"),
    *("DECODER_CRASHED", "SOURCE_TOO_LARGE", "SOURCE_NOT_FOUND", "SOURCE_ACCESS_DENIED", "SOURCE_CHANGED"),
    *("SOURCE_ARCHIVED", "SANDBOX_UNAVAILABLE", "ENGINE_UNAVAILABLE", "GPU_OUT_OF_MEMORY", "GPU_FAULT"),
    *("OBJECT_STORE_UNAVAILABLE", "DATABASE_UNAVAILABLE", "BROKER_UNAVAILABLE", "NO_SPACE", "LEASE_LOST"),
    *("ATTEMPTS_EXHAUSTED", "DEADLINE_EXCEEDED", "CANCELLED_BY_CALLER", "FAILURE_RATE_EXCEEDED"),
    *("QUOTA_EXCEEDED", "INVALID_REQUEST", "INVALID_MANIFEST", "INVALID_SETTINGS", "IDEMPOTENCY_CONFLICT"),
    *("NOT_FOUND", "MODEL_INVALID", "MIGRATIONS_BEHIND", "BROKER_MISCONFIGURED", "OUTPUT_FAILED"),
    "INTERNAL",
)
ADDED = (
    *("UNAUTHENTICATED", "MISSING_SCOPE", "RATE_LIMITED", "METHOD_NOT_ALLOWED", "UNSUPPORTED_MEDIA_TYPE"),
    *("REQUEST_TOO_LARGE", "REQUEST_IN_PROGRESS", "STATE_CONFLICT", "PRECONDITION_FAILED"),
    *("INVALID_FILTER", "INVALID_PAGE_TOKEN", "URL_NOT_ALLOWED", "LEGAL_HOLD", "TOO_FEW_DECISIONS"),
)


def _allow_reasons(reasons: tuple[str, ...]) -> None:
    """Let the columns hold these reasons and no others."""
    listed = ", ".join(f"'{reason}'" for reason in reasons)
    for table, column in REASONS_IN:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_reason")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_reason CHECK ({column} IN ({listed}))")


def upgrade() -> None:
    """Widen the list of reasons."""
    at = BEFORE.index("MODEL_INVALID")
    _allow_reasons((*BEFORE[:at], *ADDED, *BEFORE[at:]))


def downgrade() -> None:
    """Narrow it again; no job has ended for one of the new reasons."""
    _allow_reasons(BEFORE)
