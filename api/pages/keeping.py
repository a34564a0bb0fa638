"""Until when a class keeps one video, and what is erased at once when its hold or its deletion ends.

What is over now is told by the clock of the database, by which the sweep erases: that of this host may be
minutes off, and a page would then not say what the next sweep takes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.pages.retention_words import write_keep
from api.pages.templates import format_time
from fakesieve.erasure.retention import find_class
from fakesieve.records.videos import Video


@dataclass(frozen=True)
class Keeping:
    """What a class does with one video, holds aside.

    ``end`` is None where nothing ends it; ``is_over`` says that its time was over when the transaction began.
    """

    words: str
    end: datetime | None
    is_over: bool


def find_keeping(session: Session, video: Video, name: str | None) -> Keeping:
    """Return what a class, or None for the default one, does with a video.

    In place of a class that is being removed it is the default one.
    """
    found = find_class(session, video.tenant_id, name)
    if found is None:
        return Keeping("no class: nothing ends it", None, is_over=False)
    whose = f"the class {name}" if found.name == name else "the default class"
    end = video.create_time + timedelta(seconds=found.keep_s)
    words = f"{whose}, {write_keep(found.keep_s)}: until {format_time(end)}"
    return Keeping(words, end, is_over=end <= _read_clock(session))


def is_due_unheld(session: Session, video: Video) -> bool:
    """Whether a legal hold alone keeps a video: without it the next sweep erases it.

    A deleted one goes when it cannot come back any more, any other when the time of its class is over.
    """
    if video.hold_time is None:
        return False
    if video.purge_time is not None:
        return video.purge_time <= _read_clock(session)
    return find_keeping(session, video, video.retention_class).is_over


def is_due_back(session: Session, video: Video) -> bool:
    """Whether a deleted video is erased by the next sweep once it is back: the time of its class is over."""
    is_free = video.delete_time is not None and video.hold_time is None
    return is_free and find_keeping(session, video, video.retention_class).is_over


def _read_clock(session: Session) -> datetime:
    """Return when the transaction began, by the clock of the database."""
    return session.execute(select(func.now())).scalar_one()
