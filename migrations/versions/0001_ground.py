"""Tenants, keys, models, policies and videos.

Needs the role fakesieve_app, made by whoever sets up the server: fakesieve/embedded/postgres.py shows how.
"""

from alembic import op

from migrations.tenancy import grant, isolate_tenants

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = ("tenant", "api_key", "model", "policy", "video", "source", "sweep")

CREATE = (
    """
CREATE TABLE tenant (
    id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    weight DOUBLE PRECISION DEFAULT 1 NOT NULL,
    jobs_max BIGINT,
    is_active BOOLEAN DEFAULT true NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_tenant PRIMARY KEY (id),
    CONSTRAINT ck_tenant_weight CHECK (weight > 0),
    CONSTRAINT ck_tenant_jobs_max CHECK (jobs_max > 0),
    CONSTRAINT uq_tenant_name UNIQUE (name)
);
""",
    """
CREATE TABLE api_key (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    shown TEXT NOT NULL,
    key_sha256 TEXT NOT NULL,
    scopes TEXT[] NOT NULL,
    expire_time TIMESTAMP WITH TIME ZONE,
    revoke_time TIMESTAMP WITH TIME ZONE,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_api_key PRIMARY KEY (id),
    CONSTRAINT fk_api_key_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE RESTRICT,
    CONSTRAINT ck_api_key_key_sha256 CHECK (length(key_sha256) = 64),
    CONSTRAINT uq_api_key_key_sha256 UNIQUE (key_sha256)
);
CREATE INDEX ix_api_key_tenant_id ON api_key (tenant_id);
""",
    """
CREATE TABLE model (
    id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    weights_sha256 TEXT NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_model PRIMARY KEY (id),
    CONSTRAINT uq_model_name_weights_sha256 UNIQUE (name, weights_sha256),
    CONSTRAINT ck_model_weights_sha256 CHECK (weights_sha256 ~ '^[0-9a-f]{64}$')
);
""",
    """
CREATE TABLE policy (
    id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    low DOUBLE PRECISION NOT NULL,
    high DOUBLE PRECISION NOT NULL,
    min_coverage DOUBLE PRECISION NOT NULL,
    min_peak_frames BIGINT NOT NULL,
    extrapolated BOOLEAN NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_policy PRIMARY KEY (id),
    CONSTRAINT uq_policy_content UNIQUE (name, version, low, high, min_coverage, min_peak_frames,
        extrapolated),
    CONSTRAINT ck_policy_version CHECK (version >= 1),
    CONSTRAINT ck_policy_thresholds CHECK (0 < low AND low <= high AND high <= 1),
    CONSTRAINT ck_policy_min_coverage CHECK (min_coverage BETWEEN 0 AND 1),
    CONSTRAINT ck_policy_min_peak_frames CHECK (min_peak_frames >= 1)
);
""",
    """
CREATE TABLE video (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    content_sha256 TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    external_id TEXT,
    media JSONB NOT NULL,
    container TEXT GENERATED ALWAYS AS ((media ->> 'container')::text) STORED,
    codec TEXT GENERATED ALWAYS AS ((media ->> 'codec')::text) STORED,
    width BIGINT GENERATED ALWAYS AS ((media ->> 'width')::bigint) STORED,
    height BIGINT GENERATED ALWAYS AS ((media ->> 'height')::bigint) STORED,
    duration_us BIGINT GENERATED ALWAYS AS ((media ->> 'duration_us')::bigint) STORED,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_video PRIMARY KEY (id),
    CONSTRAINT fk_video_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE RESTRICT,
    CONSTRAINT uq_video_tenant_id_content_sha256 UNIQUE (tenant_id, content_sha256),
    CONSTRAINT ck_video_content_sha256 CHECK (content_sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ck_video_size_bytes CHECK (size_bytes > 0)
);
CREATE INDEX ix_video_tenant_id_external_id ON video (tenant_id, external_id) WHERE external_id IS NOT
    NULL;
""",
    """
CREATE TABLE source (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    video_id TEXT COLLATE "C" NOT NULL,
    kind VARCHAR(40) NOT NULL,
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    version_id TEXT,
    etag TEXT,
    size_bytes BIGINT,
    first_seen_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_source PRIMARY KEY (id),
    CONSTRAINT uq_source_tenant_id_bucket_key_version_id_etag UNIQUE NULLS NOT DISTINCT (tenant_id,
        bucket, key, version_id, etag),
    CONSTRAINT fk_source_video_id FOREIGN KEY(video_id) REFERENCES video (id) ON DELETE CASCADE,
    CONSTRAINT ck_source_source_kind CHECK (kind IN ('api', 'upload', 'manifest', 's3_event',
        's3_sweep'))
);
CREATE INDEX ix_source_video_id ON source (video_id);
""",
    """
CREATE TABLE sweep (
    tenant_id TEXT COLLATE "C" NOT NULL,
    bucket TEXT NOT NULL,
    prefix TEXT NOT NULL,
    watermark TIMESTAMP WITH TIME ZONE NOT NULL,
    update_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_sweep PRIMARY KEY (tenant_id, bucket, prefix),
    CONSTRAINT fk_sweep_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE RESTRICT
);
""",
)


def upgrade() -> None:
    """Make the tables and say who may do what with them."""
    for statements in CREATE:
        op.execute(statements)
    grant(("tenant", "api_key", "video", "source", "sweep"), "SELECT, INSERT, UPDATE, DELETE")
    # A model and a policy never change once a score or a verdict stands on them.
    grant(("model", "policy"), "SELECT, INSERT")
    grant(("alembic_version",), "SELECT")
    isolate_tenants(("tenant",), "id")
    isolate_tenants(("api_key", "video", "source", "sweep"))


def downgrade() -> None:
    """Remove the tables, those that refer to others first."""
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
