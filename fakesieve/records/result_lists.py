"""What was found, one line for each job, as people list and export it. Nothing here changes a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    Text,
    and_,
    cast,
    func,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session

from engine.results import Outcome, VerdictValue
from fakesieve.jobs.states import JobState
from fakesieve.reasons import Reason
from fakesieve.records.jobs import Job
from fakesieve.records.models import Model
from fakesieve.records.policies import PolicyVersion
from fakesieve.records.rulings import POLICY_IN_FORCE
from fakesieve.records.standings import Standing
from fakesieve.records.table import is_at_hand
from fakesieve.records.videos import Video

PAGE_MAX = 1000
# As many jobs lie scattered over the table; more of them are met soon enough by whoever walks it.
FEW = 1000


@dataclass(frozen=True)
class ResultLine:
    """A job and, if it has one, its analysis with the verdict that holds. Scores are 0 to 1."""

    job_id: str
    state: JobState
    create_time: datetime
    bucket: str
    key: str
    external_id: str | None
    video_id: str | None
    analysis_id: str | None
    reused_analysis: bool
    sha256: str | None
    duration_us: int | None
    outcome: Outcome | None
    verdict: VerdictValue | None
    score_raw: float | None
    score_calibrated: float | None
    score_low: float | None
    score_high: float | None
    coverage_ratio: float | None
    tracks: int | None
    suspicious_spans: int | None
    policy: str | None
    model: str | None
    fingerprint: str | None
    error_reason: Reason | None
    error_message: str | None


def list_results(
    session: Session,
    *,
    outcome: Outcome | None = None,
    verdict: VerdictValue | None = None,
    batch_id: str | None = None,
    job_id: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[ResultLine]:
    """Return ended jobs of the tenant at hand with what was found, newest first.

    Args:
        outcome: only analyses of this outcome.
        verdict: only analyses whose verdict says so.
        batch_id: only jobs of this batch.
        job_id: only this job.
        before: ``(create_time, job_id)`` of the last line of the page before.
        limit: lines of a page, at most 1000.
    """
    said = _write_conditions(outcome, verdict)
    if batch_id is not None or job_id is not None:
        jobs = _select_jobs(before)
        jobs = jobs if batch_id is None else jobs.where(Job.batch_id == batch_id)
        jobs = jobs if job_id is None else jobs.where(Job.id == job_id)
        jobs = jobs.join(Standing, Standing.analysis_id == Job.analysis_id).where(*said) if said else jobs
        page = _cut(jobs, limit)
    elif said:
        at_hand = is_at_hand(session, Job.tenant_id)
        said.append(is_at_hand(session, Standing.tenant_id))
        page = _choose_by_standing(_select_jobs(before).where(at_hand), said, limit)
    else:
        page = _cut(_select_jobs(before).where(is_at_hand(session, Job.tenant_id)), limit)
    # The page first, and then its details: else a thousand jobs of a batch are joined to show fifty.
    chosen = page.cte("page").prefix_with("MATERIALIZED", dialect="postgresql")
    wanted = _select_lines().join(chosen, chosen.c.id == Job.id)
    return [ResultLine(**row) for row in session.execute(wanted).mappings()]


_NEWEST_FIRST = (Job.create_time.desc(), Job.id.desc())


def _write_conditions(outcome: Outcome | None, verdict: VerdictValue | None) -> list[ColumnElement[bool]]:
    said = list[ColumnElement[bool]]()
    if outcome is not None:
        said.append(Standing.outcome == outcome)
    if verdict is not None:
        said.append(Standing.verdict == verdict)
    return said


def _select_jobs(before: tuple[datetime, str] | None) -> Select[str]:
    """The ids of all ended jobs behind a position."""
    ended = select(Job.id).where(Job.end_time.is_not(None))
    return ended if before is None else ended.where(tuple_(Job.create_time, Job.id) < before)


def _cut(jobs: Select[str], limit: int) -> Select[str]:
    return jobs.order_by(*_NEWEST_FIRST).limit(min(limit, PAGE_MAX))


def _choose_by_standing(
    jobs: Select[str], said: Sequence[ColumnElement[bool]], limit: int
) -> CompoundSelect[str]:
    """Return the page of a tenant's jobs whose analyses are rated as said.

    The order stands in one table and the ratings in another, so no index has both. What few analyses are
    rated is found from these; else jobs are walked from the newest on until there are enough. Left to itself
    the planner reads every job of the tenant with the rating: that both tables name the same tenant makes it
    expect far fewer than there are.
    """
    rated = select(Standing.analysis_id).where(*said).limit(FEW + 1).cte("rated")
    rated = rated.prefix_with("MATERIALIZED", dialect="postgresql")
    are_few = select(func.count()).select_from(rated).scalar_subquery() <= FEW
    found = jobs.where(are_few, Job.analysis_id.in_(select(rated.c.analysis_id)))
    # A subquery that gives one value is never made a join.
    is_rated = select(and_(*said)).where(Standing.analysis_id == Job.analysis_id).scalar_subquery()
    walked = jobs.where(~are_few, is_rated)
    return union_all(_cut(found, limit), _cut(walked, limit))


def _select_lines() -> Select[*tuple[Any, ...]]:
    """The statement of all lines."""
    return (
        select(
            Job.id.label("job_id"),
            Job.state,
            Job.create_time,
            Job.source_bucket.label("bucket"),
            Job.source_key.label("key"),
            Job.external_id,
            Job.video_id,
            Job.analysis_id,
            Job.reused_analysis,
            Video.content_sha256.label("sha256"),
            Video.duration_us,
            Standing.outcome,
            Standing.verdict,
            Standing.score_raw,
            Standing.score_calibrated,
            Standing.score_low,
            Standing.score_high,
            Standing.coverage.label("coverage_ratio"),
            Standing.track_count.label("tracks"),
            Standing.suspicious_count.label("suspicious_spans"),
            (PolicyVersion.name + "@" + cast(PolicyVersion.version, Text())).label("policy"),
            Model.name.label("model"),
            Job.pipeline_fingerprint.label("fingerprint"),
            Job.error_reason,
            Job.error_message,
        )
        .outerjoin(Video, Video.id == Job.video_id)
        .outerjoin(Standing, Standing.analysis_id == Job.analysis_id)
        .outerjoin(Model, Model.id == Standing.model_id)
        .outerjoin(PolicyVersion, PolicyVersion.id == POLICY_IN_FORCE)
        .order_by(*_NEWEST_FIRST)
    )
