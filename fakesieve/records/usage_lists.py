"""What a tenant has used, by day. Nothing here changes a row."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class DayUsed:
    """Jobs and video time billed on one day of UTC."""

    day: date
    jobs: int
    video_ms: int


_BY_DAY = text(
    "SELECT (create_time AT TIME ZONE 'UTC')::date AS day, count(*) AS jobs, sum(duration_ms) AS video_ms"
    " FROM usage WHERE create_time >= date_trunc('day', now(), 'UTC') - make_interval(days => :days - 1)"
    " GROUP BY 1 ORDER BY 1"
)


def list_usage(session: Session, days: int) -> list[DayUsed]:
    """Return the days on which the tenant at hand was billed, of the last ``days`` with today."""
    rows = session.execute(_BY_DAY, {"days": days})
    return [DayUsed(row.day, int(row.jobs), int(row.video_ms)) for row in rows]
