"""Videos by their content, one row per tenant, and the places where they were seen."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    Text,
    UniqueConstraint,
    and_,
    case,
    func,
    literal,
    literal_column,
    null,
    select,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from fakesieve.ids import IdPrefix
from fakesieve.objects import VideoRef
from fakesieve.records.audit import record_audit
from fakesieve.records.erasure import Erasure
from fakesieve.records.table import (
    Base,
    CreateTime,
    Id,
    JsonObject,
    TenantOwned,
    choice,
    public_id,
    tenant_key,
)
from fakesieve.values.erasure import ErasureState
from fakesieve.values.videos import SourceKind


def _from_media(name: str, sql_type: str) -> Computed:
    return Computed(f"(media ->> '{name}')::{sql_type}", persisted=True)


class Video(TenantOwned, CreateTime, Base):
    """The bytes of a video. ``media`` is what probing has said; the columns below repeat its parts.

    A video with a ``delete_time`` is hidden from lists and reads, and erased at its ``purge_time``. While
    there is a ``hold_time`` nothing erases it. Without a class the retention class ``default`` holds.
    """

    __tablename__ = "video"
    __table_args__ = (
        tenant_key(),
        UniqueConstraint("tenant_id", "content_sha256"),
        CheckConstraint("content_sha256 ~ '^[0-9a-f]{64}$'", name="content_sha256"),
        CheckConstraint("size_bytes > 0", name="size_bytes"),
        CheckConstraint("(delete_time IS NULL) = (purge_time IS NULL)", name="purge_time"),
        Index(None, "tenant_id", "external_id", postgresql_where="external_id IS NOT NULL"),
        Index(None, "tenant_id", "create_time", "id"),
        Index(None, "tenant_id", "retention_class", "create_time"),
        Index(None, "purge_time", postgresql_where="purge_time IS NOT NULL"),
    )

    id: Mapped[Id] = public_id(IdPrefix.VIDEO)
    content_sha256: Mapped[str]
    size_bytes: Mapped[int]
    external_id: Mapped[str | None]
    media: Mapped[JsonObject]
    container: Mapped[str | None] = mapped_column(_from_media("container", "text"))
    codec: Mapped[str | None] = mapped_column(_from_media("codec", "text"))
    width: Mapped[int | None] = mapped_column(_from_media("width", "bigint"))
    height: Mapped[int | None] = mapped_column(_from_media("height", "bigint"))
    duration_us: Mapped[int | None] = mapped_column(_from_media("duration_us", "bigint"))
    retention_class: Mapped[str | None]
    hold_time: Mapped[datetime | None]
    delete_time: Mapped[datetime | None]
    purge_time: Mapped[datetime | None]


class Source(TenantOwned, Base):
    """A place where a video was seen. The same bytes may lie in many."""

    __tablename__ = "source"
    __table_args__ = (
        UniqueConstraint(
            "tenant_id", "bucket", "key", "version_id", "etag", postgresql_nulls_not_distinct=True
        ),
        Index(None, "video_id"),
    )

    id: Mapped[Id] = public_id(IdPrefix.SOURCE)
    video_id: Mapped[Id] = mapped_column(ForeignKey("video.id", ondelete="CASCADE"))
    kind: Mapped[SourceKind] = mapped_column(choice(SourceKind))
    bucket: Mapped[str]
    key: Mapped[str]
    version_id: Mapped[str | None]
    etag: Mapped[str | None]
    size_bytes: Mapped[int | None]
    first_seen_time: Mapped[datetime] = mapped_column(server_default=func.now())


class Sweep(TenantOwned, Base):
    """How far a sweep over a prefix has come: everything last modified before ``watermark`` was submitted."""

    __tablename__ = "sweep"
    __table_args__ = (tenant_key(),)

    tenant_id: Mapped[Id] = mapped_column(primary_key=True)
    bucket: Mapped[str] = mapped_column(primary_key=True)
    prefix: Mapped[str] = mapped_column(primary_key=True)
    watermark: Mapped[datetime]
    update_time: Mapped[datetime] = mapped_column(server_default=func.now())


def upsert_video(
    session: Session,
    *,
    tenant_id: str,
    sha256: str,
    size_bytes: int,
    media: Mapping[str, object],
    external_id: str | None = None,
    asked_time: datetime | None = None,
) -> str:
    """Return the id of the tenant's video with this content; what a newer probe says replaces the older.

    An external id that the video already has stays. A deleted video is there again where it was submitted
    anew: ``asked_time``, absent for now, is after the deletion, and no erasure of it has begun.
    """
    asked = func.now() if asked_time is None else literal(asked_time)
    # By its name: the column of the class would put its table into the subqueries as well.
    row_id = literal_column("video.id", Text())
    running = select(literal(1)).where(Erasure.video_id == row_id, Erasure.state == ErasureState.RUNNING)
    is_anew = and_(Video.delete_time <= asked, ~running.exists())
    before = aliased(Video)
    row = insert(Video).values(
        tenant_id=tenant_id,
        content_sha256=sha256,
        size_bytes=size_bytes,
        media=dict(media),
        external_id=external_id,
    )
    found = session.execute(
        row.on_conflict_do_update(
            index_elements=["tenant_id", "content_sha256"],
            set_={
                "media": row.excluded.media,
                "external_id": func.coalesce(Video.external_id, row.excluded.external_id),
                "delete_time": case((is_anew, null()), else_=Video.delete_time),
                "purge_time": case((is_anew, null()), else_=Video.purge_time),
            },
        ).returning(
            Video.id,
            Video.delete_time,
            # What the statement has found, before it changed it.
            select(before.delete_time).where(before.id == row_id).scalar_subquery().label("deleted"),
        )
    ).one()
    if found.deleted is not None and found.delete_time is None:
        record_audit(session, tenant_id=tenant_id, actor="fleet", action="video.undeleted", subject=found.id)
    return str(found.id)


def record_source(
    session: Session, *, tenant_id: str, video_id: str, ref: VideoRef, kind: SourceKind = SourceKind.API
) -> None:
    """Note that a video was seen at a place. Of two videos under one ETag there, the newer counts."""
    row = insert(Source).values(
        tenant_id=tenant_id,
        video_id=video_id,
        kind=kind,
        bucket=ref.bucket,
        key=ref.key,
        version_id=ref.version_id,
        etag=ref.etag,
        size_bytes=ref.size_bytes,
    )
    session.execute(
        row.on_conflict_do_update(
            index_elements=["tenant_id", "bucket", "key", "version_id", "etag"],
            set_={"video_id": row.excluded.video_id, "size_bytes": row.excluded.size_bytes},
        )
    )


def load_video(session: Session, video_id: str) -> Video | None:
    """Return a video of the tenant at hand."""
    return session.get(Video, video_id)


def list_sources(session: Session, video_id: str) -> list[Source]:
    """Return the places where a video was seen, oldest first."""
    found = session.scalars(
        select(Source).where(Source.video_id == video_id).order_by(Source.first_seen_time, Source.id)
    )
    return list(found)


def read_watermark(session: Session, *, tenant_id: str, bucket: str, prefix: str) -> datetime | None:
    """Return how far a sweep has come; None before the first one."""
    return session.scalar(
        select(Sweep.watermark).where(
            Sweep.tenant_id == tenant_id, Sweep.bucket == bucket, Sweep.prefix == prefix
        )
    )


def raise_watermark(
    session: Session, *, tenant_id: str, bucket: str, prefix: str, watermark: datetime
) -> None:
    """Note how far a sweep has come. It never goes back: of two sweeps at once the farther one counts."""
    row = insert(Sweep).values(tenant_id=tenant_id, bucket=bucket, prefix=prefix, watermark=watermark)
    session.execute(
        row.on_conflict_do_update(
            index_elements=["tenant_id", "bucket", "prefix"],
            set_={
                "watermark": func.greatest(Sweep.watermark, row.excluded.watermark),
                "update_time": func.now(),
            },
        )
    )
