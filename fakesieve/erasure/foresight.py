"""What a retention class erases and when, told before it is set, given to a video or removed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from fakesieve.erasure.retention import is_begun
from fakesieve.records.erasure import DEFAULT_CLASS, RetentionClass
from fakesieve.records.videos import Video


@dataclass(frozen=True)
class Reach:
    """What a time to keep does to the videos of a class.

    Of ``videos`` a legal hold keeps ``held``, and ``due`` are erased by the next sweep. ``next_end`` is when
    the first of the others is over; None where none ever is.
    """

    videos: int
    held: int
    due: int
    next_end: datetime | None


def foresee(session: Session, name: str, keep_s: int | None) -> Reach:
    """Return what becomes of the videos of a class if they are kept so long; None is without an end.

    The class ``default`` holds those without one. Deleted videos have a time of their own and do not count.
    """
    free = Video.hold_time.is_(None)
    over = _is_over(keep_s)
    counted = select(
        func.count().label("videos"),
        func.count().filter(~free).label("held"),
        func.count().filter(free & over).label("due"),
        func.min(Video.create_time).filter(free & ~over).label("first"),
    )
    row = session.execute(counted.where(*_of_class(name))).one()
    ends = None if keep_s is None or row.first is None else row.first + timedelta(seconds=keep_s)
    return Reach(row.videos, row.held, row.due, ends)


def list_due(session: Session, name: str, keep_s: int | None, limit: int) -> Sequence[str]:
    """Return ids of videos that the next sweep would erase, the oldest first."""
    wanted = select(Video.id).where(*_of_class(name), Video.hold_time.is_(None), _is_over(keep_s))
    return session.scalars(wanted.order_by(Video.create_time, Video.id).limit(limit)).all()


def count_by_class(session: Session) -> Mapping[str, int]:
    """Return how many videos each class holds; those without one count for ``default``."""
    name = func.coalesce(Video.retention_class, DEFAULT_CLASS)
    rows = session.execute(select(name, func.count()).where(*_living()).group_by(name))
    return {row[0]: row[1] for row in rows}


def find_keep(session: Session, tenant_id: str, name: str | None) -> int | None:
    """Return how many seconds a class keeps videos; None where it is not there, which is without an end."""
    found = session.get(RetentionClass, (tenant_id, name or DEFAULT_CLASS))
    return None if found is None else found.keep_s


def _of_class(name: str) -> tuple[ColumnElement[bool], ...]:
    return (*_living(), func.coalesce(Video.retention_class, DEFAULT_CLASS) == name)


def _living() -> tuple[ColumnElement[bool], ...]:
    return (Video.delete_time.is_(None), ~is_begun())


def _is_over(keep_s: int | None) -> ColumnElement[bool]:
    if keep_s is None:
        return Video.create_time.is_(None)
    return Video.create_time < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, keep_s * 1.0)
