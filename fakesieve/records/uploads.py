"""Uploads that callers were given a form for: what was promised, and what came."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import CheckConstraint, Index, case, func, null, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from fakesieve.ids import IdPrefix, new_id
from fakesieve.objects import VideoRef
from fakesieve.records.table import Base, CreateTime, Id, TenantOwned, public_id, tenant_key

UPLOADS_PREFIX = "uploads/"
UNUSED = timedelta(days=1)
"""How long an upload stays of which nobody makes a job, from the last word about it."""
_PLAIN = {"synchronize_session": False}


class Upload(TenantOwned, CreateTime, Base):
    """A place that one file may be put to. ``size_bytes`` and ``etag`` are known once it was looked at.

    At ``purge_time`` it goes with its object, unless a job names it. Once a video has come of it, its time is
    the video's and this one is null. ``is_withdrawn``: it is being removed and nobody can use it any more.
    """

    __tablename__ = "upload"
    __table_args__ = (
        tenant_key(),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
        CheckConstraint("size_bytes_max > 0", name="size_bytes_max"),
        CheckConstraint("(complete_time IS NULL) = (etag IS NULL)", name="etag"),
        CheckConstraint("(complete_time IS NULL) = (size_bytes IS NULL)", name="size_bytes"),
        Index(None, "tenant_id", "create_time"),
        Index(None, "purge_time", postgresql_where=text("purge_time IS NOT NULL")),
    )

    id: Mapped[Id] = public_id(IdPrefix.UPLOAD)
    bucket: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str | None]  # what the caller calls the file; shown and never used as a path
    content_type: Mapped[str]
    sha256: Mapped[str | None]
    size_bytes_max: Mapped[int]
    expire_time: Mapped[datetime]
    complete_time: Mapped[datetime | None]
    etag: Mapped[str | None]
    version_id: Mapped[str | None]
    size_bytes: Mapped[int | None]
    purge_time: Mapped[datetime | None] = mapped_column(server_default=text("(now() + interval '1 day')"))
    is_withdrawn: Mapped[bool] = mapped_column(server_default=text("false"))


@dataclass(frozen=True)
class UploadDraft:
    """What a caller wants to upload."""

    bucket: str
    content_type: str
    size_bytes_max: int
    expire_time: datetime
    name: str | None = None
    sha256: str | None = None


def tenant_prefix(tenant_id: str) -> str:
    """Return where the uploads of a tenant lie in the fleet's own bucket."""
    return f"{UPLOADS_PREFIX}{tenant_id}/"


def create_upload(session: Session, tenant_id: str, draft: UploadDraft) -> Upload:
    """Make an upload whose key no caller has a say in."""
    upload_id = new_id(IdPrefix.UPLOAD)
    upload = Upload(
        id=upload_id,
        tenant_id=tenant_id,
        bucket=draft.bucket,
        key=tenant_prefix(tenant_id) + upload_id,
        name=draft.name,
        content_type=draft.content_type,
        sha256=draft.sha256,
        size_bytes_max=draft.size_bytes_max,
        expire_time=draft.expire_time,
    )
    session.add(upload)
    session.flush()
    session.refresh(upload)
    return upload


def load_upload(session: Session, upload_id: str) -> Upload | None:
    """Return an upload of the tenant at hand."""
    upload = session.get(Upload, upload_id)
    return None if upload is None or upload.is_withdrawn else upload


def use_upload(session: Session, upload_id: str) -> Upload | None:
    """Return an upload of which a job is about to be made: it stays a day more for that."""
    used = update(Upload).where(Upload.id == upload_id, Upload.is_withdrawn.is_(False))
    return session.scalar(used.values(purge_time=_STAY).returning(Upload), execution_options=_PLAIN)


_STAY = case((Upload.purge_time.is_(None), null()), else_=func.now() + UNUSED)


def count_open_uploads(session: Session, tenant_id: str) -> int:
    """Return how many forms of a tenant may still be used."""
    is_open = (Upload.complete_time.is_(None), Upload.expire_time > func.now())
    wanted = select(func.count()).select_from(Upload).where(Upload.tenant_id == tenant_id, *is_open)
    return session.execute(wanted).scalar_one()


def complete_upload(session: Session, upload_id: str, ref: VideoRef) -> None:
    """Note the bytes that came. A second look changes nothing: the first pinned them."""
    found = {"etag": ref.etag, "version_id": ref.version_id, "size_bytes": ref.size_bytes}
    session.execute(
        update(Upload)
        .where(Upload.id == upload_id, Upload.complete_time.is_(None), Upload.is_withdrawn.is_(False))
        .values(complete_time=func.now(), purge_time=_STAY, **found)
    )


def read_upload_ref(upload: Upload) -> VideoRef | None:
    """Return the object of an upload, pinned to the bytes that were looked at; None before that."""
    if upload.complete_time is None:
        return None
    return VideoRef(upload.bucket, upload.key, upload.version_id, upload.etag, upload.size_bytes)
