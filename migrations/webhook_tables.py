"""Tables of revision 0007 for events, webhooks, retention and erasure. They must not change here."""

CREATE = (
    """
CREATE TABLE event (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    type VARCHAR(40) NOT NULL,
    data JSONB NOT NULL,
    outbox_id BIGINT,
    due_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    publish_time TIMESTAMP WITH TIME ZONE,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_event PRIMARY KEY (id),
    CONSTRAINT uq_event_outbox_id UNIQUE (outbox_id),
    CONSTRAINT ck_event_event_type CHECK (type IN ('job.succeeded', 'job.failed', 'job.cancelled',
        'job.expired', 'batch.completed', 'analysis.verdict_changed', 'review.decided', 'model.promoted',
        'video.purged', 'webhook.test'))
)
 WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX ix_event_create_time ON event (create_time);
CREATE INDEX ix_event_tenant_id_create_time_id ON event (tenant_id, create_time, id);
CREATE INDEX ix_event_waiting ON event (due_time) WHERE publish_time IS NULL;
""",
    """
CREATE TABLE webhook_endpoint (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    event_types TEXT[] NOT NULL,
    is_enabled BOOLEAN DEFAULT true NOT NULL,
    disable_reason VARCHAR(40),
    failing_since TIMESTAMP WITH TIME ZONE,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_webhook_endpoint PRIMARY KEY (id),
    CONSTRAINT fk_webhook_endpoint_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE
        RESTRICT,
    CONSTRAINT ck_webhook_endpoint_has_disable_reason CHECK (is_enabled = (disable_reason IS NULL)),
    CONSTRAINT ck_webhook_endpoint_url CHECK (length(url) BETWEEN 1 AND 2000),
    CONSTRAINT ck_webhook_endpoint_disable_reason CHECK (disable_reason IN ('owner', 'gone', 'failing'))
);
CREATE INDEX ix_webhook_endpoint_tenant_id_create_time_id ON webhook_endpoint (tenant_id, create_time, id);
""",
    """
CREATE TABLE webhook_secret (
    tenant_id TEXT COLLATE "C" NOT NULL,
    endpoint_id TEXT COLLATE "C" NOT NULL,
    version INTEGER NOT NULL,
    secret TEXT NOT NULL,
    expire_time TIMESTAMP WITH TIME ZONE,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_webhook_secret PRIMARY KEY (endpoint_id, version),
    CONSTRAINT fk_webhook_secret_endpoint_id FOREIGN KEY(endpoint_id) REFERENCES webhook_endpoint (id) ON
        DELETE CASCADE
);
""",
    """
CREATE TABLE webhook_delivery (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    endpoint_id TEXT COLLATE "C" NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    state VARCHAR(40) DEFAULT 'pending' NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    fence BIGINT DEFAULT 0 NOT NULL,
    tries_left INTEGER NOT NULL,
    due_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    lease_until TIMESTAMP WITH TIME ZONE,
    end_time TIMESTAMP WITH TIME ZONE,
    last_status INTEGER,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_webhook_delivery PRIMARY KEY (id),
    CONSTRAINT uq_webhook_delivery_endpoint_id_event_id UNIQUE (endpoint_id, event_id),
    CONSTRAINT ck_webhook_delivery_lease_until CHECK ((state = 'leased') = (lease_until IS NOT NULL)),
    CONSTRAINT ck_webhook_delivery_end_time CHECK ((end_time IS NULL) = (state IN ('pending', 'leased'))),
    CONSTRAINT fk_webhook_delivery_endpoint_id FOREIGN KEY(endpoint_id) REFERENCES webhook_endpoint (id)
        ON DELETE CASCADE,
    CONSTRAINT fk_webhook_delivery_event_id FOREIGN KEY(event_id) REFERENCES event (id) ON DELETE CASCADE,
    CONSTRAINT ck_webhook_delivery_delivery_state CHECK (state IN ('pending', 'leased', 'succeeded',
        'failed'))
)
 WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX ix_webhook_delivery_due ON webhook_delivery (endpoint_id, due_time) WHERE state = 'pending';
CREATE INDEX ix_webhook_delivery_event_id ON webhook_delivery (event_id);
CREATE INDEX ix_webhook_delivery_leased ON webhook_delivery (lease_until) WHERE state = 'leased';
CREATE INDEX ix_webhook_delivery_tenant_id_create_time_id ON webhook_delivery (tenant_id, create_time, id);
""",
    """
CREATE TABLE webhook_attempt (
    tenant_id TEXT COLLATE "C" NOT NULL,
    delivery_id TEXT COLLATE "C" NOT NULL,
    number INTEGER NOT NULL,
    start_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    end_time TIMESTAMP WITH TIME ZONE,
    duration_ms BIGINT,
    status INTEGER,
    fault VARCHAR(40),
    answer TEXT,
    CONSTRAINT pk_webhook_attempt PRIMARY KEY (delivery_id, number),
    CONSTRAINT ck_webhook_attempt_end_time CHECK (end_time IS NOT NULL OR (status IS NULL AND fault IS
        NULL)),
    CONSTRAINT fk_webhook_attempt_delivery_id FOREIGN KEY(delivery_id) REFERENCES webhook_delivery (id) ON
        DELETE CASCADE,
    CONSTRAINT ck_webhook_attempt_attempt_fault CHECK (fault IN ('url_not_allowed', 'name_not_found',
        'connect_failed', 'tls_failed', 'timeout', 'broken_answer', 'redirect', 'status', 'lost'))
)
 WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
""",
    """
CREATE TABLE retention_class (
    tenant_id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    keep_s BIGINT NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_retention_class PRIMARY KEY (tenant_id, name),
    CONSTRAINT fk_retention_class_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE
        RESTRICT,
    CONSTRAINT ck_retention_class_keep_s CHECK (keep_s > 0),
    CONSTRAINT ck_retention_class_name CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,39}$')
);
""",
    """
CREATE TABLE erasure (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    video_id TEXT COLLATE "C" NOT NULL,
    cause VARCHAR(40) NOT NULL,
    requested_by TEXT NOT NULL,
    state VARCHAR(40) DEFAULT 'running' NOT NULL,
    plan JSONB,
    stores JSONB DEFAULT '{}' NOT NULL,
    try_time TIMESTAMP WITH TIME ZONE,
    end_time TIMESTAMP WITH TIME ZONE,
    sha256 TEXT,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_erasure PRIMARY KEY (id),
    CONSTRAINT fk_erasure_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE RESTRICT,
    CONSTRAINT ck_erasure_end_time CHECK ((state = 'completed') = (end_time IS NOT NULL)),
    CONSTRAINT ck_erasure_sha256 CHECK ((state = 'completed') = (sha256 IS NOT NULL)),
    CONSTRAINT ck_erasure_plan CHECK ((state = 'completed') = (plan IS NULL)),
    CONSTRAINT ck_erasure_erasure_cause CHECK (cause IN ('request', 'purge', 'retention')),
    CONSTRAINT ck_erasure_erasure_state CHECK (state IN ('running', 'completed'))
);
CREATE INDEX ix_erasure_tenant_id_create_time_id ON erasure (tenant_id, create_time, id);
CREATE INDEX ix_erasure_video_id ON erasure (video_id);
CREATE UNIQUE INDEX uq_erasure_running ON erasure (video_id) WHERE state = 'running';
""",
    """
CREATE TABLE erasure_host (
    tenant_id TEXT COLLATE "C" NOT NULL,
    erasure_id TEXT COLLATE "C" NOT NULL,
    owner TEXT NOT NULL,
    clear_time TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_erasure_host PRIMARY KEY (erasure_id, owner),
    CONSTRAINT fk_erasure_host_erasure_id FOREIGN KEY(erasure_id) REFERENCES erasure (id) ON DELETE
        CASCADE
);
""",
)
