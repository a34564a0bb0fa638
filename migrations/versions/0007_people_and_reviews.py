"""People, the audit log, reviews, webhooks, and how long videos are kept and how they are erased."""

from alembic import op

from migrations.tenancy import APP_ROLE, FLEET_ROLE, grant_rights, isolate_rows
from migrations.webhook_tables import CREATE as CREATE_WEBHOOKS

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = (
    "audit_log",
    "app_user",
    "app_session",
    "review_queue",
    "review_item",
    "review_decision",
    "review_track",
    "calibration_fit",
    "event",
    "webhook_endpoint",
    "webhook_secret",
    "webhook_delivery",
    "webhook_attempt",
    "retention_class",
    "erasure",
    "erasure_host",
)

CREATE = (
    """
CREATE TABLE audit_log (
    tenant_id TEXT COLLATE "C" NOT NULL,
    sequence BIGINT DEFAULT 0 NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    details JSONB NOT NULL,
    previous_sha256 TEXT DEFAULT '' NOT NULL,
    sha256 TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_audit_log PRIMARY KEY (tenant_id, sequence),
    CONSTRAINT ck_audit_log_action CHECK (action ~ '^[a-z_]+[.][a-z_]+$')
);
""",
    """
CREATE TABLE app_user (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    role VARCHAR(40) NOT NULL,
    password_hash TEXT,
    oidc_issuer TEXT,
    oidc_subject TEXT,
    preferences JSONB DEFAULT '{}' NOT NULL,
    is_disabled BOOLEAN DEFAULT false NOT NULL,
    failures INTEGER DEFAULT 0 NOT NULL,
    locked_until TIMESTAMP WITH TIME ZONE,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_app_user PRIMARY KEY (id),
    CONSTRAINT fk_app_user_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE RESTRICT,
    CONSTRAINT uq_app_user_tenant_id_email UNIQUE (tenant_id, email),
    CONSTRAINT uq_app_user_tenant_id_oidc_issuer_oidc_subject UNIQUE (tenant_id, oidc_issuer,
        oidc_subject),
    CONSTRAINT ck_app_user_email CHECK (email = lower(email) AND strpos(email, '@') > 1),
    CONSTRAINT ck_app_user_oidc CHECK ((oidc_issuer IS NULL) = (oidc_subject IS NULL)),
    CONSTRAINT ck_app_user_failures CHECK (failures >= 0),
    CONSTRAINT ck_app_user_user_role CHECK (role IN ('viewer', 'reviewer', 'admin'))
);
""",
    """
CREATE TABLE app_session (
    tenant_id TEXT COLLATE "C" NOT NULL,
    token_sha256 TEXT NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    use_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expire_time TIMESTAMP WITH TIME ZONE NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_app_session PRIMARY KEY (token_sha256),
    CONSTRAINT ck_app_session_token_sha256 CHECK (token_sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT fk_app_session_user_id FOREIGN KEY(user_id) REFERENCES app_user (id) ON DELETE CASCADE
);
CREATE INDEX ix_app_session_expire_time ON app_session (expire_time);
CREATE INDEX ix_app_session_user_id ON app_session (user_id);
""",
    """
CREATE TABLE review_queue (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    rule JSONB NOT NULL,
    "order" VARCHAR(40) NOT NULL,
    is_blind BOOLEAN DEFAULT false NOT NULL,
    is_active BOOLEAN DEFAULT true NOT NULL,
    lease_s INTEGER NOT NULL,
    second_opinion_rate DOUBLE PRECISION DEFAULT 0 NOT NULL,
    fill_time TIMESTAMP WITH TIME ZONE,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_review_queue PRIMARY KEY (id),
    CONSTRAINT fk_review_queue_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE RESTRICT,
    CONSTRAINT uq_review_queue_tenant_id_name UNIQUE (tenant_id, name),
    CONSTRAINT ck_review_queue_lease_s CHECK (lease_s BETWEEN 30 AND 86400),
    CONSTRAINT ck_review_queue_second_opinion_rate CHECK (second_opinion_rate BETWEEN 0 AND 1),
    CONSTRAINT ck_review_queue_queue_order CHECK ("order" IN ('oldest', 'highest_score',
        'nearest_middle'))
);
""",
    """
CREATE TABLE review_item (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    queue_id TEXT COLLATE "C" NOT NULL,
    analysis_id TEXT COLLATE "C" NOT NULL,
    kind VARCHAR(40) DEFAULT 'first' NOT NULL,
    parent_id TEXT COLLATE "C",
    state VARCHAR(40) DEFAULT 'open' NOT NULL,
    rank DOUBLE PRECISION NOT NULL,
    is_blind BOOLEAN DEFAULT false NOT NULL,
    claimed_by TEXT,
    claim_time TIMESTAMP WITH TIME ZONE,
    claim_until TIMESTAMP WITH TIME ZONE,
    reveal_time TIMESTAMP WITH TIME ZONE,
    decision_id TEXT COLLATE "C",
    disposition VARCHAR(40),
    decided_by TEXT,
    decide_time TIMESTAMP WITH TIME ZONE,
    statement TEXT,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_review_item PRIMARY KEY (id),
    CONSTRAINT ck_review_item_claim CHECK ((state = 'claimed') = (claimed_by IS NOT NULL) AND (state =
        'claimed') = (claim_until IS NOT NULL) AND (state = 'claimed') = (claim_time IS NOT NULL)),
    CONSTRAINT ck_review_item_decision CHECK ((state = 'decided') = (decision_id IS NOT NULL) AND (state =
        'decided') = (disposition IS NOT NULL) AND (state = 'decided') = (decided_by IS NOT NULL) AND
        (state = 'decided') = (decide_time IS NOT NULL)),
    CONSTRAINT ck_review_item_parent_id CHECK ((kind = 'first') = (parent_id IS NULL)),
    CONSTRAINT ck_review_item_reveal_time CHECK (reveal_time IS NULL OR is_blind),
    CONSTRAINT fk_review_item_queue_id FOREIGN KEY(queue_id) REFERENCES review_queue (id) ON DELETE
        RESTRICT,
    CONSTRAINT fk_review_item_analysis_id FOREIGN KEY(analysis_id) REFERENCES analysis (id) ON DELETE
        CASCADE,
    CONSTRAINT ck_review_item_review_kind CHECK (kind IN ('first', 'second_opinion', 'appeal')),
    CONSTRAINT fk_review_item_parent_id FOREIGN KEY(parent_id) REFERENCES review_item (id) ON DELETE
        CASCADE,
    CONSTRAINT ck_review_item_review_state CHECK (state IN ('open', 'claimed', 'decided', 'skipped')),
    CONSTRAINT ck_review_item_disposition CHECK (disposition IN ('confirmed_manipulated',
        'confirmed_authentic', 'inconclusive', 'escalated'))
);
CREATE INDEX ix_review_item_analysis_id ON review_item (analysis_id);
CREATE INDEX ix_review_item_offered ON review_item (queue_id, rank, id) WHERE state IN ('open', 'claimed');
CREATE INDEX ix_review_item_tenant_id_state_create_time_id ON review_item (tenant_id, state, create_time,
    id);
CREATE UNIQUE INDEX uq_review_item_first ON review_item (queue_id, analysis_id) WHERE kind = 'first';
CREATE UNIQUE INDEX uq_review_item_parent_id_kind ON review_item (parent_id, kind) WHERE parent_id IS NOT
    NULL;
""",
    """
CREATE TABLE review_decision (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    item_id TEXT COLLATE "C",
    analysis_id TEXT COLLATE "C" NOT NULL,
    kind VARCHAR(40) NOT NULL,
    reviewer TEXT NOT NULL,
    disposition VARCHAR(40),
    reason_code VARCHAR(40),
    policy_ref TEXT,
    comment TEXT,
    automated_means VARCHAR(40),
    is_blind BOOLEAN DEFAULT false NOT NULL,
    seconds_spent DOUBLE PRECISION,
    undone_id TEXT COLLATE "C",
    category VARCHAR(40),
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_review_decision PRIMARY KEY (id),
    CONSTRAINT ck_review_decision_has_disposition CHECK ((kind IN ('decision', 'blind')) = (disposition IS
        NOT NULL)),
    CONSTRAINT ck_review_decision_has_reason CHECK ((kind IN ('decision', 'skip')) = (reason_code IS NOT
        NULL)),
    CONSTRAINT ck_review_decision_has_means CHECK ((kind = 'decision') = (automated_means IS NOT NULL)),
    CONSTRAINT ck_review_decision_undone_id CHECK ((kind = 'undo') = (undone_id IS NOT NULL)),
    CONSTRAINT ck_review_decision_category CHECK ((kind = 'feedback') = (category IS NOT NULL)),
    CONSTRAINT ck_review_decision_item_id CHECK ((kind = 'feedback') = (item_id IS NULL)),
    CONSTRAINT ck_review_decision_other CHECK (reason_code IS DISTINCT FROM 'other' OR comment IS NOT
        NULL),
    CONSTRAINT ck_review_decision_comment CHECK (length(comment) BETWEEN 1 AND 4000),
    CONSTRAINT ck_review_decision_seconds_spent CHECK (seconds_spent >= 0),
    CONSTRAINT uq_review_decision_undone_id UNIQUE (undone_id),
    CONSTRAINT fk_review_decision_item_id FOREIGN KEY(item_id) REFERENCES review_item (id) ON DELETE
        CASCADE,
    CONSTRAINT fk_review_decision_analysis_id FOREIGN KEY(analysis_id) REFERENCES analysis (id) ON DELETE
        CASCADE,
    CONSTRAINT ck_review_decision_entry_kind CHECK (kind IN ('decision', 'blind', 'skip', 'undo',
        'feedback')),
    CONSTRAINT ck_review_decision_disposition CHECK (disposition IN ('confirmed_manipulated',
        'confirmed_authentic', 'inconclusive', 'escalated')),
    CONSTRAINT ck_review_decision_reason_code CHECK (reason_code IN ('visible_artefacts',
        'inconsistent_motion', 'lips_and_sound_disagree', 'original_found', 'disclosed',
        'source_verified', 'no_sign_found', 'known_false_alarm', 'quality_too_low', 'needs_expert',
        'conflict_of_interest', 'other')),
    CONSTRAINT ck_review_decision_automated_means CHECK (automated_means IN ('none', 'partial', 'full')),
    CONSTRAINT fk_review_decision_undone_id FOREIGN KEY(undone_id) REFERENCES review_decision (id) ON
        DELETE CASCADE,
    CONSTRAINT ck_review_decision_feedback_category CHECK (category IN ('false_positive',
        'false_negative', 'confirmation', 'other'))
);
CREATE INDEX ix_review_decision_analysis_id ON review_decision (analysis_id);
CREATE INDEX ix_review_decision_item_id ON review_decision (item_id);
CREATE INDEX ix_review_decision_tenant_id_create_time_id ON review_decision (tenant_id, create_time, id);
""",
    """
CREATE TABLE review_track (
    tenant_id TEXT COLLATE "C" NOT NULL,
    decision_id TEXT COLLATE "C" NOT NULL,
    ordinal SMALLINT NOT NULL,
    analysis_id TEXT COLLATE "C" NOT NULL,
    disposition VARCHAR(40) NOT NULL,
    reason_code VARCHAR(40) NOT NULL,
    CONSTRAINT pk_review_track PRIMARY KEY (decision_id, ordinal),
    CONSTRAINT fk_review_track_analysis_id_ordinal FOREIGN KEY(analysis_id, ordinal) REFERENCES face_track
        (analysis_id, ordinal) ON DELETE CASCADE,
    CONSTRAINT fk_review_track_decision_id FOREIGN KEY(decision_id) REFERENCES review_decision (id) ON
        DELETE CASCADE,
    CONSTRAINT ck_review_track_disposition CHECK (disposition IN ('confirmed_manipulated',
        'confirmed_authentic', 'inconclusive', 'escalated')),
    CONSTRAINT ck_review_track_reason_code CHECK (reason_code IN ('visible_artefacts',
        'inconsistent_motion', 'lips_and_sound_disagree', 'original_found', 'disclosed',
        'source_verified', 'no_sign_found', 'known_false_alarm', 'quality_too_low', 'needs_expert',
        'conflict_of_interest', 'other'))
);
CREATE INDEX ix_review_track_analysis_id_ordinal ON review_track (analysis_id, ordinal);
""",
    """
CREATE TABLE calibration_fit (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    model_id TEXT COLLATE "C" NOT NULL,
    method TEXT NOT NULL,
    slope DOUBLE PRECISION NOT NULL,
    intercept DOUBLE PRECISION NOT NULL,
    prior DOUBLE PRECISION NOT NULL,
    n BIGINT NOT NULL,
    n_manipulated BIGINT NOT NULL,
    ece_before DOUBLE PRECISION NOT NULL,
    ece_after DOUBLE PRECISION NOT NULL,
    ece_low DOUBLE PRECISION NOT NULL,
    ece_high DOUBLE PRECISION NOT NULL,
    created_by TEXT NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_calibration_fit PRIMARY KEY (id),
    CONSTRAINT fk_calibration_fit_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE
        RESTRICT,
    CONSTRAINT ck_calibration_fit_method CHECK (method IN ('platt', 'temperature')),
    CONSTRAINT ck_calibration_fit_slope CHECK (slope > 0),
    CONSTRAINT ck_calibration_fit_prior CHECK (0 < prior AND prior < 1),
    CONSTRAINT ck_calibration_fit_n CHECK (0 < n_manipulated AND n_manipulated < n),
    CONSTRAINT ck_calibration_fit_ece_before CHECK (ece_before BETWEEN 0 AND 1),
    CONSTRAINT ck_calibration_fit_ece_low CHECK (0 <= ece_low AND ece_low <= ece_after),
    CONSTRAINT ck_calibration_fit_ece_high CHECK (ece_after <= ece_high AND ece_high <= 1),
    CONSTRAINT fk_calibration_fit_model_id FOREIGN KEY(model_id) REFERENCES model (id) ON DELETE RESTRICT
);
CREATE INDEX ix_calibration_fit_tenant_id_model_id_create_time ON calibration_fit (tenant_id, model_id,
    create_time);
""",
)

VIDEO = """
ALTER TABLE video
    ADD COLUMN retention_class TEXT,
    ADD COLUMN hold_time TIMESTAMP WITH TIME ZONE,
    ADD COLUMN delete_time TIMESTAMP WITH TIME ZONE,
    ADD COLUMN purge_time TIMESTAMP WITH TIME ZONE,
    ADD CONSTRAINT ck_video_purge_time CHECK ((delete_time IS NULL) = (purge_time IS NULL));
CREATE INDEX ix_video_purge_time ON video (purge_time) WHERE purge_time IS NOT NULL;
CREATE INDEX ix_video_tenant_id_retention_class_create_time ON video (tenant_id, retention_class,
    create_time);
"""

APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER keep_entries BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- Rows of these two leave with the analysis that they are about, and in no other way: nobody has the right.
CREATE TRIGGER keep_entries BEFORE UPDATE OR TRUNCATE ON review_decision
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER keep_entries BEFORE UPDATE OR TRUNCATE ON review_track
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION audit_log_sha256(entry audit_log) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT encode(sha256(convert_to(jsonb_build_array(
        entry.previous_sha256, entry.tenant_id, entry.sequence,
        to_char(entry.create_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
        entry.actor, entry.action, entry.subject, entry.details
    )::text, 'UTF8')), 'hex')
$$;

-- One transaction of a tenant at a time numbers entries, until it commits: two would take the same number.
CREATE FUNCTION chain_audit_log() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    latest record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_log ' || NEW.tenant_id, 0));
    SELECT sequence, sha256 INTO latest FROM audit_log WHERE tenant_id = NEW.tenant_id
        ORDER BY sequence DESC LIMIT 1;
    NEW.sequence := coalesce(latest.sequence, 0) + 1;
    NEW.previous_sha256 := coalesce(latest.sha256, repeat('0', 64));
    NEW.create_time := clock_timestamp();
    NEW.sha256 := audit_log_sha256(NEW);
    RETURN NEW;
END $$;

CREATE TRIGGER chain_entries BEFORE INSERT ON audit_log
    FOR EACH ROW EXECUTE FUNCTION chain_audit_log();
"""

SIGN_IN = """
-- Who signs in, and whose session it is: asked before the tenant is known, so they look at people of all.
-- They answer to a name with its organisation and to the hash of a token that is held, and to nothing else.
CREATE FUNCTION find_login(of_tenant text, of_email text)
RETURNS TABLE (user_id text, tenant_id text, password_hash text, is_open boolean, is_locked boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    seen text := current_setting('fakesieve.tenant_id', true);
BEGIN
    PERFORM set_config('fakesieve.tenant_id', '*', true);
    RETURN QUERY
        SELECT person.id, person.tenant_id, person.password_hash,
               NOT person.is_disabled AND tenant.is_active, coalesce(person.locked_until > now(), false)
        FROM app_user AS person JOIN tenant ON tenant.id = person.tenant_id
        WHERE tenant.name = of_tenant AND person.email = of_email;
    PERFORM set_config('fakesieve.tenant_id', coalesce(seen, ''), true);
END $$;

CREATE FUNCTION find_app_session(of_sha256 text, idle_s double precision)
RETURNS TABLE (user_id text, tenant_id text, role text, email text, name text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    seen text := current_setting('fakesieve.tenant_id', true);
BEGIN
    PERFORM set_config('fakesieve.tenant_id', '*', true);
    RETURN QUERY
        SELECT person.id, person.tenant_id, person.role::text, person.email, person.name
        FROM app_session AS held JOIN app_user AS person ON person.id = held.user_id
            JOIN tenant ON tenant.id = person.tenant_id
        WHERE held.token_sha256 = of_sha256 AND held.expire_time > now()
          AND held.use_time > now() - make_interval(secs => idle_s)
          AND NOT person.is_disabled AND tenant.is_active;
    PERFORM set_config('fakesieve.tenant_id', coalesce(seen, ''), true);
END $$;
"""
FUNCTIONS = "find_login, find_app_session"

# An earlier release knows neither: it would show deleted videos again and delete those that are held.
KEEP = """DO $$ BEGIN
IF EXISTS (SELECT FROM video WHERE delete_time IS NOT NULL OR hold_time IS NOT NULL) THEN
    RAISE EXCEPTION 'some videos are deleted or under a legal hold, which revision 0006 does not know'
        USING ERRCODE = 'object_not_in_prerequisite_state';
END IF; END $$"""
_ALL = "SELECT, INSERT, UPDATE, DELETE"


def upgrade() -> None:
    """Make the tables and say who may do what with them."""
    for statements in (*CREATE, *CREATE_WEBHOOKS):
        op.execute(statements)
    op.execute(VIDEO)
    op.execute(APPEND_ONLY)
    op.execute(SIGN_IN)
    op.execute(f"REVOKE ALL ON FUNCTION {FUNCTIONS} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {FUNCTIONS} TO {FLEET_ROLE}, {APP_ROLE}")
    grant_rights(("audit_log", "review_decision", "review_track", "calibration_fit"), "SELECT, INSERT")
    grant_rights(("review_queue", "erasure", "erasure_host"), "SELECT, INSERT, UPDATE")
    grant_rights(("app_user", "app_session", "review_item", "retention_class"), _ALL)
    grant_rights(("event", "webhook_endpoint", "webhook_secret"), _ALL)
    grant_rights(("webhook_delivery", "webhook_attempt"), _ALL)
    isolate_rows(TABLES)


def downgrade() -> None:
    """Remove the tables, those that refer to others first; not while videos are deleted or held."""
    op.execute("SELECT set_config('fakesieve.tenant_id', '*', true)")
    op.execute(KEEP)
    op.execute(f"DROP FUNCTION {FUNCTIONS}")
    op.execute(
        "ALTER TABLE video DROP COLUMN purge_time, DROP COLUMN delete_time, DROP COLUMN hold_time,"
        " DROP COLUMN retention_class"
    )
    op.execute("DROP TRIGGER chain_entries ON audit_log")
    op.execute("DROP FUNCTION chain_audit_log, audit_log_sha256")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION refuse_change")
