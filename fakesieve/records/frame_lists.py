"""Faces of an analysis as lists show them: tracks with their ids, and scored frames page by page."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import literal, select, tuple_
from sqlalchemy.orm import Session
from sqlalchemy.types import BigInteger, SmallInteger

from engine.results import FrameScore as FrameRecord
from fakesieve.records.analysis_rows import FRAME_COLUMNS, read_frame
from fakesieve.records.analysis_tables import FaceTrack, FrameScore


@dataclass(frozen=True)
class FrameLine:
    """One face in one frame, and the number of its track."""

    ordinal: int
    frame: FrameRecord


def list_frames(
    session: Session,
    analysis_id: str,
    create_time: datetime,
    *,
    ordinal: int | None = None,
    after: tuple[int, int] | None = None,
    limit: int = 50,
) -> list[FrameLine]:
    """Return faces of an analysis by track, then by time; empty where they have aged out.

    Args:
        create_time: of the analysis; it tells the database in which partition to look.
        ordinal: only faces of this track.
        after: track and time of the last line of the page before.
        limit: lines of a page.
    """
    wanted = (
        select(*FRAME_COLUMNS)
        .where(FrameScore.analysis_id == analysis_id, FrameScore.analysis_time == create_time)
        .order_by(FrameScore.ordinal, FrameScore.pts_us)
        .limit(limit)
    )
    if ordinal is not None:
        wanted = wanted.where(FrameScore.ordinal == ordinal)
    if after is not None:
        place = tuple_(literal(after[0], SmallInteger()), literal(after[1], BigInteger()))
        wanted = wanted.where(tuple_(FrameScore.ordinal, FrameScore.pts_us) > place)
    return [FrameLine(row.ordinal, read_frame(row)) for row in session.execute(wanted)]


def find_track_ids(session: Session, analysis_id: str) -> dict[int, str]:
    """Return the ids of an analysis's tracks by their number."""
    rows = session.execute(
        select(FaceTrack.ordinal, FaceTrack.id).where(FaceTrack.analysis_id == analysis_id)
    )
    return {row.ordinal: row.id for row in rows}
