"""What the review pages keep: notes on spans, saved views, hot cells by part of the face, who saw what."""

from alembic import op

from migrations.tenancy import grant_rights, isolate_rows

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLES = ("review_note", "saved_view")

CREATE = """
CREATE TABLE review_note (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    analysis_id TEXT COLLATE "C" NOT NULL,
    ordinal SMALLINT,
    start_us BIGINT NOT NULL,
    end_us BIGINT NOT NULL,
    author TEXT NOT NULL,
    text TEXT NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_review_note PRIMARY KEY (id),
    CONSTRAINT fk_review_note_analysis_id FOREIGN KEY(analysis_id) REFERENCES analysis (id) ON DELETE
        CASCADE,
    CONSTRAINT fk_review_note_analysis_id_ordinal FOREIGN KEY(analysis_id, ordinal) REFERENCES face_track
        (analysis_id, ordinal) ON DELETE CASCADE,
    CONSTRAINT ck_review_note_span CHECK (0 <= start_us AND start_us <= end_us),
    CONSTRAINT ck_review_note_text CHECK (length(text) BETWEEN 1 AND 1000)
);
CREATE INDEX ix_review_note_analysis_id_start_us_id ON review_note (analysis_id, start_us, id);

CREATE TABLE saved_view (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    page VARCHAR(40) NOT NULL,
    name TEXT NOT NULL,
    query JSONB NOT NULL,
    is_shared BOOLEAN DEFAULT false NOT NULL,
    create_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_saved_view PRIMARY KEY (id),
    CONSTRAINT uq_saved_view_user_id_page_name UNIQUE (user_id, page, name),
    CONSTRAINT fk_saved_view_user_id FOREIGN KEY(user_id) REFERENCES app_user (id) ON DELETE CASCADE,
    CONSTRAINT ck_saved_view_name CHECK (length(name) BETWEEN 1 AND 100),
    CONSTRAINT ck_saved_view_view_page CHECK (page IN ('results', 'queue'))
);
CREATE INDEX ix_saved_view_tenant_id_page_name ON saved_view (tenant_id, page, name);

ALTER TABLE patch_map ADD COLUMN regions BYTEA;

CREATE INDEX ix_audit_log_tenant_id_subject_sequence ON audit_log (tenant_id, subject, sequence);
"""


def upgrade() -> None:
    """Make the tables, the column and the index."""
    op.execute(CREATE)
    grant_rights(("review_note",), "SELECT, INSERT, DELETE")
    grant_rights(("saved_view",), "SELECT, INSERT, UPDATE, DELETE")
    isolate_rows(TABLES)


def downgrade() -> None:
    """Remove them."""
    op.execute("DROP INDEX ix_audit_log_tenant_id_subject_sequence")
    op.execute("ALTER TABLE patch_map DROP COLUMN regions")
    op.execute("DROP TABLE saved_view, review_note")
