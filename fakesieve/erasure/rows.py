"""Removing a video's rows from every table, and saying how many there were."""

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, func, or_, select, text
from sqlalchemy.orm import Session

from fakesieve.erasure.plan import ErasurePlan
from fakesieve.records.analysis_tables import Analysis, FaceTrack, FrameScore, PatchMap, Segment, Verdict
from fakesieve.records.idempotency import IdempotentAnswer
from fakesieve.records.jobs import Attempt, Job, Outbox, Shard, Usage
from fakesieve.records.review_notes import ReviewNote
from fakesieve.records.reviews import KnownAnalysis, ReviewDecision, ReviewItem, TrackDecision
from fakesieve.records.standings import Standing
from fakesieve.records.table import Base
from fakesieve.records.tags import VideoTag
from fakesieve.records.uploads import Upload
from fakesieve.records.videos import Source, Video
from fakesieve.records.webhooks import Event

# Tables that leave with their analysis or their job, by the column that leads there.
BY_ANALYSIS = (
    FaceTrack, FrameScore, PatchMap, Segment, Verdict, Standing, ReviewItem, ReviewDecision, ReviewNote,
    KnownAnalysis,
)  # fmt: skip
BY_JOB = (Shard, Attempt, Outbox)
BY_VIDEO = (Source, VideoTag)
KEPT_TABLES = {
    Usage.__tablename__: "what was billed: ids of the job and the analysis, and the length of the video",
    "audit_log": "who did what: ids alone",
    "erasure": "this receipt",
}
"""What stays, and why; nothing of it says what the video shows or where it came from."""
_PLAIN = {"synchronize_session": False}


def clear_rows(session: Session, video_id: str, plan: ErasurePlan) -> dict[str, int]:
    """Remove all rows of a video; return how many each table had. Tables that had none are left out.

    Done a second time it finds nothing and removes nothing.
    """
    analyses, jobs = plan.analysis_ids, plan.job_ids
    counts = {table.__tablename__: _count(session, table, "analysis_id", analyses) for table in BY_ANALYSIS}
    counts |= {table.__tablename__: _count(session, table, "job_id", jobs) for table in BY_JOB}
    counts |= {table.__tablename__: _count(session, table, "video_id", [video_id]) for table in BY_VIDEO}
    counts[TrackDecision.__tablename__] = _count(session, TrackDecision, "analysis_id", analyses)
    counts["analysis"] = _count(session, Analysis, "video_id", [video_id])
    counts["event"] = _clear_events(session, [video_id, *analyses, *jobs])
    counts["idempotent_answer"] = _clear_answers(session, [video_id, *analyses, *jobs, *plan.marks])
    counts["upload"] = _clear_uploads(session, plan)
    counts["job"] = _clear(session, Job, "id", jobs)
    counts["video"] = _clear(session, Video, "id", [video_id])
    return {name: rows for name, rows in sorted(counts.items()) if rows}


def count_kept(session: Session, plan: ErasurePlan) -> Mapping[str, int]:
    """Return how many rows stay for the sake of bills."""
    return {Usage.__tablename__: _count(session, Usage, "job_id", plan.job_ids)}


def _count(session: Session, table: type[Base], column: str, values: Sequence[str]) -> int:
    wanted = select(func.count()).select_from(table).where(table.__table__.c[column].in_(values))
    return session.execute(wanted).scalar_one()


def _clear(session: Session, table: type[Base], column: str, values: Sequence[str]) -> int:
    place = table.__table__.c[column]
    gone = delete(table).where(place.in_(values)).returning(place)
    return len(session.execute(gone, execution_options=_PLAIN).all())


def _clear_events(session: Session, ids: Sequence[str]) -> int:
    """Remove events that name one of the ids, with the log of their deliveries."""
    named = [Event.data[key].astext.in_(ids) for key in ("video_id", "analysis_id", "job_id")]
    gone = delete(Event).where(or_(*named)).returning(Event.id)
    return len(session.execute(gone, execution_options=_PLAIN).all())


def _clear_answers(session: Session, ids: Sequence[str]) -> int:
    """Remove kept answers in which one of the ids, or a hash, stands."""
    holds = text("EXISTS (SELECT FROM unnest(cast(:ids AS text[])) AS id WHERE"
                 " position(convert_to(id, 'UTF8') IN idempotent_answer.body) > 0)")  # fmt: skip
    gone = delete(IdempotentAnswer).where(holds).returning(IdempotentAnswer.key)
    return len(session.execute(gone, {"ids": list(ids)}, execution_options=_PLAIN).all())


def _clear_uploads(session: Session, plan: ErasurePlan) -> int:
    keys = [ref.key for ref in plan.held]
    gone = delete(Upload).where(Upload.key.in_(keys)).returning(Upload.id)
    return len(session.execute(gone, execution_options=_PLAIN).all())
