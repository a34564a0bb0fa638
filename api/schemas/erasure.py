"""Deletion, retention and erasure on the wire."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from api.schemas.shape import Answer, Bool, Int, Request, Time
from fakesieve.values.erasure import KEEP_S_MAX, ErasureCause, ErasureState

ClassName = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9_-]{0,39}$", examples=["default"])]


class EraseBody(Request):
    """What an erasure takes beside what is ours."""

    with_sources: Annotated[
        Bool, Field(description="Also the objects in your own buckets that the video was taken from.")
    ] = False


class ClassifyBody(Request):
    """Which retention class a video is in; null is the default one."""

    retention_class: ClassName | None


class RetentionBody(Request):
    """How long a class keeps videos."""

    keep_s: Annotated[Int, Field(ge=1, le=KEEP_S_MAX)]


class RetentionOut(Answer):
    """A retention class. ``default`` holds for videos without one.

    From ``remove_time`` on it is being removed: the default one keeps its videos, which leave it in steps,
    and it is listed until the last has left. ``keep_s`` is then the longest there is and ends none of them.
    """

    object: Literal["retention_class"] = "retention_class"
    name: str
    keep_s: int
    create_time: Time
    remove_time: Time | None = None


class VideoFateOut(Answer):
    """Whether a video is deleted, held, and what keeps it."""

    object: Literal["video_fate"] = "video_fate"
    id: str
    retention_class: str | None
    hold_time: Time | None
    delete_time: Time | None
    purge_time: Time | None


class ErasureOut(Answer):
    """An erasure; once completed, its receipt. ``stores`` says what was cleared and what stays, and why.

    ``sha256`` is over all that the receipt says, and stands in the audit log too.
    """

    object: Literal["erasure"] = "erasure"
    id: str
    video_id: str
    cause: ErasureCause
    requested_by: str
    state: ErasureState
    stores: dict[str, JsonValue]
    sha256: str | None
    create_time: Time
    end_time: Time | None
