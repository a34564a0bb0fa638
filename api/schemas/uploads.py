"""Uploads on the wire."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from api.schemas.jobs import Sha256
from api.schemas.shape import Answer, Int, Request, Time


class ContentType(StrEnum):
    """What may be uploaded. Whatever it says, the content decides how a file is read."""

    MP4 = "video/mp4"
    MOV = "video/quicktime"
    WEBM = "video/webm"
    MATROSKA = "video/x-matroska"
    MPEG_TS = "video/mp2t"
    AVI = "video/x-msvideo"
    JPEG = "image/jpeg"
    PNG = "image/png"
    UNKNOWN = "application/octet-stream"


def _trim_name(name: str | None) -> str | None:
    """Return a name without spaces around it; None where nothing of it could be seen."""
    if name is None or not any(letter.isprintable() and not letter.isspace() for letter in name):
        return None
    return name.strip()


class NewUploadBody(Request):
    """A file that is to be uploaded."""

    content_type: ContentType
    size_bytes: Annotated[Int, Field(ge=1, description="Its exact length.")]
    sha256: Annotated[
        Sha256 | None, Field(description="With it the store refuses other bytes than these.")
    ] = None
    name: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=255,
            description="What people call it, without spaces around it; one that shows no letter is none.",
        ),
        AfterValidator(_trim_name),
    ] = None


class UploadState(StrEnum):
    """Where an upload stands. ``expired`` means that no form for it is valid any more."""

    WAITING = "waiting"
    COMPLETE = "complete"
    EXPIRED = "expired"


class FormOut(Answer):
    """Where to post the file: ``multipart/form-data``, these fields first, then the field ``file``."""

    url: str
    fields: dict[str, str]


class UploadOut(Answer):
    """A file on its way. ``form`` is in the answer that makes it, and nowhere else."""

    id: str
    object: Literal["upload"] = "upload"
    state: UploadState
    name: str | None
    content_type: str
    size_bytes: int | None
    size_bytes_max: int
    sha256: str | None
    form: FormOut | None = None
    create_time: Time
    expire_time: Time
    complete_time: Time | None
    purge_time: Annotated[
        Time | None,
        Field(description="When it is removed unless a job names it; null once its video decides that."),
    ]
