"""Labels that a tenant puts on its videos: a name and a value each, to filter results by."""

from collections.abc import Mapping, Sequence

from sqlalchemy import CheckConstraint, ForeignKey, Index, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from fakesieve.records.table import Base, Id, TenantOwned
from fakesieve.values.videos import TAG_NAME_LENGTH_MAX, TAG_VALUE_LENGTH_MAX, TAGS_MAX


class VideoTag(TenantOwned, Base):
    """One label of a video.

    Rows of their own and not one JSON value: behind row-level security the database uses an index for
    equality, and none for what looks into JSON.
    """

    __tablename__ = "video_tag"
    __table_args__ = (
        CheckConstraint(f"length(name) BETWEEN 1 AND {TAG_NAME_LENGTH_MAX}", name="name"),
        CheckConstraint(f"length(value) <= {TAG_VALUE_LENGTH_MAX}", name="value"),
        Index(None, "tenant_id", "name", "value", "video_id"),
    )

    video_id: Mapped[Id] = mapped_column(ForeignKey("video.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


def set_tags(session: Session, tenant_id: str, video_id: str, tags: Mapping[str, str]) -> None:
    """Replace the labels of a video. Raises ValueError for more than 50, or for texts that are too long."""
    if len(tags) > TAGS_MAX:
        raise ValueError(f"a video has at most {TAGS_MAX} tags, {len(tags)} were given")
    for name, value in tags.items():
        if not 1 <= len(name) <= TAG_NAME_LENGTH_MAX or len(value) > TAG_VALUE_LENGTH_MAX:
            raise ValueError(
                f"a tag has a name of 1 to {TAG_NAME_LENGTH_MAX} letters "
                f"and a value of up to {TAG_VALUE_LENGTH_MAX}"
            )
    session.execute(delete(VideoTag).where(VideoTag.video_id == video_id))
    rows = [
        {"tenant_id": tenant_id, "video_id": video_id, "name": name, "value": value}
        for name, value in tags.items()
    ]
    if rows:
        session.execute(insert(VideoTag), rows)


def read_tags(session: Session, video_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the labels of videos by the id of the video; one without labels is not in the answer."""
    found: dict[str, dict[str, str]] = {}
    rows = session.execute(
        select(VideoTag.video_id, VideoTag.name, VideoTag.value)
        .where(VideoTag.video_id.in_(video_ids))
        .order_by(VideoTag.video_id, VideoTag.name)
    )
    for video_id, name, value in rows:
        found.setdefault(video_id, {})[name] = value
    return found
