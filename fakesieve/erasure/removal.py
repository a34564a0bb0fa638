"""Removing a retention class: it keeps nothing from the request on, and its videos leave it in steps.

What keeps a video does not depend on how far that is: the default class keeps those of a class with a
``remove_time``, whether they still name it or not. So a step may come at any time, be undone or done again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from fakesieve.erasure.retention import lock_classes, share_classes
from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.erasure import RetentionClass
from fakesieve.records.videos import Video
from fakesieve.values.erasure import KEEP_S_MAX

AT_ONCE = 5000
"""Videos that leave a class with the request: a class of fewer is gone with it. Whoever wants one of these
waits until it ends.
"""
STEP_VIDEOS = 1000
"""Videos of any later step.

Measured on two cores, 0.1 ms a video where nothing else ran, and 0.25 ms beside other work (load 6): 290,000
left in 79 s, in steps that took as long at the end as at the beginning.
"""
_PLAIN = {"synchronize_session": False}


@dataclass(frozen=True)
class Step:
    """How many videos have left a class with one step, and whether the class is gone with them."""

    videos: int
    is_gone: bool


def remove_class(session: Session, tenant_id: str, actor: str, name: str) -> bool:
    """Have a class keep nothing from now on; the default one keeps its videos. Return whether it is gone.

    Where it is not, ``free_videos`` is to be called until it is. Removing it once more changes nothing but
    how far that has come. Raises RequestRefused (NOT_FOUND).
    """
    lock_classes(session, tenant_id)
    # The longest time, for a process of the release before: it may keep a video too long, and erases none.
    marked = (
        update(RetentionClass)
        .where(_is_class(tenant_id, name), RetentionClass.remove_time.is_(None))
        .values(remove_time=func.now(), keep_s=KEEP_S_MAX)
        .returning(RetentionClass.name)
    )
    if session.scalar(marked) is not None:
        record_audit(session, tenant_id=tenant_id, actor=actor, action="retention.removed", subject=name)
    elif session.scalar(select(RetentionClass.name).where(_is_class(tenant_id, name))) is None:
        raise RequestRefused(Reason.NOT_FOUND, f"there is no retention class {name!r}")
    return free_videos(session, tenant_id, name, AT_ONCE).is_gone


def free_videos(session: Session, tenant_id: str, name: str, most: int) -> Step:
    """Take up to ``most`` videos out of a class that is being removed; it goes with the last of them.

    Those that somebody else is at are left to a later step, and so is the class where another step of it is
    under way: nobody waits for a step longer than it takes, and a step for a lock of a change of classes
    alone, which counts on the videos staying where they are.
    """
    share_classes(session, tenant_id)
    is_class = _is_class(tenant_id, name) & RetentionClass.remove_time.is_not(None)
    # Held to the end: a class that was made anew under the name is another one.
    held = select(RetentionClass.name).where(is_class).with_for_update(skip_locked=True)
    if session.scalar(held) is None:
        return Step(0, is_gone=session.scalar(select(RetentionClass.name).where(is_class)) is None)
    is_in = (Video.tenant_id == tenant_id) & (Video.retention_class == name)
    # In the order of the index: what the planner knows of the class is what it was before the steps.
    named = select(Video.id).where(is_in).order_by(Video.retention_class, Video.create_time)
    some = named.limit(most).with_for_update(skip_locked=True, key_share=True).cte("some")
    freed = update(Video).where(Video.id == some.c.id).values(retention_class=None).returning(Video.id)
    count = len(session.scalars(freed, execution_options=_PLAIN).all())
    if count == most or session.scalar(named.limit(1)) is not None:
        return Step(count, is_gone=False)
    session.execute(delete(RetentionClass).where(is_class))
    return Step(count, is_gone=True)


def list_removals(session: Session) -> Sequence[tuple[str, str]]:
    """Return tenants and names of classes that are being removed and have videos yet, the earliest first."""
    wanted = select(RetentionClass.tenant_id, RetentionClass.name).where(
        RetentionClass.remove_time.is_not(None)
    )
    return [(row[0], row[1]) for row in session.execute(wanted.order_by(RetentionClass.remove_time))]


def _is_class(tenant_id: str, name: str) -> ColumnElement[bool]:
    return (RetentionClass.tenant_id == tenant_id) & (RetentionClass.name == name)
