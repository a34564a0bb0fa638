"""How far the running jobs of a batch are, as people look at them. Nothing here changes a row."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fakesieve.jobs.states import JobState
from fakesieve.records.jobs import Job


@dataclass(frozen=True)
class BatchStages:
    """The running jobs of a batch: looked at, scored in pieces, or put together from them."""

    probing: int
    scoring: int
    aggregating: int


def count_stages(session: Session, batch_id: str) -> BatchStages:
    """Count what a batch's running jobs do; all 0 where the tenant at hand has none such."""
    is_planned, is_scored = Job.n_shards > 0, Job.n_done >= Job.n_shards
    row = session.execute(
        select(
            func.count().filter(~is_planned),
            func.count().filter(is_planned, ~is_scored),
            func.count().filter(is_planned, is_scored),
        ).where(Job.batch_id == batch_id, Job.state == JobState.RUNNING)
    ).one()
    return BatchStages(*row)
