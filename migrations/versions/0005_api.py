"""Uploads, answers kept under idempotency keys, what a tenant may use, and the reasons of the API."""

from alembic import op

from migrations.tenancy import grant_rights, isolate_rows

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
# What an earlier release says in place of one of them: a job that waits for its twin has lost its turn to it.
STANDS_FOR = {"REQUEST_IN_PROGRESS": "LEASE_LOST"}
OTHERS_STAND_FOR = "INVALID_REQUEST"
TABLES = ("upload", "idempotent_answer")
CREATE = (
    """
CREATE TABLE upload (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    name TEXT,
    content_type TEXT NOT NULL,
    sha256 TEXT,
    size_bytes_max BIGINT NOT NULL,
    expire_time TIMESTAMP WITH TIME ZONE NOT NULL,
    complete_time TIMESTAMP WITH TIME ZONE,
    etag TEXT,
    version_id TEXT,
    size_bytes BIGINT,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_upload PRIMARY KEY (id),
    CONSTRAINT uq_upload_key UNIQUE (key),
    CONSTRAINT fk_upload_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE RESTRICT,
    CONSTRAINT ck_upload_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ck_upload_size_bytes_max CHECK (size_bytes_max > 0),
    CONSTRAINT ck_upload_etag CHECK ((complete_time IS NULL) = (etag IS NULL)),
    CONSTRAINT ck_upload_size_bytes CHECK ((complete_time IS NULL) = (size_bytes IS NULL))
);
CREATE INDEX ix_upload_tenant_id_create_time ON upload (tenant_id, create_time);
""",
    """
CREATE TABLE idempotent_answer (
    tenant_id TEXT COLLATE "C" NOT NULL,
    key TEXT NOT NULL,
    request_sha256 TEXT NOT NULL,
    status INTEGER NOT NULL,
    headers JSONB NOT NULL,
    body BYTEA NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_idempotent_answer PRIMARY KEY (tenant_id, key),
    CONSTRAINT ck_idempotent_answer_request_sha256 CHECK (length(request_sha256) = 64),
    CONSTRAINT ck_idempotent_answer_key CHECK (length(key) BETWEEN 1 AND 255)
);
CREATE INDEX ix_idempotent_answer_tenant_id_create_time ON idempotent_answer (tenant_id, create_time);
""",
    """
ALTER TABLE tenant ADD COLUMN month_ms_max BIGINT;
ALTER TABLE tenant ADD COLUMN places TEXT[] DEFAULT '{}' NOT NULL;
ALTER TABLE tenant ADD CONSTRAINT ck_tenant_month_ms_max CHECK (month_ms_max > 0);
ALTER TABLE api_key ADD COLUMN next_key_id TEXT COLLATE "C";
CREATE INDEX ix_batch_tenant_id_create_time_id ON batch (tenant_id, create_time, id);
CREATE INDEX ix_video_tenant_id_create_time_id ON video (tenant_id, create_time, id);
""",
)
REMOVE = """
DROP INDEX ix_video_tenant_id_create_time_id;
DROP INDEX ix_batch_tenant_id_create_time_id;
ALTER TABLE api_key DROP COLUMN next_key_id;
ALTER TABLE tenant DROP COLUMN places;
ALTER TABLE tenant DROP COLUMN month_ms_max;
DROP TABLE idempotent_answer;
DROP TABLE upload;
"""


def _allow_reasons(reasons: tuple[str, ...]) -> None:
    """Let the columns hold these reasons and no others."""
    listed = ", ".join(f"'{reason}'" for reason in reasons)
    for table, column in REASONS_IN:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_reason")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_reason CHECK ({column} IN ({listed}))")


def _replace_reasons() -> None:
    """Write an older reason where one of the new ones stands, as in work that waited for its twin."""
    op.execute("SELECT set_config('fakesieve.tenant_id', '*', true)")
    cases = " ".join(f"WHEN '{new}' THEN '{old}'" for new, old in STANDS_FOR.items())
    listed = ", ".join(f"'{reason}'" for reason in ADDED)
    for table, column in REASONS_IN:
        older = f"CASE {column} {cases} ELSE '{OTHERS_STAND_FOR}' END"
        op.execute(f"UPDATE {table} SET {column} = {older} WHERE {column} IN ({listed})")  # noqa: S608 - all from above


def upgrade() -> None:
    """Make the tables, and widen the list of reasons."""
    for statements in CREATE:
        op.execute(statements)
    grant_rights(TABLES, "SELECT, INSERT, UPDATE, DELETE")
    isolate_rows(TABLES)
    at = BEFORE.index("MODEL_INVALID")
    _allow_reasons((*BEFORE[:at], *ADDED, *BEFORE[at:]))


def downgrade() -> None:
    """Go back; an older reason is told in place of each new one."""
    _replace_reasons()
    _allow_reasons(BEFORE)
    op.execute(REMOVE)
