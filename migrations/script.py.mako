"""${message}

Revision: ${up_revision}, after ${down_revision | comma,n}. It must run beside the previous release: add what may
be absent, and take away only what the previous release no longer reads. tools/check_migrations.py refuses what
breaks it; of what only seems to, say why in a mapping SAFE_BESIDE_PREVIOUS, by the words of the tool.
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Go to this revision."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Go back to the one before."""
    ${downgrades if downgrades else "pass"}
