"""Exports with an end and a list of the videos that they tell of; uploads without a use have an end too."""

from alembic import op

from migrations.tenancy import grant_rights, isolate_rows

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = ("export", "export_part")

CREATE = """
CREATE TABLE export (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    state VARCHAR(40) DEFAULT 'writing' NOT NULL,
    format VARCHAR(40) NOT NULL,
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    n_rows BIGINT,
    size_bytes BIGINT,
    purge_time TIMESTAMP WITH TIME ZONE NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_export PRIMARY KEY (id),
    CONSTRAINT uq_export_key UNIQUE (key),
    CONSTRAINT fk_export_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenant (id) ON DELETE RESTRICT,
    CONSTRAINT ck_export_n_rows CHECK (state <> 'ready' OR n_rows IS NOT NULL),
    CONSTRAINT ck_export_size_bytes CHECK ((n_rows IS NULL) = (size_bytes IS NULL)),
    CONSTRAINT ck_export_export_state CHECK (state IN ('writing', 'ready', 'revoked')),
    CONSTRAINT ck_export_file_format CHECK (format IN ('csv', 'jsonl', 'parquet'))
);
CREATE INDEX ix_export_tenant_id_create_time ON export (tenant_id, create_time);
CREATE INDEX ix_export_purge_time ON export (purge_time);

CREATE TABLE export_part (
    export_id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    ordinal BIGINT NOT NULL,
    video_marks BIGINT[] NOT NULL,
    CONSTRAINT pk_export_part PRIMARY KEY (export_id, ordinal),
    CONSTRAINT fk_export_part_export_id FOREIGN KEY(export_id) REFERENCES export (id) ON DELETE CASCADE
);
CREATE INDEX ix_export_part_tenant_id ON export_part (tenant_id);

-- Those that are there get a day from now, and so do those of the previous release while it writes.
ALTER TABLE upload ADD COLUMN purge_time TIMESTAMP WITH TIME ZONE DEFAULT (now() + interval '1 day'),
    ADD COLUMN is_withdrawn BOOLEAN DEFAULT false NOT NULL;
CREATE INDEX ix_upload_purge_time ON upload (purge_time) WHERE purge_time IS NOT NULL;
"""


def upgrade() -> None:
    """Make the tables and the columns."""
    op.execute(CREATE)
    grant_rights(TABLES, "SELECT, INSERT, UPDATE, DELETE")
    isolate_rows(TABLES)


def downgrade() -> None:
    """Remove them; files of exports stay until an erasure finds them."""
    op.execute("DROP INDEX ix_upload_purge_time")
    op.execute("ALTER TABLE upload DROP COLUMN is_withdrawn, DROP COLUMN purge_time")
    op.execute("DROP TABLE export_part, export")
