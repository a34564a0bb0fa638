"""What is written when work ends, each as one statement that was built once.

A statement costs the host and the server as much as what it does, so what belongs together is one: the parts
that follow are common table expressions over what the first one has changed, and see its rows as they are.
Where the first finds no row nothing is written. No parameter has the name of a column: SQLAlchemy would set
that column in every table that is written.
"""

import itertools
from typing import Any

from sqlalchemy import (
    CTE,
    BindParameter,
    Function,
    Select,
    Text,
    bindparam,
    column,
    func,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSON, Insert, insert

from fakesieve.jobs.sql.claiming import NO_LEASE
from fakesieve.jobs.sql.reading import (
    IS_LIVE,
    JOB_COLUMNS,
    SHARD_COLUMNS,
)
from fakesieve.jobs.states import JobState, ShardState, WorkKind
from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.jobs import Attempt, Job, Outbox, Shard, Usage
from fakesieve.values.jobs import AttemptEnd

# Said by its own key wherever a job follows from a shard, so that no plan reads the whole table.
_IS_JOB = Job.id == bindparam("of_job")
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
    job = select(*JOB_COLUMNS).where(_IS_JOB, Job.id == marked.c.job_id)
    return job.with_for_update(of=Job, key_share=True).add_cte(ended)


def _build_count(marked: CTE, ended: CTE) -> Select[*tuple[Any, ...]]:
    """Return the statement that marks a shard, then counts it and returns its job."""
    counted = update(Job).where(_IS_JOB, Job.id == marked.c.job_id).values(n_done=Job.n_done + 1)
    return select(counted.returning(*JOB_COLUMNS).cte("counted")).add_cte(ended)


PLAN_JOB = (
    update(Job)
    .where(_IS_JOB)
    .values(
        source_version_id=bindparam("of_version"),
        source_etag=bindparam("of_etag"),
        source_size_bytes=bindparam("of_size"),
        video_id=bindparam("of_video"),
        pipeline_fingerprint=bindparam("by_pipeline"),
        media=bindparam("probed"),
        n_shards=bindparam("in_shards"),
    )
)


def _build_open() -> Insert:
    """Return the statement that plans a job and inserts its shards, which travel as JSON."""
    job = PLAN_JOB.returning(Job.tenant_id, Job.id, Job.lane, Job.fence).cte("planned")
    shard = Shard.__table__.c
    columns = [column(name, shard[name].type) for name in ("index", "cost", "plan")]
    drafts = func.json_to_recordset(bindparam("shards", type_=JSON()))
    rows = drafts.table_valued(*columns, name="draft").render_derived(with_types=True)
    kind = literal(WorkKind.SCREEN, shard.kind.type)
    source = select(job, kind, *rows.c).select_from(job.join(rows, true()))
    names = ["tenant_id", "job_id", "lane", "fence", "kind", "index", "cost", "plan"]
    return insert(Shard).from_select(names, source)


def _build_close(*, is_billed: bool) -> Select[*tuple[Any, ...]]:
    """Return the statement that ends a live job and, in its wake, tells of it and bills it."""
    values: dict[str, BindParameter[Any]] = {name: bindparam(f"new_{name}") for name in _END_COLUMNS}
    closed = (
        update(Job)
        .where(_IS_JOB, IS_LIVE)
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
MARK_DONE = select(_DONE[0].c.fence).add_cte(_DONE[1])
MARK_AND_LOCK, MARK_AND_COUNT = _build_lock(*_DONE), _build_count(*_DONE)
_FAILED = _build_mark(
    AttemptEnd.FAILED,
    state=ShardState.FAILED,
    last_reason=bindparam("why"),
    last_message=bindparam("seen"),
)
MARK_FAILED = select(_FAILED[0].c.fence).add_cte(_FAILED[1])
CLOSE, CLOSE_AND_BILL = _build_close(is_billed=False), _build_close(is_billed=True)
LOCK_JOB = select(*JOB_COLUMNS).where(_IS_JOB).with_for_update(key_share=True)
LOCK_SCORE_SHARD = (
    select(*SHARD_COLUMNS)
    .where(Shard.job_id == bindparam("of_job"), Shard.kind == WorkKind.SCORE)
    .with_for_update(key_share=True)
)
OPEN_SHARDS = _build_open()
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
FIND_SAME = select(_KNOWN.scalar_subquery(), _TWIN.scalar_subquery())
