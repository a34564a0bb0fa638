"""Videos on the wire."""

from typing import Annotated, Literal

from pydantic import Field

from api.schemas.jobs import ExternalId
from api.schemas.shape import Answer, Request, Time
from fakesieve.values.videos import TAG_NAME_LENGTH_MAX, TAG_VALUE_LENGTH_MAX, TAGS_MAX, SourceKind

TagValue = Annotated[str, Field(max_length=TAG_VALUE_LENGTH_MAX)]


class ChangeVideoBody(Request):
    """What a caller may say of a video. What is left out stays; ``tags`` replaces all that there are."""

    external_id: ExternalId | None = None
    tags: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=TAG_NAME_LENGTH_MAX)], TagValue] | None,
        Field(max_length=TAGS_MAX, description="Names and values of the caller's own, to filter results by."),
    ] = None


class VideoSourceOut(Answer):
    """A place where a video was seen."""

    kind: SourceKind
    uri: str
    version_id: str | None
    etag: str | None
    first_seen_time: Time


class VideoOut(Answer):
    """The bytes of a video, once for a tenant however often they were submitted."""

    id: str
    object: Literal["video"] = "video"
    content_sha256: str
    size_bytes: int
    external_id: str | None
    container: str | None
    codec: str | None
    width: int | None
    height: int | None
    duration_us: int | None
    warnings: list[str]
    tags: dict[str, str]
    retention_class: str | None
    hold_time: Annotated[Time | None, Field(description="Since when a legal hold keeps it.")]
    expire_time: Annotated[
        Time | None,
        Field(description="When its class lets it be erased; null without one, and while a hold keeps it."),
    ]
    sources: list[VideoSourceOut] | None = None
    create_time: Time
