"""How the fleet is as one tenant sees it: what waits, what ended, the hosts. Nothing here changes a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from sqlalchemy.types import Double

from fakesieve.jobs.states import LIVE_STATES, JobState, Lane
from fakesieve.records.jobs import Job, WorkerHost
from fakesieve.records.model_lists import HOST_SILENCE_S
from fakesieve.records.models import Model
from fakesieve.records.table import is_at_hand

HOSTS_MAX = 200
RECENT_H = 24


@dataclass(frozen=True)
class LaneLoad:
    """One lane of the tenant at hand. ``oldest_s`` is how long the first of the waiting jobs has waited."""

    lane: Lane
    waiting: int
    running: int
    oldest_s: float | None


@dataclass(frozen=True)
class HostLine:
    """One worker process. ``silence_s`` is the time since it was last heard of."""

    owner: str
    name: str
    version: str
    slots: int
    is_draining: bool
    model: str | None
    rss_bytes: int | None
    start_time: datetime
    silence_s: float

    @property
    def is_silent(self) -> bool:
        """Whether nothing was heard of it for so long that it counts no more."""
        return self.silence_s > HOST_SILENCE_S


def list_lanes(session: Session) -> Sequence[LaneLoad]:
    """Return all lanes with the tenant's jobs that wait and run in them."""
    waits, runs = Job.state == JobState.QUEUED, Job.state == JobState.RUNNING
    age = func.extract("epoch", func.now() - func.min(Job.create_time).filter(waits))
    rows = session.execute(
        select(
            Job.lane.label("lane"),
            func.count().filter(waits).label("waiting"),
            func.count().filter(runs).label("running"),
            age.cast(Double[float]()).label("oldest_s"),
        )
        .where(is_at_hand(session, Job.tenant_id), Job.state.in_(LIVE_STATES))
        .group_by(Job.lane)
    )
    found = {row.lane: LaneLoad(row.lane, row.waiting, row.running, row.oldest_s) for row in rows}
    return [found.get(lane, LaneLoad(lane, 0, 0, None)) for lane in Lane]


def list_hosts(session: Session) -> Sequence[HostLine]:
    """Return the worker processes that are on record, the busiest kind first and silent ones last."""
    host = WorkerHost
    silence_s = func.extract("epoch", func.now() - host.beat_time)
    rows = session.execute(
        select(
            host.owner, host.name, host.version, host.slots, host.is_draining, Model.name, host.rss_bytes,
            host.start_time, silence_s,
        )
        .outerjoin(Model, Model.id == host.model_id)
        .order_by(silence_s > HOST_SILENCE_S, host.name, host.owner)
        .limit(HOSTS_MAX)
    )  # fmt: skip
    return [HostLine(*row[:8], float(row[8])) for row in rows]


def count_ended(session: Session, hours: int = RECENT_H) -> Mapping[JobState, int]:
    """Return how many jobs of the tenant that were handed in within some hours have ended, by how."""
    since = func.now() - func.make_interval(0, 0, 0, 0, hours)
    rows = session.execute(
        select(Job.state, func.count())
        .where(is_at_hand(session, Job.tenant_id), Job.end_time.is_not(None), Job.create_time > since)
        .group_by(Job.state)
    )
    return {row[0]: row[1] for row in rows}


_STAGES = text("""
SELECT stage.key, sum(stage.value::bigint)::bigint AS spent_ms
FROM analysis CROSS JOIN LATERAL jsonb_each_text(timings_ms) AS stage
WHERE tenant_id = current_setting('fakesieve.tenant_id')
  AND create_time > now() - make_interval(hours => :hours)
GROUP BY stage.key ORDER BY spent_ms DESC
""")


def sum_stages(session: Session, hours: int = RECENT_H) -> Sequence[tuple[str, int]]:
    """Return the milliseconds that each stage took in the analyses of some hours, the longest first."""
    return [(row.key, int(row.spent_ms)) for row in session.execute(_STAGES, {"hours": hours})]
