"""Dropping old months takes what lies in ``frame_score_rest`` of them, too.

A month whose rows came before its partition keeps them there. They are not moved: a partition is made under a
lock that keeps everybody from ``frame_score``, and nothing bounds how long a copy of a month would hold it.
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_DROP = """
CREATE OR REPLACE FUNCTION drop_frame_scores(before date) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    dropped int := 0;
    partition regclass;
BEGIN
{first}    FOR partition IN
        SELECT inhrelid::regclass FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'frame_score'::regclass AND relname ~ '^frame_score_[0-9]{{6}}$'
          AND right(relname, 6) < to_char(before, 'YYYYMM')
    LOOP
        EXECUTE format('DROP TABLE %s', partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$
"""
# Before the partitions, whose locks keep everybody out until the end.
_EMPTY_REST = "    DELETE FROM frame_score_rest WHERE analysis_time < frame_score_month(before);\n"


def upgrade() -> None:
    """Replace the function; who may call it stays."""
    op.execute(_DROP.format(first=_EMPTY_REST))


def downgrade() -> None:
    """Bring back the one of 0002."""
    op.execute(_DROP.format(first=""))
