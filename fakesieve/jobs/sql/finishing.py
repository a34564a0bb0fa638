"""Writing under a fence, counting, and ends of jobs."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Select,
    delete,
    func,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from engine.policy import Policy
from fakesieve.jobs.rows import (
    Fault,
    JobEnd,
    JobPlan,
    JobRow,
    Mark,
    Same,
    ShardDraft,
    ShardKey,
    ShardRow,
    VideoDraft,
)
from fakesieve.jobs.sql.claiming import SqlClaiming
from fakesieve.jobs.sql.finish_statements import (
    CLOSE,
    CLOSE_AND_BILL,
    FIND_SAME,
    LOCK_JOB,
    LOCK_SCORE_SHARD,
    MARK_AND_COUNT,
    MARK_AND_LOCK,
    MARK_DONE,
    MARK_FAILED,
    OPEN_SHARDS,
    PLAN_JOB,
)
from fakesieve.jobs.sql.outbox import drop_doorbells
from fakesieve.jobs.sql.reading import (
    IS_LIVE,
    JOB_COLUMNS,
    PLAIN,
    SHARD_COLUMNS,
    TIME_LIMIT,
    AnyRow,
    is_shard,
    read_job_row,
    read_shard_row,
)
from fakesieve.jobs.states import RETRY_STATES, JobState, ShardState, WorkKind
from fakesieve.reasons import Reason
from fakesieve.records.analyses import AnalysisRecord, judge_analysis, store_analysis
from fakesieve.records.jobs import Attempt, Job, Shard
from fakesieve.records.videos import note_video
from fakesieve.values.jobs import AttemptEnd


class SqlFinishing(SqlClaiming):
    """The part ``FinishRows`` of the protocol."""

    def mark_shard_done(self, key: ShardKey, fence: int, evidence: bytes | None) -> Mark:
        if self._write(MARK_DONE, key, fence, {"found": evidence}) is not None:
            return Mark.WRITTEN
        return self._say_why(key, fence, ShardState.DONE)

    def mark_and_lock(self, key: ShardKey, fence: int) -> tuple[Mark, JobRow | None]:
        row = self._write(MARK_AND_LOCK, key, fence, {"found": None})
        if row is not None:
            return Mark.WRITTEN, read_job_row(row)
        mark = self._say_why(key, fence, ShardState.DONE)
        return mark, None if mark is Mark.STALE else self.lock_job(key.job_id)

    def mark_and_count(self, key: ShardKey, fence: int, evidence: bytes | None) -> tuple[Mark, JobRow | None]:
        row = self._write(MARK_AND_COUNT, key, fence, {"found": evidence})
        if row is not None:
            return Mark.WRITTEN, read_job_row(row)
        mark = self._say_why(key, fence, ShardState.DONE)
        return mark, None if mark is Mark.STALE else self.read_job(key.job_id)

    def mark_shard_failed(self, key: ShardKey, fence: int, fault: Fault) -> Mark:
        values = {"why": fault.reason, "seen": fault.message or None}
        if self._write(MARK_FAILED, key, fence, values) is not None:
            return Mark.WRITTEN
        return self._say_why(key, fence, ShardState.FAILED)

    def _write(
        self, statement: Select[*tuple[Any, ...]], key: ShardKey, fence: int, values: Mapping[str, Any]
    ) -> AnyRow | None:
        place = {"of_job": key.job_id, "at_index": key.index, "under_fence": fence}
        return self.connection.execute(statement, {**place, **values}).one_or_none()

    def _say_why(self, key: ShardKey, fence: int, state: ShardState) -> Mark:
        there = self.session.execute(select(Shard.state, Shard.fence).where(is_shard(key))).one_or_none()
        is_mine = there is not None and (there.state, there.fence) == (state, fence)
        return Mark.REPEATED if is_mine else Mark.STALE

    def lock_job(self, job_id: str) -> JobRow | None:
        row = self.connection.execute(LOCK_JOB, {"of_job": job_id}).one_or_none()
        return None if row is None else read_job_row(row)

    def lock_shards(self, job_id: str) -> list[ShardRow]:
        statement = (
            select(*SHARD_COLUMNS).where(Shard.job_id == job_id).order_by(Shard.index).with_for_update()
        )
        return [read_shard_row(row) for row in self.session.execute(statement)]

    def lock_score_shard(self, job_id: str) -> ShardRow | None:
        row = self.connection.execute(LOCK_SCORE_SHARD, {"of_job": job_id}).one_or_none()
        return None if row is None else read_shard_row(row)

    def plan_job(self, job_id: str, plan: JobPlan, n_shards: int) -> None:
        self.connection.execute(PLAN_JOB, _write_plan(job_id, plan, n_shards))

    def open_shards(self, job_id: str, plan: JobPlan, drafts: Sequence[ShardDraft]) -> None:
        shards = [{"index": each.key.index, "cost": each.cost, "plan": each.plan} for each in drafts]
        values = _write_plan(job_id, plan, len(drafts)) | {"shards": shards}
        self.connection.execute(OPEN_SHARDS, values)

    def close_job(self, job_id: str, end: JobEnd, *, is_billed: bool = False) -> JobRow | None:
        values = {f"new_{name}": value for name, value in _read_end(end).items()}
        statement = CLOSE_AND_BILL if is_billed else CLOSE
        place = {"of_job": job_id, "about": f"job.{end.state}"}
        row = self.connection.execute(statement, place | values).one_or_none()
        if row is None:
            return None
        if end.state is not JobState.SUCCEEDED:
            drop_doorbells(self.session, [job_id])
        return read_job_row(row)

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

    def find_same(self, job: JobRow, video_id: str, fingerprint: str) -> Same:
        place = {"of_video": video_id, "by_pipeline": fingerprint, "of_job": job.id}
        row = self.connection.execute(FIND_SAME, place | {"lanes": sorted(job.lane.not_later)}).one()
        return Same(row[0], row[1])

    def judge_analysis(self, analysis_id: str, policy: Policy) -> None:
        judge_analysis(self.session, analysis_id, policy)

    def store_analysis(self, analysis: AnalysisRecord) -> tuple[str, bool]:
        return store_analysis(self.session, analysis)


def _write_plan(job_id: str, plan: JobPlan, n_shards: int) -> dict[str, Any]:
    """Return the parameters of ``PLAN_JOB``."""
    return {
        "of_job": job_id,
        "in_shards": n_shards,
        "of_version": plan.source.version_id,
        "of_etag": plan.source.etag,
        "of_size": plan.source.size_bytes,
        "of_video": plan.video_id,
        "by_pipeline": plan.fingerprint,
        "probed": dict(plan.media),
    }


def end_values(end: JobEnd) -> dict[str, Any]:
    """Return the columns of a job that an end sets."""
    return {"end_time": func.now(), **_read_end(end)}


def _read_end(end: JobEnd) -> dict[str, Any]:
    return {
        "state": end.state,
        "analysis_id": end.analysis_id,
        "reused_analysis": end.reused_analysis,
        "error_reason": end.reason,
        "error_message": end.message,
        "error_hint": end.hint,
        "has_open_shards": end.state is not JobState.SUCCEEDED,
    }
