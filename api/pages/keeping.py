"""Until when a class keeps one video, and what is erased at once when its hold or its deletion ends."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from api.pages.retention_words import write_keep
from api.pages.templates import format_time
from fakesieve.erasure.foresight import find_keep
from fakesieve.records.videos import Video


@dataclass(frozen=True)
class Keeping:
    """What a class does with one video. ``end`` is None where nothing ends it, and leaves holds aside."""

    words: str
    end: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether the time is over now."""
        return self.end is not None and self.end <= datetime.now(UTC)


def find_keeping(session: Session, video: Video, name: str | None) -> Keeping:
    """Return what a class, or None for the default one, does with a video."""
    keep_s = find_keep(session, video.tenant_id, name)
    whose = f"the class {name}" if name else "the default class"
    if keep_s is None:
        return Keeping("no class: nothing ends it", None)
    end = video.create_time + timedelta(seconds=keep_s)
    return Keeping(f"{whose}, {write_keep(keep_s)}: until {format_time(end)}", end)


def is_due_unheld(session: Session, video: Video) -> bool:
    """Whether a legal hold alone keeps a video: without it the next sweep erases it.

    A deleted one goes when it cannot come back any more, any other when the time of its class is over.
    """
    if video.hold_time is None:
        return False
    if video.purge_time is not None:
        return video.purge_time <= datetime.now(UTC)
    return find_keeping(session, video, video.retention_class).is_over


def is_due_back(session: Session, video: Video) -> bool:
    """Whether a deleted video is erased by the next sweep once it is back: the time of its class is over."""
    is_free = video.delete_time is not None and video.hold_time is None
    return is_free and find_keeping(session, video, video.retention_class).is_over
