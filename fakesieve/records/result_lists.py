"""What was found, one line for each job, as people list and export it. Nothing here changes a row."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Text, cast, select, tuple_
from sqlalchemy.orm import Session

from engine.results import Outcome, VerdictValue
from fakesieve.jobs.states import JobState
from fakesieve.reasons import Reason
from fakesieve.records.jobs import Job
from fakesieve.records.models import Model
from fakesieve.records.policies import PolicyVersion
from fakesieve.records.standings import Standing
from fakesieve.records.table import is_at_hand
from fakesieve.records.videos import Video

PAGE_MAX = 1000


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
    page = select(Job.id).where(Job.end_time.is_not(None))
    page = page.order_by(*_NEWEST_FIRST).limit(min(limit, PAGE_MAX))
    if batch_id is None and job_id is None:
        page = page.where(is_at_hand(session, Job.tenant_id))
    if outcome is not None or verdict is not None:
        page = page.join(Standing, Standing.analysis_id == Job.analysis_id)
        page = page.where(is_at_hand(session, Standing.tenant_id))
    if outcome is not None:
        page = page.where(Standing.outcome == outcome)
    if verdict is not None:
        page = page.where(Standing.verdict == verdict)
    if batch_id is not None:
        page = page.where(Job.batch_id == batch_id)
    if job_id is not None:
        page = page.where(Job.id == job_id)
    if before is not None:
        page = page.where(tuple_(Job.create_time, Job.id) < before)
    # The page first, and then its details: else a thousand jobs of a batch are joined to show fifty.
    chosen = page.cte("page").prefix_with("MATERIALIZED", dialect="postgresql")
    wanted = _select_lines().join(chosen, chosen.c.id == Job.id)
    return [ResultLine(**row) for row in session.execute(wanted).mappings()]


_NEWEST_FIRST = (Job.create_time.desc(), Job.id.desc())


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
        .outerjoin(PolicyVersion, PolicyVersion.id == Standing.policy_id)
        .order_by(*_NEWEST_FIRST)
    )
