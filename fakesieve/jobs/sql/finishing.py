"""Writing under a fence, counting, and ends of jobs."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, bindparam, delete, func, literal, null, select, update
from sqlalchemy.dialects.postgresql import insert

from engine.policy import Policy
from fakesieve.jobs.rows import Fault, JobEnd, JobRow, Mark, ShardKey, ShardRow, VideoDraft
from fakesieve.jobs.sql.claiming import NO_LEASE, SqlClaiming
from fakesieve.jobs.sql.outbox import drop_doorbells
from fakesieve.jobs.sql.reading import (
    IS_LIVE,
    JOB_COLUMNS,
    PLAIN,
    SHARD_COLUMNS,
    TIME_LIMIT,
    is_shard,
    read_job_row,
    read_shard_row,
)
from fakesieve.jobs.states import RETRY_STATES, JobState, ShardState, WorkKind
from fakesieve.reasons import Reason
from fakesieve.records.analyses import AnalysisRecord, find_analysis, judge_analysis, store_analysis
from fakesieve.records.jobs import Attempt, Job, Shard, Usage
from fakesieve.records.videos import note_video
from fakesieve.values.jobs import AttemptEnd

_IS_HELD = (
    Shard.job_id == bindparam("of_job"),
    Shard.index == bindparam("at_index"),
    Shard.fence == bindparam("under_fence"),
    Shard.state == ShardState.LEASED,
)


def _build_mark(end: AttemptEnd, **values: Any) -> Select[*tuple[Any, ...]]:
    """Return the statement that writes a held shard and the end of its attempt."""
    marked = (
        update(Shard)
        .where(*_IS_HELD)
        .values(end_time=func.now(), **values, **NO_LEASE)
        .returning(Shard.job_id, Shard.index, Shard.fence)
        .cte("marked")
    )
    ended = (
        update(Attempt)
        .where(
            Attempt.job_id == marked.c.job_id,
            Attempt.shard_index == marked.c.index,
            Attempt.end_time.is_(None),
        )
        .values(
            attempt_end=end,
            end_time=func.now(),
            reason=values.get("last_reason"),
            message=values.get("last_message"),
        )
        .cte("ended")
    )
    return select(marked.c.fence).add_cte(ended)


_MARK_DONE = _build_mark(AttemptEnd.DONE, state=ShardState.DONE, evidence=bindparam("found"))
_MARK_FAILED = _build_mark(
    AttemptEnd.FAILED,
    state=ShardState.FAILED,
    last_reason=bindparam("why"),
    last_message=bindparam("seen"),
)
_COUNT_DONE = (
    update(Job).where(Job.id == bindparam("of_job")).values(n_done=Job.n_done + 1).returning(*JOB_COLUMNS)
)


class SqlFinishing(SqlClaiming):
    """The part ``FinishRows`` of the protocol."""

    def mark_shard_done(self, key: ShardKey, fence: int, evidence: bytes | None) -> Mark:
        if self._write(_MARK_DONE, key, fence, {"found": evidence}):
            return Mark.WRITTEN
        return self._say_why(key, fence, ShardState.DONE)

    def mark_shard_failed(self, key: ShardKey, fence: int, fault: Fault) -> Mark:
        values = {"why": fault.reason, "seen": fault.message or None}
        if self._write(_MARK_FAILED, key, fence, values):
            return Mark.WRITTEN
        return self._say_why(key, fence, ShardState.FAILED)

    def _write(
        self, statement: Select[*tuple[Any, ...]], key: ShardKey, fence: int, values: Mapping[str, Any]
    ) -> bool:
        place = {"of_job": key.job_id, "at_index": key.index, "under_fence": fence}
        row = self.session.execute(statement, {**place, **values}, execution_options=PLAIN).one_or_none()
        return row is not None

    def _say_why(self, key: ShardKey, fence: int, state: ShardState) -> Mark:
        there = self.session.execute(select(Shard.state, Shard.fence).where(is_shard(key))).one_or_none()
        is_mine = there is not None and (there.state, there.fence) == (state, fence)
        return Mark.REPEATED if is_mine else Mark.STALE

    def count_done(self, job_id: str) -> JobRow | None:
        row = self.session.execute(_COUNT_DONE, {"of_job": job_id}, execution_options=PLAIN).one_or_none()
        return None if row is None else read_job_row(row)

    def lock_job(self, job_id: str) -> JobRow | None:
        statement = select(*JOB_COLUMNS).where(Job.id == job_id).with_for_update(key_share=True)
        row = self.session.execute(statement).one_or_none()
        return None if row is None else read_job_row(row)

    def lock_shards(self, job_id: str) -> list[ShardRow]:
        statement = (
            select(*SHARD_COLUMNS).where(Shard.job_id == job_id).order_by(Shard.index).with_for_update()
        )
        return [read_shard_row(row) for row in self.session.execute(statement)]

    def lock_score_shard(self, job_id: str) -> ShardRow | None:
        statement = (
            select(*SHARD_COLUMNS)
            .where(Shard.job_id == job_id, Shard.kind == WorkKind.SCORE)
            .with_for_update(key_share=True)
        )
        row = self.session.execute(statement).one_or_none()
        return None if row is None else read_shard_row(row)

    def plan_job(
        self, job_id: str, video_id: str, fingerprint: str, media: Mapping[str, object], n_shards: int
    ) -> None:
        statement = (
            update(Job)
            .where(Job.id == job_id)
            .values(video_id=video_id, pipeline_fingerprint=fingerprint, media=dict(media), n_shards=n_shards)
        )
        self.session.execute(statement, execution_options=PLAIN)

    def end_job(self, job_id: str, end: JobEnd) -> JobRow | None:
        statement = (
            update(Job).where(Job.id == job_id, IS_LIVE).values(**end_values(end)).returning(*JOB_COLUMNS)
        )
        row = self.session.execute(statement, execution_options=PLAIN).one_or_none()
        if row is None:
            return None
        if end.state is not JobState.SUCCEEDED:
            drop_doorbells(self.session, [job_id])
        return read_job_row(row)

    def reset_job(self, job_id: str, *, is_new_start: bool = True) -> bool:
        # Above all that were given, so that a shard which nobody has claimed yet has a fence of its own too.
        # Of shards that are long gone the job has kept the highest.
        shards = self.lock_shards(job_id)
        before = func.greatest(Job.fence, max((shard.fence for shard in shards), default=0))
        new_deadline = {"deadline": func.now() + TIME_LIMIT} if is_new_start else {}
        beginning = (
            update(Job)
            .where(Job.id == job_id, Job.state.in_(RETRY_STATES))
            .values(
                state=JobState.QUEUED,
                fence=before + 1,
                n_shards=0,
                n_done=0,
                start_time=None,
                end_time=None,
                video_id=None,
                pipeline_fingerprint=None,
                media=null(),
                error_reason=None,
                error_message=None,
                error_hint=None,
                has_open_shards=False,
                **new_deadline,
            )
            .returning(Job.id)
        )
        if self.session.execute(beginning, execution_options=PLAIN).one_or_none() is None:
            return False
        self._reset_shards(job_id)
        return True

    def _reset_shards(self, job_id: str) -> None:
        """Close what was being tried, and leave the job its first shard alone, as if never claimed."""
        running = (
            update(Attempt)
            .where(Attempt.job_id == job_id, Attempt.end_time.is_(None))
            .values(attempt_end=AttemptEnd.LOST, end_time=func.now(), reason=Reason.LEASE_LOST)
        )
        self.session.execute(running, execution_options=PLAIN)
        self.session.execute(delete(Shard).where(Shard.job_id == job_id), execution_options=PLAIN)
        first = select(
            Job.tenant_id,
            Job.id,
            literal(0),
            literal(WorkKind.PREPARE, Shard.kind.type),
            Job.lane,
            Job.fence,
        ).where(Job.id == job_id)
        columns = ["tenant_id", "job_id", "index", "kind", "lane", "fence"]
        self.session.execute(insert(Shard).from_select(columns, first))

    def load_evidence(self, job_id: str) -> list[bytes]:
        statement = (
            select(Shard.evidence)
            .where(Shard.job_id == job_id, Shard.kind == WorkKind.SCREEN, Shard.evidence.is_not(None))
            .order_by(Shard.index)
        )
        return [bytes(found) for found in self.session.execute(statement).scalars() if found is not None]

    def upsert_video(self, draft: VideoDraft) -> str:
        return note_video(
            self.session,
            tenant_id=draft.tenant_id,
            sha256=draft.sha256,
            size_bytes=draft.size_bytes,
            media=draft.media,
            external_id=draft.external_id,
            ref=draft.source,
            kind=draft.source_kind,
            asked_time=draft.asked_time,
        )

    def find_analysis(self, video_id: str, fingerprint: str) -> str | None:
        return find_analysis(self.session, video_id, fingerprint)

    def find_twin(self, job: JobRow, video_id: str, fingerprint: str) -> str | None:
        statement = select(Job.id).where(
            Job.video_id == video_id,
            Job.pipeline_fingerprint == fingerprint,
            Job.state == JobState.RUNNING,
            Job.n_shards > 0,
            Job.id != job.id,
            Job.lane.in_(job.lane.not_later),
        )
        return self.session.scalars(statement.order_by(Job.id).limit(1)).one_or_none()

    def judge_analysis(self, analysis_id: str, policy: Policy) -> None:
        judge_analysis(self.session, analysis_id, policy)

    def store_analysis(self, analysis: AnalysisRecord) -> tuple[str, bool]:
        return store_analysis(self.session, analysis)

    def insert_usage(self, job: JobRow) -> None:
        duration_ms = func.coalesce(Job.media["duration_us"].as_integer() / 1000, 0)
        rows = select(Job.tenant_id, Job.id, Job.analysis_id, Job.n_shards, duration_ms).where(
            Job.id == job.id
        )
        columns = ["tenant_id", "job_id", "analysis_id", "n_shards", "duration_ms"]
        self.session.execute(insert(Usage).from_select(columns, rows).on_conflict_do_nothing())


def end_values(end: JobEnd) -> dict[str, Any]:
    """Return the columns of a job that an end sets."""
    return {
        "state": end.state,
        "end_time": func.now(),
        "analysis_id": end.analysis_id,
        "reused_analysis": end.reused_analysis,
        "error_reason": end.reason,
        "error_message": end.message,
        "error_hint": end.hint,
        "has_open_shards": end.state is not JobState.SUCCEEDED,
    }
