"""Videos by their content, one row per tenant, and the places where they were seen."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Computed,
    Executable,
    ForeignKey,
    Index,
    Select,
    UniqueConstraint,
    and_,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    null,
    select,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column
from sqlalchemy.sql.dml import ReturningInsert

from fakesieve.ids import IdPrefix, new_id
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

_VIDEOS_AT_ONCE = 1000


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
        Index(None, "video_id", "tenant_id"),
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


def _build_upsert() -> ReturningInsert[*tuple[Any, ...]]:
    """Return the statement that notes bytes; ``_read_bytes`` gives its parameters, but for ``asked_time``."""
    asked = func.coalesce(bindparam("asked_time", type_=Video.delete_time.type), func.now())
    # By its name: the column of the class would put its table into the subqueries as well.
    row_id: ColumnElement[str] = literal_column("video.id")
    running = select(literal(1)).where(Erasure.video_id == row_id, Erasure.state == ErasureState.RUNNING)
    is_anew = and_(Video.delete_time <= asked, ~running.exists())
    before = aliased(Video)
    names = ("id", "tenant_id", "content_sha256", "size_bytes", "external_id", "media")
    row = insert(Video).values({name: bindparam(f"new_{name}") for name in names})
    return row.on_conflict_do_update(
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


def _build_record(row: Insert) -> Insert:
    """Return the statement that notes a place, unless it is known, where only the video may be new."""
    return row.on_conflict_do_update(
        index_elements=["tenant_id", "bucket", "key", "version_id", "etag"],
        set_={"video_id": row.excluded.video_id, "size_bytes": row.excluded.size_bytes},
    )


_PLACE = ("id", "tenant_id", "kind", "bucket", "key", "version_id", "etag", "size_bytes")
_UPSERT = _build_upsert()


def _build_both() -> Select[*tuple[Any, ...]]:
    """Return one statement that notes bytes and the place where they were seen."""
    noted = _UPSERT.cte("noted")
    place = [bindparam(f"source_{name}", type_=Source.__table__.c[name].type) for name in _PLACE]
    row = insert(Source).from_select([*_PLACE, "video_id"], select(*place, noted.c.id))
    return select(noted).add_cte(_build_record(row).cte("recorded"))


_UPSERT_AND_RECORD = _build_both()


def _read_bytes(
    *, tenant_id: str, sha256: str, size_bytes: int, media: Mapping[str, object], external_id: str | None
) -> dict[str, object]:
    return {
        "new_id": new_id(IdPrefix.VIDEO),
        "new_tenant_id": tenant_id,
        "new_content_sha256": sha256,
        "new_size_bytes": size_bytes,
        "new_external_id": external_id,
        "new_media": dict(media),
    }


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
    values = _read_bytes(
        tenant_id=tenant_id, sha256=sha256, size_bytes=size_bytes, media=media, external_id=external_id
    )
    return _note(session, _UPSERT, values | {"asked_time": asked_time})


def note_video(
    session: Session,
    *,
    tenant_id: str,
    sha256: str,
    size_bytes: int,
    media: Mapping[str, object],
    external_id: str | None,
    ref: VideoRef,
    kind: SourceKind,
    asked_time: datetime | None,
) -> str:
    """Do what :func:`upsert_video` and :func:`record_source` do, in one statement."""
    values = _read_bytes(
        tenant_id=tenant_id, sha256=sha256, size_bytes=size_bytes, media=media, external_id=external_id
    )
    place = {f"source_{name}": value for name, value in _read_place(tenant_id, ref, kind).items()}
    return _note(session, _UPSERT_AND_RECORD, values | place | {"asked_time": asked_time})


def _note(session: Session, statement: Executable, values: Mapping[str, object]) -> str:
    # By the connection: the session looks for objects of the mapper first, which takes as long as all else.
    found = session.connection().execute(statement, values).one()
    if found.deleted is not None and found.delete_time is None:
        tenant_id = str(values["new_tenant_id"])
        record_audit(session, tenant_id=tenant_id, actor="fleet", action="video.undeleted", subject=found.id)
    return str(found.id)


def _read_place(tenant_id: str, ref: VideoRef, kind: SourceKind) -> dict[str, object]:
    return {
        "id": new_id(IdPrefix.SOURCE),
        "tenant_id": tenant_id,
        "kind": kind,
        "bucket": ref.bucket,
        "key": ref.key,
        "version_id": ref.version_id,
        "etag": ref.etag,
        "size_bytes": ref.size_bytes,
    }


def record_source(
    session: Session, *, tenant_id: str, video_id: str, ref: VideoRef, kind: SourceKind = SourceKind.API
) -> None:
    """Note that a video was seen at a place. Of two videos under one ETag there, the newer counts."""
    row = insert(Source).values(video_id=video_id, **_read_place(tenant_id, ref, kind))
    session.execute(_build_record(row))


def load_video(session: Session, video_id: str) -> Video | None:
    """Return a video of the tenant at hand."""
    return session.get(Video, video_id)


def list_sources(session: Session, video_id: str) -> list[Source]:
    """Return the places where a video was seen, oldest first."""
    found = session.scalars(
        select(Source).where(Source.video_id == video_id).order_by(Source.first_seen_time, Source.id)
    )
    return list(found)


def map_sources(session: Session, video_ids: Sequence[str]) -> Mapping[str, Sequence[Source]]:
    """Return the places where each of some videos was seen, oldest first, by one query for a thousand."""
    found: dict[str, list[Source]] = {}
    for begin in range(0, len(video_ids), _VIDEOS_AT_ONCE):
        wanted = select(Source).where(Source.video_id.in_(video_ids[begin : begin + _VIDEOS_AT_ONCE]))
        for source in session.scalars(wanted.order_by(Source.first_seen_time, Source.id)):
            found.setdefault(source.video_id, []).append(source)
    return found
