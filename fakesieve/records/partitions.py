"""The months of ``frame_score``: made ahead of time, and dropped when rows have grown old.

The migrations define the functions, which run with the rights of the tables' owner.
"""

from datetime import date

from sqlalchemy import func, select
from sqlalchemy.orm import Session

MONTHS_AHEAD = 13
"""Months that have a partition after ``make_partitions``, the present one included."""


def make_partitions(session: Session, months: int = MONTHS_AHEAD) -> int:
    """Make the partitions that are missing from this month on, and return how many.

    Rows of a month without a partition are kept in ``frame_score_rest``; nothing is lost when this runs late.
    """
    made = session.scalar(select(func.make_frame_score_partitions(func.current_date(), months)))
    return made or 0


def drop_frame_scores(session: Session, before: date) -> int:
    """Drop the months that ended before a day, and return how many; scores over time stay in ``analysis``.

    Rows of those months that lie in ``frame_score_rest`` are deleted, and not counted.
    """
    dropped = session.scalar(select(func.drop_frame_scores(before)))
    return dropped or 0
