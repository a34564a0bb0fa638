"""Items that were given back or opened again, and addresses from which people have signed in."""

from alembic import op

from migrations.tenancy import grant_rights, isolate_rows

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

CREATE = """
ALTER TABLE review_item ADD COLUMN released_by TEXT, ADD COLUMN reopen_time TIMESTAMP WITH TIME ZONE;

CREATE TABLE known_address (
    tenant_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    address_sha256 TEXT NOT NULL,
    use_time TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    failures INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT pk_known_address PRIMARY KEY (user_id, address_sha256),
    CONSTRAINT ck_known_address_address_sha256 CHECK (address_sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ck_known_address_failures CHECK (failures >= 0),
    CONSTRAINT fk_known_address_user_id FOREIGN KEY(user_id) REFERENCES app_user (id) ON DELETE CASCADE
);
"""


def upgrade() -> None:
    """Make the columns and the table."""
    op.execute(CREATE)
    grant_rights(("known_address",), "SELECT, INSERT, UPDATE, DELETE")
    isolate_rows(("known_address",))


def downgrade() -> None:
    """Remove them."""
    op.execute("DROP TABLE known_address")
    op.execute("ALTER TABLE review_item DROP COLUMN reopen_time, DROP COLUMN released_by")
