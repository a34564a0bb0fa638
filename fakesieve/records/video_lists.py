"""Videos as people look at them, and one held still while it is changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import any_, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from fakesieve.records.analysis_tables import Analysis
from fakesieve.records.table import ID_TYPE
from fakesieve.records.videos import Video

PAGE_MAX = 1000


def list_videos(
    session: Session,
    *,
    sha256: str | None = None,
    external_id: str | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> list[Video]:
    """Return the videos of the tenant at hand, newest first.

    Args:
        session: of the tenant.
        sha256: only the video of this content.
        external_id: only videos that the caller has named so.
        before: ``(create_time, id)`` of the last line of the page before.
        limit: lines of a page, at most 1000.
    """
    wanted = select(Video).order_by(Video.create_time.desc(), Video.id.desc()).limit(min(limit, PAGE_MAX))
    wanted = wanted.where(Video.delete_time.is_(None))
    if sha256 is not None:
        wanted = wanted.where(Video.content_sha256 == sha256)
    if external_id is not None:
        wanted = wanted.where(Video.external_id == external_id)
    if before is not None:
        wanted = wanted.where(tuple_(Video.create_time, Video.id) < before)
    return list(session.scalars(wanted))


def list_deleted(session: Session, limit: int) -> list[Video]:
    """Return videos that are deleted and not erased yet, those first whose time is over first."""
    wanted = select(Video).where(Video.purge_time.is_not(None)).order_by(Video.purge_time, Video.id)
    return list(session.scalars(wanted.limit(limit)))


@dataclass(frozen=True)
class Length:
    """The stored lengths of some videos, added up; of ``unknown`` of them none is stored."""

    total_us: int
    unknown: int


def add_lengths(session: Session, video_ids: Sequence[str]) -> Length:
    """Return how long some videos are together."""
    total = func.sum(Video.duration_us)
    missing = func.count().filter(Video.duration_us.is_(None))
    wanted = select(total, missing).where(Video.id == any_(literal(list(video_ids), ARRAY(ID_TYPE))))
    row = session.execute(wanted).one()
    return Length(int(row[0] or 0), int(row[1]))


class AnalysisTime(NamedTuple):
    """An analysis as a place to go to."""

    id: str
    create_time: datetime


def list_analyses_of(session: Session, video_id: str, limit: int) -> list[AnalysisTime]:
    """Return the analyses of a video, newest first."""
    wanted = select(Analysis.id, Analysis.create_time).where(Analysis.video_id == video_id)
    newest = wanted.order_by(Analysis.create_time.desc(), Analysis.id.desc()).limit(limit)
    return [AnalysisTime(*row) for row in session.execute(newest)]


def lock_video(session: Session, video_id: str) -> Video | None:
    """Return a video of the tenant at hand that nobody else changes until the transaction ends."""
    return session.get(Video, video_id, with_for_update=True)
