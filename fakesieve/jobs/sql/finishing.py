"""Writing under a fence, counting, and ends of jobs."""

import itertools
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    CTE,
    BindParameter,
    Function,
    Select,
    Text,
    bindparam,
    delete,
    func,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from engine.policy import Policy
from fakesieve.jobs.rows import Fault, JobEnd, JobRow, Mark, Same, ShardKey, ShardRow, VideoDraft
from fakesieve.jobs.sql.claiming import NO_LEASE, SqlClaiming
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
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.jobs import Attempt, Job, Outbox, Shard, Usage
from fakesieve.records.videos import note_video
from fakesieve.values.jobs import AttemptEnd

_IS_HELD = (
    Shard.job_id == bindparam("of_job"),
    Shard.index == bindparam("at_index"),
    Shard.fence == bindparam("under_fence"),
    Shard.state == ShardState.LEASED,
)


def _build_mark(end: AttemptEnd, **values: Any) -> tuple[CTE, CTE]:
    """Return the parts of a statement that write a held shard and the end of its attempt."""
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
    return marked, ended


def _build_lock(marked: CTE, ended: CTE) -> Select[*tuple[Any, ...]]:
    """Return the statement that marks a shard and then returns its job, locked."""
    job = select(*JOB_COLUMNS).where(Job.id == marked.c.job_id)
    return job.with_for_update(of=Job, key_share=True).add_cte(ended)


def _build_count(marked: CTE, ended: CTE) -> Select[*tuple[Any, ...]]:
    """Return the statement that marks a shard, then counts it and returns its job."""
    counted = update(Job).where(Job.id == marked.c.job_id).values(n_done=Job.n_done + 1)
    return select(counted.returning(*JOB_COLUMNS).cte("counted")).add_cte(ended)


def _build_close(*, is_billed: bool) -> Select[*tuple[Any, ...]]:
    """Return the statement that ends a live job and, in its wake, tells of it and bills it."""
    values: dict[str, BindParameter[Any]] = {name: bindparam(f"new_{name}") for name in _END_COLUMNS}
    closed = (
        update(Job)
        .where(Job.id == bindparam("of_job"), IS_LIVE)
        .values(end_time=func.now(), **values)
        .returning(*JOB_COLUMNS, _DURATION_MS.label("duration_ms"))
        .cte("closed")
    )
    told = select(
        closed.c.tenant_id, bindparam("about", type_=Text()), closed.c.id, closed.c.lane, _tell(closed)
    )
    event = insert(Outbox).from_select(["tenant_id", "topic", "job_id", "lane", "payload"], told)
    statement = select(closed).add_cte(event.cte("told"))
    if not is_billed:
        return statement
    columns = ["tenant_id", "job_id", "analysis_id", "n_shards", "duration_ms"]
    owed = select(
        closed.c.tenant_id, closed.c.id, closed.c.analysis_id, closed.c.n_shards, closed.c.duration_ms
    )
    return statement.add_cte(insert(Usage).from_select(columns, owed).on_conflict_do_nothing().cte("billed"))


def _tell(job: CTE) -> Function[Any]:
    """Return what the event of a job's end says of it."""
    names = {"job_id": "id", "reason": "error_reason"} | {
        name: name for name in ("state", "batch_id", "analysis_id", "reused_analysis")
    }
    parts = ((literal(said), job.c[name]) for said, name in names.items())
    return func.jsonb_build_object(*itertools.chain(*parts))


_END_COLUMNS = (
    "state",
    "analysis_id",
    "reused_analysis",
    "error_reason",
    "error_message",
    "error_hint",
    "has_open_shards",
)
_DURATION_MS = func.coalesce(Job.media["duration_us"].as_integer() / 1000, 0)
_DONE = _build_mark(AttemptEnd.DONE, state=ShardState.DONE, evidence=bindparam("found"))
_MARK_DONE = select(_DONE[0].c.fence).add_cte(_DONE[1])
_MARK_AND_LOCK, _MARK_AND_COUNT = _build_lock(*_DONE), _build_count(*_DONE)
_FAILED = _build_mark(
    AttemptEnd.FAILED,
    state=ShardState.FAILED,
    last_reason=bindparam("why"),
    last_message=bindparam("seen"),
)
_MARK_FAILED = select(_FAILED[0].c.fence).add_cte(_FAILED[1])
_CLOSE, _CLOSE_AND_BILL = _build_close(is_billed=False), _build_close(is_billed=True)
_LOCK_JOB = select(*JOB_COLUMNS).where(Job.id == bindparam("of_job")).with_for_update(key_share=True)
_LOCK_SCORE_SHARD = (
    select(*SHARD_COLUMNS)
    .where(Shard.job_id == bindparam("of_job"), Shard.kind == WorkKind.SCORE)
    .with_for_update(key_share=True)
)
_PLAN_JOB = (
    update(Job)
    .where(Job.id == bindparam("of_job"))
    .values(
        video_id=bindparam("of_video"),
        pipeline_fingerprint=bindparam("by_pipeline"),
        media=bindparam("probed"),
        n_shards=bindparam("in_shards"),
    )
)
_KNOWN = select(Analysis.id).where(
    Analysis.video_id == bindparam("of_video"), Analysis.pipeline_fingerprint == bindparam("by_pipeline")
)
_TWIN = (
    select(Job.id)
    .where(
        Job.video_id == bindparam("of_video"),
        Job.pipeline_fingerprint == bindparam("by_pipeline"),
        Job.state == JobState.RUNNING,
        Job.n_shards > 0,
        Job.id != bindparam("of_job"),
        Job.lane.in_(bindparam("lanes", expanding=True)),
    )
    .order_by(Job.id)
    .limit(1)
)
_FIND_SAME = select(_KNOWN.scalar_subquery(), _TWIN.scalar_subquery())


class SqlFinishing(SqlClaiming):
    """The part ``FinishRows`` of the protocol."""

    def mark_shard_done(self, key: ShardKey, fence: int, evidence: bytes | None) -> Mark:
        if self._write(_MARK_DONE, key, fence, {"found": evidence}) is not None:
            return Mark.WRITTEN
        return self._say_why(key, fence, ShardState.DONE)

    def mark_and_lock(self, key: ShardKey, fence: int) -> tuple[Mark, JobRow | None]:
        row = self._write(_MARK_AND_LOCK, key, fence, {"found": None})
        if row is not None:
            return Mark.WRITTEN, read_job_row(row)
        mark = self._say_why(key, fence, ShardState.DONE)
        return mark, None if mark is Mark.STALE else self.lock_job(key.job_id)

    def mark_and_count(self, key: ShardKey, fence: int, evidence: bytes | None) -> tuple[Mark, JobRow | None]:
        row = self._write(_MARK_AND_COUNT, key, fence, {"found": evidence})
        if row is not None:
            return Mark.WRITTEN, read_job_row(row)
        mark = self._say_why(key, fence, ShardState.DONE)
        return mark, None if mark is Mark.STALE else self.read_job(key.job_id)

    def mark_shard_failed(self, key: ShardKey, fence: int, fault: Fault) -> Mark:
        values = {"why": fault.reason, "seen": fault.message or None}
        if self._write(_MARK_FAILED, key, fence, values) is not None:
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
        row = self.connection.execute(_LOCK_JOB, {"of_job": job_id}).one_or_none()
        return None if row is None else read_job_row(row)

    def lock_shards(self, job_id: str) -> list[ShardRow]:
        statement = (
            select(*SHARD_COLUMNS).where(Shard.job_id == job_id).order_by(Shard.index).with_for_update()
        )
        return [read_shard_row(row) for row in self.session.execute(statement)]

    def lock_score_shard(self, job_id: str) -> ShardRow | None:
        row = self.connection.execute(_LOCK_SCORE_SHARD, {"of_job": job_id}).one_or_none()
        return None if row is None else read_shard_row(row)

    def plan_job(
        self, job_id: str, video_id: str, fingerprint: str, media: Mapping[str, object], n_shards: int
    ) -> None:
        found = {"of_video": video_id, "by_pipeline": fingerprint, "probed": dict(media)}
        self.connection.execute(_PLAN_JOB, {"of_job": job_id, "in_shards": n_shards} | found)

    def close_job(self, job_id: str, end: JobEnd, *, is_billed: bool = False) -> JobRow | None:
        values = {f"new_{name}": value for name, value in _read_end(end).items()}
        statement = _CLOSE_AND_BILL if is_billed else _CLOSE
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
        row = self.connection.execute(_FIND_SAME, place | {"lanes": sorted(job.lane.not_later)}).one()
        return Same(row[0], row[1])

    def judge_analysis(self, analysis_id: str, policy: Policy) -> None:
        judge_analysis(self.session, analysis_id, policy)

    def store_analysis(self, analysis: AnalysisRecord) -> tuple[str, bool]:
        return store_analysis(self.session, analysis)


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
