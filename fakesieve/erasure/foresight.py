"""What a retention class erases and when, told before it is set, given to a video or removed.

A class may hold a million videos, mostly the one of those without a class. So nothing here reads a whole
class: each statement can be answered by the index over tenant, class and age from one end, and stops at a
bound. Held videos alone are passed over without one: they must not hide what is erased behind them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from fakesieve.erasure.retention import list_classes
from fakesieve.records.audit import AuditEntry
from fakesieve.records.erasure import DEFAULT_CLASS, RetentionClass
from fakesieve.records.videos import Video

LISTED_MAX = 10_000
LISTED_IN_ALL_MAX = 100_000
"""So many videos are counted for a list of classes, shared out evenly where there are many: a tenant may have
any number of classes, and each video that is counted is read.
"""
FORESEEN_MAX = 100_000
"""So many videos of a class are counted before it changes. Of more it is said that there are at least so
many.

Measured on 400,000 videos in the role of the API, beside other work: the list of two classes took 0.2 s, and
what a change erases up to 0.7 s, where the planner read the table for a quarter of it. To group the table by
class took 0.5 to 1.3 s, and takes longer with each video.
"""
_WAYS_IN = ("video.classified", "video.hold_lifted", "video.undeleted")
# The order of the index. Within a branch the class is the same, which the planner does not know of NULL.
_BY_AGE = (Video.retention_class, Video.create_time)


@dataclass(frozen=True)
class Count:
    """How many videos there are; where not ``is_whole``, at least so many."""

    videos: int
    is_whole: bool

    @property
    def is_none(self) -> bool:
        """Whether there is certainly no video: none was found, and the count stopped at no bound."""
        return self.is_whole and not self.videos


@dataclass(frozen=True)
class Reach:
    """What a time to keep does to the videos of a class, as of one instant.

    Of ``videos`` those over the time are ``due`` for the next sweep or ``held`` back by a legal hold.
    ``next_end`` is when the first of the others is over; None where none ever is.
    """

    videos: Count
    held: Count
    due: Count
    next_end: datetime | None


@dataclass(frozen=True)
class Mark:
    """An instant by the database's clock, as the sweep's, and the last entry of the audit log before it."""

    time: datetime
    sequence: int


def mark_now(session: Session, tenant_id: str) -> Mark:
    """Return the mark of the transaction. What is foreseen as of it is to be counted after this."""
    newest = select(func.coalesce(func.max(AuditEntry.sequence), 0)).where(AuditEntry.tenant_id == tenant_id)
    row = session.execute(select(func.now().label("time"), newest.scalar_subquery().label("last"))).one()
    return Mark(row.time, row.last)


def has_joined(session: Session, tenant_id: str, name: str, keep_s: int | None, mark: Mark) -> bool:
    """Return whether a video is due as of a mark that was not when the mark was made.

    A count cannot tell: one may have come and another gone. Nothing gets older than it was at the mark, so a
    video comes in only by being classified, freed of its hold or brought back, and each such act is in the
    audit log in the order in which it took hold. Of a class that was removed the log does not name the
    videos that the default one got; there any removal counts.
    """
    if keep_s is None:
        return False
    acts = select(AuditEntry.subject).where(
        AuditEntry.tenant_id == tenant_id, AuditEntry.sequence > mark.sequence
    )
    if name == DEFAULT_CLASS:
        removed = acts.where(AuditEntry.action == "retention.removed").limit(1)
        if session.scalar(removed) is not None:
            return True
    begin, touched = mark.time - timedelta(seconds=keep_s), acts.where(AuditEntry.action.in_(_WAYS_IN))
    return any(
        session.scalar(
            select(Video.id)
            .where(branch, Video.hold_time.is_(None), Video.create_time < begin, Video.id.in_(touched))
            .limit(1)
        )
        for branch in _list_branches(session, name)
    )


def foresee(session: Session, name: str, keep_s: int | None, at: datetime) -> Reach:
    """Return what becomes of the videos of a class if they are kept so long; None is without an end.

    The class ``default`` holds those without one and those of classes that are being removed. Deleted videos
    have a time of their own and do not count.
    """
    branches = _list_branches(session, name)
    videos = _sum_up([_count(session, each, FORESEEN_MAX) for each in branches], FORESEEN_MAX)
    if keep_s is None:
        nothing = Count(0, is_whole=True)
        return Reach(videos, nothing, nothing, None)
    begin, held, due, firsts = at - timedelta(seconds=keep_s), list[Count](), list[int](), list[datetime]()
    for branch in branches:
        over = _count_over(session, branch & (Video.create_time < begin))
        held, due = [*held, over[0]], [*due, over[1]]
        later = select(Video.create_time).where(branch, Video.hold_time.is_(None), Video.create_time >= begin)
        firsts += session.scalars(later.order_by(*_BY_AGE).limit(1)).all()
    first = min(firsts, default=None)
    end = None if first is None else first + timedelta(seconds=keep_s)
    spared = _sum_up([each.videos for each in held], FORESEEN_MAX)
    is_whole = spared.is_whole and all(each.is_whole for each in held)
    return Reach(videos, Count(spared.videos, is_whole), _sum_up(due, FORESEEN_MAX), end)


def list_due(session: Session, name: str, keep_s: int | None, at: datetime, limit: int) -> Sequence[str]:
    """Return ids of videos that are due for the next sweep as of an instant, the oldest first."""
    if keep_s is None:
        return ()
    found = list[tuple[datetime, str]]()
    for branch in _list_branches(session, name):
        wanted = select(Video.create_time, Video.id).where(
            branch, Video.hold_time.is_(None), Video.create_time < at - timedelta(seconds=keep_s)
        )
        rows = session.execute(wanted.order_by(*_BY_AGE, Video.id).limit(limit))
        found += [(row.create_time, row.id) for row in rows]
    return [video_id for _, video_id in sorted(set(found))[:limit]]


def count_by_class(session: Session) -> Mapping[str, Count]:
    """Return how many videos each class keeps, and ``default`` also where it is not there.

    Of one that is being removed it is 0. The more classes there are, the fewer videos of each are counted.
    """
    lines = list_classes(session)
    names = {DEFAULT_CLASS, *(line.name for line in lines if line.remove_time is None)}
    most = _share_out(lines)
    counts = dict.fromkeys((line.name for line in lines), Count(0, is_whole=True))
    for name in names:
        found = [_count(session, each, most) for each in _list_branches(session, name)]
        counts[name] = _sum_up(found, most)
    return counts


def count_leaving(session: Session) -> Mapping[str, Count]:
    """Return how many videos, deleted ones too, still name each class that is being removed."""
    lines = list_classes(session)
    most = _share_out(lines)
    return {
        line.name: _sum_up([_count(session, Video.retention_class == line.name, most)], most)
        for line in lines
        if line.remove_time is not None
    }


def find_keep(session: Session, tenant_id: str, name: str | None) -> int | None:
    """Return how many seconds a class keeps videos; None where it is not there, which is without an end.

    One that is being removed keeps none.
    """
    found = session.get(RetentionClass, (tenant_id, name or DEFAULT_CLASS), populate_existing=True)
    return None if found is None or found.remove_time is not None else found.keep_s


def _share_out(lines: Sequence[RetentionClass]) -> int:
    names = {DEFAULT_CLASS, *(line.name for line in lines)}
    return max(1, min(LISTED_MAX, LISTED_IN_ALL_MAX // len(names)))


def _list_branches(session: Session, name: str) -> list[ColumnElement[bool]]:
    """Return conditions that share out what a class keeps, each answered by one walk of the index."""
    living = Video.delete_time.is_(None)  # an erasure that begins sets it too
    if name != DEFAULT_CLASS:
        return [(Video.retention_class == name) & living]
    removed = select(RetentionClass.name).where(RetentionClass.remove_time.is_not(None))
    names = dict.fromkeys((DEFAULT_CLASS, *session.scalars(removed)))
    # In this order: one that leaves its class meanwhile is met twice and not missed.
    named = [(Video.retention_class == each) & living for each in names]
    return [*named, Video.retention_class.is_(None) & living]


def _count(session: Session, branch: ColumnElement[bool], most: int) -> int:
    # In the order of the index: without one, the planner may look for a class of few in the whole table.
    found = select(Video.id).where(branch).order_by(*_BY_AGE).limit(most + 1).subquery()
    return session.scalars(select(func.count()).select_from(found)).one()


def _count_over(session: Session, over: ColumnElement[bool]) -> tuple[Count, int]:
    """Return how many videos that fit are held, and how many are free, at most one more than the bound.

    Held ones are looked for among the oldest alone. Free ones have a bound of their own: older ones that are
    held would otherwise use it up, and what is erased would be told as nothing.
    """
    is_free = Video.hold_time.is_(None)
    oldest = select(is_free.label("is_free")).where(over).order_by(*_BY_AGE)
    found = oldest.limit(FORESEEN_MAX + 1).subquery()
    counted = select(func.count().label("all"), func.count().filter(found.c.is_free).label("free"))
    row = session.execute(counted.select_from(found)).one()
    is_whole = row.all <= FORESEEN_MAX
    free = row.free if is_whole else _count(session, over & is_free, FORESEEN_MAX)
    return Count(row.all - row.free, is_whole), free


def _sum_up(counts: Sequence[int], most: int) -> Count:
    total = sum(counts)
    return Count(min(total, most), is_whole=total <= most)
