"""Work: batches, jobs, shards, the outbox, attempts, worker hosts and what is billed."""

from alembic import op

from migrations.tenancy import grant, isolate_tenants

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = ("batch", "job", "shard", "outbox", "attempt", "worker_host", "usage")

CREATE = (
    """
CREATE TABLE batch (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    lane VARCHAR(40) NOT NULL,
    state VARCHAR(40) DEFAULT 'open' NOT NULL,
    max_failure_rate DOUBLE PRECISION NOT NULL,
    idempotency_key TEXT,
    request_hash TEXT NOT NULL,
    end_time TIMESTAMP WITH TIME ZONE,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_batch PRIMARY KEY (id),
    CONSTRAINT uq_batch_tenant_id_idempotency_key UNIQUE (tenant_id, idempotency_key),
    CONSTRAINT ck_batch_max_failure_rate CHECK (max_failure_rate BETWEEN 0 AND 1),
    CONSTRAINT ck_batch_end_time CHECK ((end_time IS NULL) = (state IN ('open', 'running'))),
    CONSTRAINT ck_batch_lane CHECK (lane IN ('interactive', 'standard', 'bulk')),
    CONSTRAINT ck_batch_batch_state CHECK (state IN ('open', 'running', 'succeeded',
        'succeeded_with_errors', 'failed', 'cancelled'))
);
CREATE INDEX ix_batch_end_time ON batch (end_time) WHERE end_time IS NULL;
""",
    """
CREATE TABLE job (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    batch_id TEXT COLLATE "C",
    lane VARCHAR(40) NOT NULL,
    state VARCHAR(40) DEFAULT 'queued' NOT NULL,
    source_kind VARCHAR(40) NOT NULL,
    source_bucket TEXT NOT NULL,
    source_key TEXT NOT NULL,
    source_version_id TEXT,
    source_etag TEXT,
    source_size_bytes BIGINT,
    external_id TEXT,
    idempotency_key TEXT,
    request_hash TEXT NOT NULL,
    video_id TEXT COLLATE "C",
    pipeline_fingerprint TEXT,
    media JSONB,
    n_shards INTEGER DEFAULT '0' NOT NULL,
    n_done INTEGER DEFAULT '0' NOT NULL,
    fence BIGINT DEFAULT '0' NOT NULL,
    time_limit_ms BIGINT NOT NULL,
    deadline TIMESTAMP WITH TIME ZONE NOT NULL,
    start_time TIMESTAMP WITH TIME ZONE,
    end_time TIMESTAMP WITH TIME ZONE,
    analysis_id TEXT COLLATE "C",
    reused_analysis BOOLEAN DEFAULT false NOT NULL,
    error_reason VARCHAR(40),
    error_message TEXT,
    error_hint TEXT,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_job PRIMARY KEY (id),
    CONSTRAINT uq_job_tenant_id_idempotency_key UNIQUE (tenant_id, idempotency_key),
    CONSTRAINT ck_job_n_done CHECK (n_done BETWEEN 0 AND n_shards),
    CONSTRAINT ck_job_end_time CHECK ((end_time IS NULL) = (state IN ('queued', 'running'))),
    CONSTRAINT ck_job_error_reason CHECK ((error_reason IS NOT NULL) = (state IN ('failed',
        'cancelled', 'expired'))),
    CONSTRAINT ck_job_analysis_id CHECK ((analysis_id IS NOT NULL) = (state = 'succeeded')),
    CONSTRAINT fk_job_batch_id FOREIGN KEY(batch_id) REFERENCES batch (id) ON DELETE CASCADE,
    CONSTRAINT ck_job_lane CHECK (lane IN ('interactive', 'standard', 'bulk')),
    CONSTRAINT ck_job_job_state CHECK (state IN ('queued', 'running', 'succeeded', 'failed',
        'cancelled', 'expired')),
    CONSTRAINT ck_job_source_kind CHECK (source_kind IN ('api', 'upload', 'manifest', 's3_event',
        's3_sweep')),
    CONSTRAINT fk_job_video_id FOREIGN KEY(video_id) REFERENCES video (id) ON DELETE CASCADE,
    CONSTRAINT fk_job_analysis_id FOREIGN KEY(analysis_id) REFERENCES analysis (id),
    CONSTRAINT ck_job_reason CHECK (error_reason IN ('EMPTY', 'NOT_VIDEO', 'UNSUPPORTED_CONTAINER',
        'UNSUPPORTED_CODEC', 'TRUNCATED', 'CORRUPT', 'NO_FRAMES', 'NO_VIDEO_STREAM', 'ENCRYPTED',
        'TOO_SMALL', 'RESOLUTION_CHANGE', 'LIMIT_PIXELS', 'LIMIT_FRAMES', 'LIMIT_DURATION',
        'LIMIT_STREAMS', 'LIMIT_MEMORY', 'DECODE_TIMEOUT', 'DECODER_CRASHED', 'SOURCE_TOO_LARGE',
        'SOURCE_NOT_FOUND', 'SOURCE_ACCESS_DENIED', 'SOURCE_CHANGED', 'SOURCE_ARCHIVED',
        'SANDBOX_UNAVAILABLE', 'ENGINE_UNAVAILABLE', 'GPU_OUT_OF_MEMORY', 'GPU_FAULT',
        'OBJECT_STORE_UNAVAILABLE', 'DATABASE_UNAVAILABLE', 'BROKER_UNAVAILABLE', 'NO_SPACE',
        'LEASE_LOST', 'ATTEMPTS_EXHAUSTED', 'DEADLINE_EXCEEDED', 'CANCELLED_BY_CALLER',
        'FAILURE_RATE_EXCEEDED', 'QUOTA_EXCEEDED', 'INVALID_REQUEST', 'INVALID_MANIFEST',
        'INVALID_SETTINGS', 'IDEMPOTENCY_CONFLICT', 'NOT_FOUND', 'MODEL_INVALID',
        'MIGRATIONS_BEHIND', 'BROKER_MISCONFIGURED', 'OUTPUT_FAILED', 'INTERNAL'))
)
 WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX ix_job_analysis_id ON job (analysis_id) WHERE analysis_id IS NOT NULL;
CREATE INDEX ix_job_batch_id_state ON job (batch_id, state) WHERE batch_id IS NOT NULL;
CREATE INDEX ix_job_live_deadline ON job (deadline) WHERE state IN ('queued', 'running');
CREATE INDEX ix_job_live_tenant_id ON job (tenant_id) WHERE state IN ('queued', 'running');
CREATE INDEX ix_job_tenant_id_create_time_id ON job (tenant_id, create_time, id);
CREATE INDEX ix_job_unfinished ON job (end_time) WHERE state IN ('failed', 'cancelled', 'expired');
CREATE INDEX ix_job_video_id ON job (video_id) WHERE video_id IS NOT NULL;
""",
    """
CREATE TABLE shard (
    tenant_id TEXT COLLATE "C" NOT NULL,
    job_id TEXT COLLATE "C" NOT NULL,
    index INTEGER NOT NULL,
    kind VARCHAR(40) NOT NULL,
    lane VARCHAR(40) NOT NULL,
    state VARCHAR(40) DEFAULT 'pending' NOT NULL,
    plan JSONB,
    cost DOUBLE PRECISION DEFAULT '1' NOT NULL,
    fence BIGINT DEFAULT '0' NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    deliveries INTEGER DEFAULT '0' NOT NULL,
    lease_owner TEXT,
    lease_until TIMESTAMP WITH TIME ZONE,
    retry_time TIMESTAMP WITH TIME ZONE,
    ring_time TIMESTAMP WITH TIME ZONE,
    end_time TIMESTAMP WITH TIME ZONE,
    last_reason VARCHAR(40),
    last_message TEXT,
    evidence BYTEA,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_shard PRIMARY KEY (job_id, index),
    CONSTRAINT ck_shard_index CHECK (index >= 0 AND (index = 0) = (kind = 'prepare')),
    CONSTRAINT ck_shard_attempts CHECK (attempts BETWEEN 0 AND deliveries),
    CONSTRAINT ck_shard_lease CHECK ((state = 'leased') = (lease_owner IS NOT NULL) AND (state =
        'leased') = (lease_until IS NOT NULL)),
    CONSTRAINT fk_shard_job_id FOREIGN KEY(job_id) REFERENCES job (id) ON DELETE CASCADE,
    CONSTRAINT ck_shard_work_kind CHECK (kind IN ('prepare', 'screen', 'score')),
    CONSTRAINT ck_shard_lane CHECK (lane IN ('interactive', 'standard', 'bulk')),
    CONSTRAINT ck_shard_shard_state CHECK (state IN ('pending', 'leased', 'done', 'failed')),
    CONSTRAINT ck_shard_reason CHECK (last_reason IN ('EMPTY', 'NOT_VIDEO', 'UNSUPPORTED_CONTAINER',
        'UNSUPPORTED_CODEC', 'TRUNCATED', 'CORRUPT', 'NO_FRAMES', 'NO_VIDEO_STREAM', 'ENCRYPTED',
        'TOO_SMALL', 'RESOLUTION_CHANGE', 'LIMIT_PIXELS', 'LIMIT_FRAMES', 'LIMIT_DURATION',
        'LIMIT_STREAMS', 'LIMIT_MEMORY', 'DECODE_TIMEOUT', 'DECODER_CRASHED', 'SOURCE_TOO_LARGE',
        'SOURCE_NOT_FOUND', 'SOURCE_ACCESS_DENIED', 'SOURCE_CHANGED', 'SOURCE_ARCHIVED',
        'SANDBOX_UNAVAILABLE', 'ENGINE_UNAVAILABLE', 'GPU_OUT_OF_MEMORY', 'GPU_FAULT',
        'OBJECT_STORE_UNAVAILABLE', 'DATABASE_UNAVAILABLE', 'BROKER_UNAVAILABLE', 'NO_SPACE',
        'LEASE_LOST', 'ATTEMPTS_EXHAUSTED', 'DEADLINE_EXCEEDED', 'CANCELLED_BY_CALLER',
        'FAILURE_RATE_EXCEEDED', 'QUOTA_EXCEEDED', 'INVALID_REQUEST', 'INVALID_MANIFEST',
        'INVALID_SETTINGS', 'IDEMPOTENCY_CONFLICT', 'NOT_FOUND', 'MODEL_INVALID',
        'MIGRATIONS_BEHIND', 'BROKER_MISCONFIGURED', 'OUTPUT_FAILED', 'INTERNAL'))
)
 WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX ix_shard_leased ON shard (lease_until) WHERE state = 'leased';
CREATE INDEX ix_shard_rung ON shard (ring_time) WHERE state = 'pending' AND ring_time IS NOT NULL;
""",
    """
CREATE TABLE outbox (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    topic TEXT NOT NULL,
    job_id TEXT COLLATE "C" NOT NULL,
    shard_index INTEGER,
    lane VARCHAR(40) NOT NULL,
    cost DOUBLE PRECISION DEFAULT '1' NOT NULL,
    payload JSONB,
    due_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    publish_time TIMESTAMP WITH TIME ZONE,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_outbox PRIMARY KEY (id),
    CONSTRAINT ck_outbox_shard_index CHECK ((topic = 'doorbell') = (shard_index IS NOT NULL)),
    CONSTRAINT fk_outbox_job_id FOREIGN KEY(job_id) REFERENCES job (id) ON DELETE CASCADE,
    CONSTRAINT ck_outbox_lane CHECK (lane IN ('interactive', 'standard', 'bulk'))
)
 WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX ix_outbox_event ON outbox (id) WHERE topic <> 'doorbell';
CREATE INDEX ix_outbox_queue ON outbox (lane, tenant_id, due_time, id) WHERE topic = 'doorbell';
CREATE UNIQUE INDEX uq_outbox_doorbell ON outbox (job_id, shard_index) WHERE topic = 'doorbell';
""",
    """
CREATE TABLE attempt (
    tenant_id TEXT COLLATE "C" NOT NULL,
    job_id TEXT COLLATE "C" NOT NULL,
    shard_index INTEGER NOT NULL,
    fence BIGINT NOT NULL,
    kind VARCHAR(40) NOT NULL,
    number INTEGER NOT NULL,
    owner TEXT NOT NULL,
    start_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    end_time TIMESTAMP WITH TIME ZONE,
    attempt_end VARCHAR(40),
    reason VARCHAR(40),
    message TEXT,
    CONSTRAINT pk_attempt PRIMARY KEY (job_id, shard_index, fence),
    CONSTRAINT ck_attempt_end_time CHECK ((attempt_end IS NULL) = (end_time IS NULL)),
    CONSTRAINT fk_attempt_job_id FOREIGN KEY(job_id) REFERENCES job (id) ON DELETE CASCADE,
    CONSTRAINT ck_attempt_work_kind CHECK (kind IN ('prepare', 'screen', 'score')),
    CONSTRAINT ck_attempt_attempt_end CHECK (attempt_end IN ('done', 'failed', 'released', 'lost')),
    CONSTRAINT ck_attempt_reason CHECK (reason IN ('EMPTY', 'NOT_VIDEO', 'UNSUPPORTED_CONTAINER',
        'UNSUPPORTED_CODEC', 'TRUNCATED', 'CORRUPT', 'NO_FRAMES', 'NO_VIDEO_STREAM', 'ENCRYPTED',
        'TOO_SMALL', 'RESOLUTION_CHANGE', 'LIMIT_PIXELS', 'LIMIT_FRAMES', 'LIMIT_DURATION',
        'LIMIT_STREAMS', 'LIMIT_MEMORY', 'DECODE_TIMEOUT', 'DECODER_CRASHED', 'SOURCE_TOO_LARGE',
        'SOURCE_NOT_FOUND', 'SOURCE_ACCESS_DENIED', 'SOURCE_CHANGED', 'SOURCE_ARCHIVED',
        'SANDBOX_UNAVAILABLE', 'ENGINE_UNAVAILABLE', 'GPU_OUT_OF_MEMORY', 'GPU_FAULT',
        'OBJECT_STORE_UNAVAILABLE', 'DATABASE_UNAVAILABLE', 'BROKER_UNAVAILABLE', 'NO_SPACE',
        'LEASE_LOST', 'ATTEMPTS_EXHAUSTED', 'DEADLINE_EXCEEDED', 'CANCELLED_BY_CALLER',
        'FAILURE_RATE_EXCEEDED', 'QUOTA_EXCEEDED', 'INVALID_REQUEST', 'INVALID_MANIFEST',
        'INVALID_SETTINGS', 'IDEMPOTENCY_CONFLICT', 'NOT_FOUND', 'MODEL_INVALID',
        'MIGRATIONS_BEHIND', 'BROKER_MISCONFIGURED', 'OUTPUT_FAILED', 'INTERNAL'))
)
 WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
""",
    """
CREATE TABLE worker_host (
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    slots INTEGER NOT NULL,
    is_draining BOOLEAN DEFAULT false NOT NULL,
    rss_bytes BIGINT,
    start_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    beat_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_worker_host PRIMARY KEY (owner),
    CONSTRAINT ck_worker_host_slots CHECK (slots > 0)
);
""",
    """
CREATE TABLE usage (
    tenant_id TEXT COLLATE "C" NOT NULL,
    job_id TEXT COLLATE "C" NOT NULL,
    analysis_id TEXT COLLATE "C" NOT NULL,
    n_shards INTEGER NOT NULL,
    duration_ms BIGINT NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_usage PRIMARY KEY (job_id),
    CONSTRAINT uq_usage_analysis_id UNIQUE (analysis_id)
);
CREATE INDEX ix_usage_tenant_id_create_time ON usage (tenant_id, create_time);
""",
)


def upgrade() -> None:
    """Make the tables and say who may do what with them."""
    for statements in CREATE:
        op.execute(statements)
    grant(TABLES, "SELECT, INSERT, UPDATE, DELETE")
    isolate_tenants([table for table in TABLES if table != "worker_host"])


def downgrade() -> None:
    """Remove the tables, those that refer to others first."""
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
