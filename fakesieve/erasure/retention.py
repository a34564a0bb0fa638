"""How long videos are kept: classes, deletion that can be taken back, and legal holds, which win."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, Subquery, case, exists, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.erasure import DEFAULT_CLASS, Erasure, RetentionClass
from fakesieve.records.videos import Video
from fakesieve.values.erasure import KEEP_S_MAX, ErasureCause, ErasureState

PURGE_S = 7 * 86_400
PURGE_S_MAX = 90 * 86_400
# The first half of the lock on what the classes of a tenant are. Taken before any row of a video is locked.
_LOCK = 0x726574
_Wanted = TypeVar("_Wanted", bound=Select[*tuple[Any, ...]])


@dataclass(frozen=True)
class DueErasure:
    """A video that is to be erased now, and why."""

    tenant_id: str
    video_id: str
    cause: ErasureCause


@dataclass(frozen=True)
class Kept:
    """The class that keeps a video, and when its time is over.

    ``class_name`` is None where that is the default one, as for a video whose class is being removed.
    ``end`` is None where nothing ends it: there is no such class, or the video is on hold.
    """

    class_name: str | None
    end: datetime | None


def lock_classes(session: Session, tenant_id: str) -> None:
    """Let nobody else change classes, or what any of them keeps, until the transaction ends.

    Whoever counts first what a change erases takes it before the count; the change itself takes it too.
    """
    session.execute(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(tenant_id))))


def share_classes(session: Session, tenant_id: str) -> None:
    """Let nobody change classes, or what any of them keeps, until the transaction ends; many may at once."""
    session.execute(select(func.pg_advisory_xact_lock_shared(_LOCK, func.hashtext(tenant_id))))


def lock_video(session: Session, video_id: str) -> Video:
    """Return a video whose row nobody else changes until the transaction ends; NOT_FOUND without one.

    Enough for what takes a video away from its class or spares it: no count of what a change of classes
    erases gets larger by it, so it waits for no such change.
    """
    wanted = select(Video).where(Video.id == video_id).with_for_update()
    video = session.scalar(wanted, execution_options={"populate_existing": True})
    if video is None:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no video {video_id}")
    return video


def lock_video_and_classes(session: Session, video_id: str) -> Video:
    """Return a video as ``lock_video`` does, while its tenant's classes and what they keep stay as they are.

    For what may bring a video among those that a class erases, and for what a class is asked about. Waits
    for a change of classes that is being made, and holds the next one back.
    """
    hold = func.pg_advisory_xact_lock_shared(_LOCK, func.hashtext(Video.tenant_id))
    session.execute(select(hold).where(Video.id == video_id))
    return lock_video(session, video_id)


def check_hold(video: Video) -> None:
    """Raise RequestRefused (LEGAL_HOLD) for a video that must not be deleted."""
    if video.hold_time is not None:
        raise RequestRefused(Reason.LEGAL_HOLD, f"{video.id} is under a legal hold")


def check_there(video: Video) -> None:
    """Raise RequestRefused (STATE_CONFLICT) for a video that is deleted or being erased."""
    if video.delete_time is not None:  # an erasure that begins sets it too
        seen = f"{video.id} is deleted or being erased, so that no class keeps it"
        raise RequestRefused(Reason.STATE_CONFLICT, seen, "bring it back first, where that is still possible")


def delete_video(session: Session, video_id: str, actor: str, purge_s: int = PURGE_S) -> Video:
    """Hide a video now and erase it later; until then it can be taken back.

    A video that is deleted already keeps its time. Raises RequestRefused (LEGAL_HOLD, NOT_FOUND).
    """
    if not 0 <= purge_s <= PURGE_S_MAX:
        raise ValueError(f"a deleted video is purged within {PURGE_S_MAX // 86_400} days")
    video = lock_video(session, video_id)
    check_hold(video)
    if video.delete_time is None:
        video.delete_time = func.now()
        video.purge_time = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, float(purge_s))
        session.flush()
        _note(session, video, actor, "video.deleted")
    session.refresh(video)
    return video


def undelete_video(session: Session, video_id: str, actor: str) -> Video:
    """Bring a deleted video back. Raises RequestRefused (STATE_CONFLICT) once its erasure has begun."""
    video = lock_video_and_classes(session, video_id)
    erasing = select(literal(1)).where(Erasure.video_id == video_id, Erasure.state == ErasureState.RUNNING)
    if video.delete_time is None or session.scalar(erasing) is not None:
        raise RequestRefused(Reason.STATE_CONFLICT, f"{video_id} is not a deleted video that can come back")
    video.delete_time = video.purge_time = None
    session.flush()
    _note(session, video, actor, "video.undeleted")
    return video


def hold_video(session: Session, video_id: str, actor: str, *, is_held: bool) -> Video:
    """Put a video under a legal hold, or lift it. A video whose erasure has begun cannot be held any more.

    A hold waits for no change of classes: it may be what keeps the video from one.
    """
    video = lock_video(session, video_id) if is_held else lock_video_and_classes(session, video_id)
    erasing = select(literal(1)).where(Erasure.video_id == video_id, Erasure.state == ErasureState.RUNNING)
    if is_held and session.scalar(erasing) is not None:
        raise RequestRefused(Reason.STATE_CONFLICT, f"{video_id} is being erased")
    if (video.hold_time is not None) is not is_held:
        video.hold_time = func.now() if is_held else None
        session.flush()
        _note(session, video, actor, "video.held" if is_held else "video.hold_lifted")
    session.refresh(video)
    return video


def classify_video(session: Session, video_id: str, actor: str, name: str | None) -> Video:
    """Put a video into a retention class, or into none.

    Raises RequestRefused (NOT_FOUND) for an unknown class or video, and (STATE_CONFLICT) for a class that is
    being removed, or a video that is deleted or being erased.
    """
    video = lock_video_and_classes(session, video_id)
    check_there(video)
    # Held, so that whoever removes the class meanwhile finds this video in it.
    held = {"read": True, "key_share": True}
    if name is not None:
        key = (video.tenant_id, name)
        found = session.get(RetentionClass, key, with_for_update=held, populate_existing=True)
        if found is None:
            raise RequestRefused(Reason.NOT_FOUND, f"there is no retention class {name!r}")
        check_stays(found)
    video.retention_class = name
    session.flush()
    _note(session, video, actor, "video.classified", {"retention_class": name})
    return video


def set_class(session: Session, tenant_id: str, actor: str, name: str, keep_s: int) -> None:
    """Make a retention class or change how long it keeps.

    A shorter time holds for videos that are there already: the next sweep erases what is over it. Raises
    ValueError for what no class can be, and RequestRefused (STATE_CONFLICT) for one that is being removed.
    """
    if not 0 < keep_s <= KEEP_S_MAX:
        raise ValueError("a class keeps videos for some time, at most a hundred years")
    lock_classes(session, tenant_id)
    check_stays(session.get(RetentionClass, (tenant_id, name), populate_existing=True))
    row = insert(RetentionClass).values(tenant_id=tenant_id, name=name, keep_s=keep_s)
    session.execute(
        row.on_conflict_do_update(index_elements=["tenant_id", "name"], set_={"keep_s": row.excluded.keep_s})
    )
    details = {"name": name, "keep_s": keep_s}
    record_audit(
        session, tenant_id=tenant_id, actor=actor, action="retention.set", subject=name, details=details
    )


def check_stays(found: RetentionClass | None) -> None:
    """Raise RequestRefused (STATE_CONFLICT) for a class that is being removed: nothing brings it back.

    Its name is free once its last video has left it. A video that took the class meanwhile would leave it
    as well.
    """
    if found is not None and found.remove_time is not None:
        seen = f"the retention class {found.name!r} is being removed, and its videos leave it"
        raise RequestRefused(Reason.STATE_CONFLICT, seen, "wait until it is not listed any more")


def list_classes(session: Session) -> Sequence[RetentionClass]:
    """Return the classes of the tenant at hand by their names, those that are being removed as well."""
    return session.scalars(select(RetentionClass).order_by(RetentionClass.name)).all()


def find_class(session: Session, tenant_id: str, name: str | None) -> RetentionClass | None:
    """Return the class that keeps videos which were given the one of this name, or none.

    In place of one that is being removed, or is gone, that is the default one; None where there is none.
    """
    for each in dict.fromkeys((name or DEFAULT_CLASS, DEFAULT_CLASS)):
        found = session.get(RetentionClass, (tenant_id, each), populate_existing=True)
        if found is not None and found.remove_time is None:
            return found
    return None


def find_kept(session: Session, videos: Sequence[Video]) -> Mapping[str, Kept]:
    """Return by which classes videos of the tenant at hand are kept, and until when."""
    keeps = {each.name: each.keep_s for each in list_classes(session) if each.remove_time is None}
    found: dict[str, Kept] = {}
    for video in videos:
        name = video.retention_class if video.retention_class in keeps else None
        keep_s = keeps.get(name or DEFAULT_CLASS)
        end = None
        if keep_s is not None and video.hold_time is None:
            end = video.create_time + timedelta(seconds=keep_s)
        found[video.id] = Kept(name, end)
    return found


def find_due(session: Session, limit: int, without: Collection[str] = ()) -> list[DueErasure]:
    """Return videos whose time is over and that nobody holds: deleted ones, and half of them for classes.

    Those whose erasure has begun are not among them: some that cannot be finished would keep out the others.
    Nor are those of the tenants ``without`` which it is wanted.
    """
    wanted = select(Video.tenant_id, Video.id).where(~is_begun()).limit(limit)
    if without:
        wanted = wanted.where(Video.tenant_id.not_in(without))
    purged = _where_due(wanted, ErasureCause.PURGE).order_by(Video.purge_time)
    over = _where_due(wanted, ErasureCause.RETENTION)
    deleted = [DueErasure(row[0], row[1], ErasureCause.PURGE) for row in session.execute(purged)]
    outdated = [DueErasure(row[0], row[1], ErasureCause.RETENTION) for row in session.execute(over)]
    spare = max(limit // 2, limit - len(outdated))
    return [*deleted[:spare], *outdated][:limit]


def check_due(session: Session, video: Video, cause: ErasureCause) -> None:
    """Raise RequestRefused (STATE_CONFLICT) where the time of a locked video is not over.

    Between ``find_due`` and the lock somebody may have brought the video back, or given it or its class more
    time. An erasure that was asked for is always due.
    """
    if cause is ErasureCause.REQUEST:
        return
    if session.scalar(_where_due(select(Video.id).where(Video.id == video.id), cause)) is None:
        raise RequestRefused(Reason.STATE_CONFLICT, f"the time of {video.id} is not over any more")


def _where_due(wanted: _Wanted, cause: ErasureCause) -> _Wanted:
    """Keep of a query over videos those whose time is over and that nobody holds."""
    free = wanted.where(Video.hold_time.is_(None))
    if cause is ErasureCause.PURGE:
        return free.where(Video.purge_time <= func.now())
    keeps = _select_keeps()
    named = func.coalesce(Video.retention_class, DEFAULT_CLASS)
    return free.join(keeps, (keeps.c.tenant_id == Video.tenant_id) & (keeps.c.name == named)).where(
        Video.create_time < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, keeps.c.keep_s * 1.0),
        Video.delete_time.is_(None),
    )


def _select_keeps() -> Subquery:
    """Return for how long each class keeps the videos that name it, one being removed as the default one.

    Null is without an end.
    """
    default = aliased(RetentionClass)
    keep_s = case((RetentionClass.remove_time.is_(None), RetentionClass.keep_s), else_=default.keep_s)
    of_tenant = (default.tenant_id == RetentionClass.tenant_id) & (default.name == DEFAULT_CLASS)
    return (
        select(RetentionClass.tenant_id, RetentionClass.name, keep_s.label("keep_s"))
        .outerjoin(default, of_tenant & default.remove_time.is_(None))
        .subquery()
    )


def is_begun() -> ColumnElement[bool]:
    """Whether the erasure of a video of the query has begun, so that it is no longer kept by anything."""
    return exists().where(Erasure.video_id == Video.id, Erasure.state == ErasureState.RUNNING)


def _note(
    session: Session, video: Video, actor: str, action: str, details: dict[str, object] | None = None
) -> None:
    owner = {"tenant_id": video.tenant_id, "actor": actor, "subject": video.id}
    record_audit(session, **owner, action=action, details=details)
