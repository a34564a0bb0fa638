"""Batches as people look at them: their jobs by state, outcome and reason. Nothing here changes a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.orm import Session

from engine.results import Outcome
from fakesieve.jobs.states import RETRY_STATES, BatchEnd, BatchState, JobState, Lane
from fakesieve.reasons import Reason
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.jobs import Batch, Job

PAGE_MAX = 1000


@dataclass(frozen=True)
class BatchCounts:
    """The jobs of a batch. ``reused`` were answered by an earlier analysis; ``deadline`` the last of all."""

    states: Mapping[JobState, int] = field(default_factory=dict[JobState, int])
    outcomes: Mapping[Outcome, int] = field(default_factory=dict[Outcome, int])
    reasons: Mapping[Reason, int] = field(default_factory=dict[Reason, int])
    reused: int = 0
    deadline: datetime | None = None

    @property
    def total(self) -> int:
        """How many jobs there are."""
        return sum(self.states.values())

    @property
    def ended(self) -> int:
        """How many of them have ended."""
        return sum(count for state, count in self.states.items() if state.is_terminal)


@dataclass(frozen=True)
class BatchLine:
    """One batch with its counts."""

    id: str
    name: str
    state: BatchState
    lane: Lane
    max_failure_rate: float
    create_time: datetime
    end_time: datetime | None
    end_reason: BatchEnd | None
    counts: BatchCounts


def list_batches(
    session: Session,
    *,
    state: BatchState | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[BatchLine]:
    """Return the batches of the tenant at hand, newest first.

    Args:
        session: of the tenant.
        state: only batches in this state.
        before: ``(create_time, id)`` of the last line of the page before.
        limit: lines of a page, at most 1000.
    """
    wanted = select(Batch).order_by(Batch.create_time.desc(), Batch.id.desc()).limit(min(limit, PAGE_MAX))
    if state is not None:
        wanted = wanted.where(Batch.state == state)
    if before is not None:
        wanted = wanted.where(tuple_(Batch.create_time, Batch.id) < before)
    return _read_lines(session, wanted)


def load_batch(session: Session, batch_id: str) -> BatchLine | None:
    """Return a batch of the tenant at hand."""
    found = _read_lines(session, select(Batch).where(Batch.id == batch_id))
    return found[0] if found else None


def find_retryable_jobs(session: Session, batch_id: str, reasons: Sequence[Reason], limit: int) -> list[str]:
    """Return ids of jobs of a batch that did not succeed, oldest first; for any reason or for some."""
    wanted = select(Job.id).where(Job.batch_id == batch_id, Job.state.in_(RETRY_STATES))
    if reasons:
        wanted = wanted.where(Job.error_reason.in_(reasons))
    return list(session.scalars(wanted.order_by(Job.id).limit(limit)))


def _read_lines(session: Session, wanted: Select[Batch]) -> list[BatchLine]:
    rows = list(session.scalars(wanted))
    counts = _count_jobs(session, [row.id for row in rows])
    return [
        BatchLine(
            row.id,
            row.name,
            row.state,
            row.lane,
            row.max_failure_rate,
            row.create_time,
            row.end_time,
            row.end_reason,
            counts[row.id],
        )
        for row in rows
    ]


def _count_jobs(session: Session, batch_ids: Sequence[str]) -> dict[str, BatchCounts]:
    """Count the jobs of some batches in one query."""
    statement = (
        select(
            Job.batch_id,
            Job.state,
            Job.error_reason,
            Analysis.outcome,
            func.count().label("jobs"),
            func.count().filter(Job.reused_analysis).label("reused"),
            func.max(Job.deadline).label("deadline"),
        )
        .outerjoin(Analysis, Analysis.id == Job.analysis_id)
        .where(Job.batch_id.in_(batch_ids))
        .group_by(Job.batch_id, Job.state, Job.error_reason, Analysis.outcome)
    )
    found = {batch_id: _Tally() for batch_id in batch_ids}
    for batch_id, state, reason, outcome, jobs, reused, deadline in session.execute(statement):
        assert batch_id is not None
        found[batch_id].add(state, reason, outcome, jobs, reused, deadline)
    return {batch_id: tally.make() for batch_id, tally in found.items()}


@dataclass
class _Tally:
    """Counts that grow."""

    states: dict[JobState, int] = field(default_factory=dict[JobState, int])
    outcomes: dict[Outcome, int] = field(default_factory=dict[Outcome, int])
    reasons: dict[Reason, int] = field(default_factory=dict[Reason, int])
    reused: int = 0
    deadline: datetime | None = None

    def add(
        self,
        state: JobState,
        reason: Reason | None,
        outcome: Outcome | None,
        jobs: int,
        reused: int,
        deadline: datetime,
    ) -> None:
        self.states[state] = self.states.get(state, 0) + jobs
        if reason is not None:
            self.reasons[reason] = self.reasons.get(reason, 0) + jobs
        if outcome is not None:
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + jobs
        self.reused += reused
        self.deadline = max(self.deadline or deadline, deadline)

    def make(self) -> BatchCounts:
        return BatchCounts(self.states, self.outcomes, self.reasons, self.reused, self.deadline)
