"""Which verdict holds, tags of videos, policies and models as tenants use them."""

from alembic import op

from migrations.tenancy import grant_rights, isolate_rows

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = ("video_tag", "tenant_policy", "policy_use", "model_card", "model_alias_change", "standing")

CREATE = (
    """
CREATE TABLE video_tag (
    tenant_id TEXT COLLATE "C" NOT NULL,
    video_id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    CONSTRAINT pk_video_tag PRIMARY KEY (video_id, name),
    CONSTRAINT ck_video_tag_name CHECK (length(name) BETWEEN 1 AND 64),
    CONSTRAINT ck_video_tag_value CHECK (length(value) <= 256),
    CONSTRAINT fk_video_tag_video_id FOREIGN KEY(video_id) REFERENCES video (id) ON DELETE CASCADE
);
CREATE INDEX ix_video_tag_tenant_id_name_value_video_id ON video_tag (tenant_id, name, value, video_id);
""",
    """
CREATE TABLE tenant_policy (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    policy_id TEXT COLLATE "C" NOT NULL,
    note TEXT,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_tenant_policy PRIMARY KEY (id),
    CONSTRAINT fk_tenant_policy_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE RESTRICT,
    CONSTRAINT uq_tenant_policy_tenant_id_name_version UNIQUE (tenant_id, name, version),
    CONSTRAINT ck_tenant_policy_name CHECK (length(name) BETWEEN 1 AND 64),
    CONSTRAINT fk_tenant_policy_policy_id FOREIGN KEY(policy_id) REFERENCES policy (id) ON DELETE RESTRICT
);
""",
    """
CREATE TABLE policy_use (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    policy_id TEXT COLLATE "C",
    actor TEXT NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_policy_use PRIMARY KEY (id),
    CONSTRAINT fk_policy_use_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE RESTRICT,
    CONSTRAINT fk_policy_use_policy_id FOREIGN KEY(policy_id) REFERENCES policy (id) ON DELETE RESTRICT
);
CREATE INDEX ix_policy_use_tenant_id_id ON policy_use (tenant_id, id);
""",
    """
CREATE TABLE model_card (
    model_id TEXT COLLATE "C" NOT NULL,
    card JSONB NOT NULL,
    update_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_model_card PRIMARY KEY (model_id),
    CONSTRAINT fk_model_card_model_id FOREIGN KEY(model_id) REFERENCES model (id) ON DELETE CASCADE
);
""",
    """
CREATE TABLE model_alias_change (
    tenant_id TEXT COLLATE "C" NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    alias VARCHAR(40) NOT NULL,
    model_id TEXT COLLATE "C",
    undoes BIGINT,
    actor TEXT NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_model_alias_change PRIMARY KEY (id),
    CONSTRAINT fk_model_alias_change_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE
        RESTRICT,
    CONSTRAINT ck_model_alias_change_model_alias CHECK (alias IN ('champion', 'challenger', 'shadow')),
    CONSTRAINT fk_model_alias_change_model_id FOREIGN KEY(model_id) REFERENCES model (id) ON DELETE RESTRICT,
    CONSTRAINT fk_model_alias_change_undoes FOREIGN KEY(undoes) REFERENCES model_alias_change (id)
);
CREATE INDEX ix_model_alias_change_tenant_id_alias_id ON model_alias_change (tenant_id, alias, id);
""",
    """
CREATE TABLE standing (
    tenant_id TEXT COLLATE "C" NOT NULL,
    analysis_id TEXT COLLATE "C" NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    outcome VARCHAR(40) NOT NULL,
    score DOUBLE PRECISION,
    verdict VARCHAR(40),
    policy_id TEXT COLLATE "C" NOT NULL,
    CONSTRAINT pk_standing PRIMARY KEY (analysis_id),
    CONSTRAINT ck_standing_score CHECK (score BETWEEN 0 AND 1),
    CONSTRAINT ck_standing_verdict_has_score CHECK ((verdict IS NULL) = (score IS NULL)),
    CONSTRAINT fk_standing_analysis_id FOREIGN KEY(analysis_id) REFERENCES analysis (id) ON DELETE CASCADE,
    CONSTRAINT fk_standing_policy_id FOREIGN KEY(policy_id) REFERENCES policy (id) ON DELETE RESTRICT,
    CONSTRAINT ck_standing_outcome CHECK (outcome IN ('scored', 'partially_scored', 'no_face',
        'insufficient_evidence', 'unscorable')),
    CONSTRAINT ck_standing_verdict_value CHECK (verdict IN ('likely_manipulated', 'inconclusive',
        'no_manipulation_found'))
);
""",
)

# What was stored before this revision: the newest verdict is the one that holds.
FILL = (
    """
UPDATE analysis SET peak_frames = (
    SELECT count(*) FROM frame_score AS frame
    WHERE frame.analysis_id = analysis.id AND frame.analysis_time = analysis.create_time
      AND frame.ordinal = track.ordinal AND frame.score >= track.score - 1e-9
)
FROM face_track AS track
WHERE track.analysis_id = analysis.id AND track.ordinal = analysis.peak_track AND track.score IS NOT NULL
  AND track.scored_count >= 2
""",
    """
INSERT INTO standing (tenant_id, analysis_id, create_time, outcome, score, verdict, policy_id)
SELECT DISTINCT ON (analysis.id) analysis.tenant_id, analysis.id, analysis.create_time, analysis.outcome,
    coalesce(analysis.score_calibrated, analysis.score_raw), verdict.value, verdict.policy_id
FROM analysis JOIN verdict ON verdict.analysis_id = analysis.id
ORDER BY analysis.id, verdict.create_time DESC, verdict.policy_id DESC
""",
)

INDEXES = """
CREATE INDEX ix_standing_time ON standing (tenant_id, create_time, analysis_id);
CREATE INDEX ix_standing_verdict ON standing (tenant_id, verdict, create_time, analysis_id);
CREATE INDEX ix_standing_outcome ON standing (tenant_id, outcome, create_time, analysis_id);
CREATE INDEX ix_standing_score ON standing
    (tenant_id, coalesce(score, (-1)::double precision), analysis_id);
CREATE INDEX ix_standing_policy_id ON standing (policy_id);
"""


def upgrade() -> None:
    """Make the tables, fill them from what is there, and say who may do what with them."""
    op.execute("ALTER TABLE analysis ADD COLUMN peak_frames BIGINT")
    for statements in CREATE:
        op.execute(statements)
    op.execute("SELECT set_config('fakesieve.tenant_id', '*', true)")
    for statement in FILL:
        op.execute(statement)
    op.execute(INDEXES)
    grant_rights(("video_tag",), "SELECT, INSERT, UPDATE, DELETE")
    grant_rights(("standing",), "SELECT, INSERT, UPDATE, DELETE", app="SELECT, UPDATE, DELETE")
    # What a verdict was given by, and which model was trusted when, is never rewritten.
    grant_rights(("tenant_policy", "policy_use", "model_alias_change"), "SELECT, INSERT")
    grant_rights(("model_card",), "SELECT, INSERT, UPDATE", app="SELECT")
    isolate_rows(("video_tag", "tenant_policy", "policy_use", "model_alias_change", "standing"))


def downgrade() -> None:
    """Remove the tables; the newest verdict counts again."""
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
    op.execute("ALTER TABLE analysis DROP COLUMN peak_frames")
