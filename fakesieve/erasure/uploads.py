"""Removing uploads of which nothing has come: no video knows of them, so no retention class does either."""

from datetime import timedelta

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from fakesieve.database import Database
from fakesieve.erasure.objects import remove_all
from fakesieve.jobs.states import JobState
from fakesieve.objects import ObjectStore, VideoRef
from fakesieve.records.jobs import Job
from fakesieve.records.uploads import Upload
from fakesieve.records.videos import Source

RETRY_STAYS = timedelta(days=7)
"""How long the upload of a job that failed stays, so that the job can be retried."""
AGAIN = timedelta(hours=1)
_PLAIN = {"synchronize_session": False}


def purge_uploads(database: Database, objects: ObjectStore, limit: int) -> int:
    """Remove uploads of all tenants without a use, with their objects; return how many rows it has settled.

    What was cut off is done again: an upload is withdrawn, its object removed, then its row. What the store
    does not let go is tried again later, behind the others.
    """
    with database.transaction(tenant_id=None) as session:
        settled = _settle(session, limit)
        withdrawn = _withdraw(session, limit)
    left = set(remove_all(objects, [ref for _, ref in withdrawn]))
    if withdrawn:
        gone = delete(Upload).where(Upload.id.in_([name for name, ref in withdrawn if ref not in left]))
        later = update(Upload).where(Upload.id.in_([name for name, ref in withdrawn if ref in left]))
        with database.transaction(tenant_id=None) as session:
            session.execute(gone, execution_options=_PLAIN)
            session.execute(later.values(purge_time=func.now() + AGAIN), execution_options=_PLAIN)
    return settled + len(withdrawn) - len(left)


def _settle(session: Session, limit: int) -> int:
    """Leave uploads that have become a video to the retention of videos."""
    due = select(Upload.id).where(_is_due(), _has_video(), Upload.is_withdrawn.is_(False)).limit(limit)
    left = update(Upload).where(Upload.id.in_(due)).values(purge_time=None).returning(Upload.id)
    return len(session.execute(left, execution_options=_PLAIN).all())


def _withdraw(session: Session, limit: int) -> list[tuple[str, VideoRef]]:
    stray = (
        select(Upload.id)
        .where(_is_due(), or_(Upload.is_withdrawn, and_(~_has_video(), ~_has_job())))
        .order_by(Upload.purge_time)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = update(Upload).where(Upload.id.in_(stray)).values(is_withdrawn=True)
    rows = session.execute(taken.returning(Upload.id, Upload.bucket, Upload.key), execution_options=_PLAIN)
    return [(row.id, VideoRef(row.bucket, row.key)) for row in rows]


def _is_due() -> ColumnElement[bool]:
    return Upload.purge_time <= func.now()


def _has_video() -> ColumnElement[bool]:
    return exists().where(
        Source.tenant_id == Upload.tenant_id, Source.bucket == Upload.bucket, Source.key == Upload.key
    )


def _has_job() -> ColumnElement[bool]:
    """Whether a job that names the object may still read it."""
    is_live = Job.state.in_([state for state in JobState if not state.is_terminal])
    return exists().where(
        Job.tenant_id == Upload.tenant_id,
        Job.source_key == Upload.key,
        Job.source_bucket == Upload.bucket,
        or_(is_live, Job.end_time > func.now() - RETRY_STAYS),
    )
