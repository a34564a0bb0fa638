"""Lists of jobs as one thing: their counts are queries, so that no row is written by every job."""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, case, exists, func, literal, or_, select, update

from fakesieve.jobs.rows import BatchRow, JobEnd, JobRow, UnsettledBatch
from fakesieve.jobs.sql.finishing import end_values
from fakesieve.jobs.sql.outbox import drop_doorbells
from fakesieve.jobs.sql.reading import (
    IS_LIVE,
    JOB_COLUMNS,
    PLAIN,
    TIME_LIMIT,
    AnyRow,
    SqlRows,
    read_job_row,
    seconds,
)
from fakesieve.jobs.states import BatchEnd, BatchState, JobState
from fakesieve.records.jobs import Batch, Job
from fakesieve.values.webhooks import EventType
from fakesieve.webhooks.events import record_event

_BATCH_COLUMNS = (Batch.id, Batch.tenant_id, Batch.state, Batch.max_failure_rate)
# A batch that was cut off while its jobs were being cancelled is looked at again for this long.
_ENDED_WITHIN_S = 86_400.0
# A retry moves the deadline, so it tells when the job was begun last.
_begin_time = Job.deadline - TIME_LIMIT
_is_retried = _begin_time > Job.create_time + seconds(1.0)


class SqlBatches(SqlRows):
    """The part ``BatchRows`` of the protocol."""

    def read_batch(self, batch_id: str) -> BatchRow | None:
        row = self.session.execute(select(*_BATCH_COLUMNS).where(Batch.id == batch_id)).one_or_none()
        if row is None:
            return None
        return _read_batch_row(row, self._count_jobs([batch_id]))

    def find_batch_tenant(self, batch_id: str) -> str | None:
        return self.session.scalar(select(Batch.tenant_id).where(Batch.id == batch_id))

    def share_batch(self, batch_id: str) -> BatchState | None:
        # Submissions share the row; whoever moves the batch waits for them, and they for whoever moves it.
        return self.session.scalar(select(Batch.state).where(Batch.id == batch_id).with_for_update(read=True))

    def hold_batch(self, batch_id: str) -> BatchState | None:
        held = select(Batch.state).where(Batch.id == batch_id).with_for_update(key_share=True)
        return self.session.scalar(held)

    def set_places(self, batch_id: str, places: int, span_s: float) -> None:
        self._write_places(batch_id, literal(places), span_s)

    def take_places(self, batch_id: str, taken: int, span_s: float) -> BatchState | None:
        return self._write_places(batch_id, func.greatest(Batch.places - taken, 0), span_s)

    def _write_places(self, batch_id: str, places: ColumnElement[int], span_s: float) -> BatchState | None:
        written = update(Batch).where(Batch.id == batch_id)
        written = written.values(places=places, places_until=func.now() + seconds(span_s))
        return self.session.scalar(written.returning(Batch.state), execution_options=PLAIN)

    def is_cut_off(self, batch_id: str, idle_s: float) -> bool:
        is_open = select(Batch.create_time).where(Batch.id == batch_id, Batch.state == BatchState.OPEN)
        begun = self.session.scalar(is_open.with_for_update())
        if begun is None:
            return False
        # A statement of its own: it sees the jobs of submissions that held the row until now.
        newest = func.coalesce(func.max(Job.create_time), begun)
        is_idle = (newest < func.now() - seconds(idle_s)) & (func.count().filter(IS_LIVE) == 0)
        return bool(self.session.scalar(select(is_idle).where(Job.batch_id == batch_id)))

    def list_unsettled_batches(self, limit: int, after: str = "") -> list[UnsettledBatch]:
        has_live_jobs = exists().where(
            Job.batch_id == Batch.id, IS_LIVE, or_(_begin_time <= Batch.end_time, ~_is_retried)
        )
        recent = Batch.end_time > func.now() - seconds(_ENDED_WITHIN_S)
        # One look into the index a batch, however many jobs it has.
        any_live = exists().where(Job.batch_id == Batch.id, IS_LIVE)
        statement = (
            select(Batch.id, Batch.state, Batch.max_failure_rate, any_live)
            .where(Batch.id > after, or_(Batch.end_time.is_(None), recent & has_live_jobs))
            .order_by(Batch.id)
            .limit(limit)
        )
        return [UnsettledBatch(*row) for row in self.session.execute(statement)]

    def _count_jobs(self, batch_ids: list[str]) -> dict[str, list[AnyRow]]:
        statement = (
            select(
                Job.batch_id,
                Job.state,
                func.count().label("jobs"),
                func.count().filter(Job.reused_analysis).label("reused"),
                func.count().filter(IS_LIVE, _is_retried).label("again"),
            )
            .where(Job.batch_id.in_(batch_ids))
            .group_by(Job.batch_id, Job.state)
        )
        found: dict[str, list[AnyRow]] = {batch_id: [] for batch_id in batch_ids}
        for row in self.session.execute(statement):
            found[row.batch_id].append(row)
        return found

    def set_batch_state(self, batch_id: str, state: BatchState, end: BatchEnd | None = None) -> bool:
        statement = (
            update(Batch)
            .where(Batch.id == batch_id, Batch.end_time.is_(None))
            .values(state=state, end_reason=end, end_time=func.now() if state.is_terminal else None, places=0)
            .returning(Batch.tenant_id)
        )
        row = self.session.execute(statement, execution_options=PLAIN).one_or_none()
        if row is not None and state.is_terminal:
            data = {"batch_id": batch_id, "state": state, "end_reason": end}
            record_event(self.session, row.tenant_id, EventType.BATCH_COMPLETED, data)
        return row is not None

    def reopen_batches(self, job_ids: Sequence[str]) -> None:
        of_jobs = select(Job.batch_id).where(Job.id.in_(job_ids), Job.batch_id.is_not(None))
        # Held first: a batch that is being ended now is seen as ended below.
        held = select(Batch.id).where(Batch.id.in_(of_jobs)).order_by(Batch.id)
        batch_ids = self.session.scalars(held.with_for_update(key_share=True)).all()
        is_cut_off = Batch.end_reason == BatchEnd.SUBMISSION_CUT_OFF
        state = case(
            (is_cut_off, literal(BatchState.OPEN, Batch.state.type)),
            else_=literal(BatchState.RUNNING, Batch.state.type),
        )
        opened = update(Batch).where(Batch.id.in_(batch_ids), Batch.end_time.is_not(None))
        self.session.execute(
            opened.values(state=state, end_reason=None, end_time=None), execution_options=PLAIN
        )

    def end_batch_jobs(self, batch_id: str, end: JobEnd, limit: int) -> list[JobRow]:
        has_ended = exists().where(Batch.id == batch_id, Batch.end_time.is_not(None))
        live = (
            select(Job.id)
            .where(Job.batch_id == batch_id, IS_LIVE, has_ended)
            .order_by(Job.id)
            .limit(limit)
            .with_for_update(key_share=True)
        )
        statement = update(Job).where(Job.id.in_(live)).values(**end_values(end)).returning(*JOB_COLUMNS)
        rows = self.session.execute(statement, execution_options=PLAIN)
        jobs = sorted((read_job_row(row) for row in rows), key=lambda job: job.id)
        drop_doorbells(self.session, [job.id for job in jobs])
        return jobs


def _read_batch_row(row: AnyRow, counts: Mapping[str, list[AnyRow]]) -> BatchRow:
    jobs: dict[JobState, int] = {each.state: each.jobs for each in counts[row.id]}
    n_reused = sum(each.reused for each in counts[row.id])
    n_again = sum(each.again for each in counts[row.id])
    return BatchRow(row.id, row.tenant_id, row.state, row.max_failure_rate, jobs, n_reused, n_again)
