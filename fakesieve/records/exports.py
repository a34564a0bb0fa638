"""Files of results in the fleet's bucket: how long each stays, and which videos it tells of.

A file is written page by page. The videos of a page are noted in the transaction that reads it, behind a lock
on the export's row. So an erasure that has that lock after its video was hidden either finds the video noted,
or no later page can hold it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    any_,
    delete,
    func,
    literal,
    select,
    update,
)
from sqlalchemy import insert as insert_rows
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, Session, mapped_column

from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix, new_id
from fakesieve.objects import VideoRef
from fakesieve.reasons import Reason
from fakesieve.records.table import Base, CreateTime, Id, TenantOwned, choice, public_id, tenant_key
from fakesieve.values.files import ExportState, FileFormat

EXPORTS_PREFIX = "exports/"
WRITE_S = 1_800.0
"""How long a file that is being written stays without a sign of its writer: longer than any upload of it."""
_MARK_BYTES = 8
_PLAIN = {"synchronize_session": False}


class Export(TenantOwned, CreateTime, Base):
    """A file of results, from before it is written until it is removed."""

    __tablename__ = "export"
    __table_args__ = (
        tenant_key(),
        CheckConstraint("state <> 'ready' OR n_rows IS NOT NULL", name="n_rows"),
        CheckConstraint("(n_rows IS NULL) = (size_bytes IS NULL)", name="size_bytes"),
        Index(None, "tenant_id", "create_time"),
        Index(None, "purge_time"),
    )

    id: Mapped[Id] = public_id(IdPrefix.EXPORT)
    state: Mapped[ExportState] = mapped_column(choice(ExportState), server_default=ExportState.WRITING.value)
    format: Mapped[FileFormat] = mapped_column(choice(FileFormat))
    bucket: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    requested_by: Mapped[str]
    n_rows: Mapped[int | None]
    size_bytes: Mapped[int | None]
    purge_time: Mapped[datetime]


class ExportPart(TenantOwned, Base):
    """The videos that one page of a file tells of, as numbers made of their ids."""

    __tablename__ = "export_part"
    __table_args__ = (Index(None, "tenant_id"),)

    export_id: Mapped[Id] = mapped_column(ForeignKey("export.id", ondelete="CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    video_marks: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


@dataclass(frozen=True)
class HeldExport:
    """A file that tells of some video. One that is not whole yet is removed by whoever writes it."""

    id: str
    ref: VideoRef
    is_whole: bool
    is_new: bool


def begin_export(session: Session, tenant_id: str, bucket: str, form: FileFormat, actor: str) -> Export:
    """Note a file that is about to be written; its place is nobody's choice."""
    export_id = new_id(IdPrefix.EXPORT)
    export = Export(
        id=export_id,
        tenant_id=tenant_id,
        format=form,
        bucket=bucket,
        key=f"{tenant_folder(tenant_id)}{export_id}.{form.value}",
        requested_by=actor,
        purge_time=func.now() + _seconds(WRITE_S),
    )
    session.add(export)
    session.flush()
    session.refresh(export)
    return export


def tenant_folder(tenant_id: str) -> str:
    """Return where the exports of a tenant lie in the fleet's own bucket."""
    return f"{EXPORTS_PREFIX}{tenant_id}/"


def hold_export(session: Session, export_id: str) -> None:
    """Lock a file that is being written and say that its writer lives, before a page of it is read.

    Raises RequestRefused (STATE_CONFLICT) where an erasure has ended it.
    """
    held = update(Export).where(Export.id == export_id, Export.state == ExportState.WRITING)
    row = held.values(purge_time=func.now() + _seconds(WRITE_S)).returning(Export.id)
    if session.scalar(row, execution_options=_PLAIN) is None:
        raise _refuse(export_id)


def note_videos(
    session: Session, tenant_id: str, export_id: str, ordinal: int, video_ids: Iterable[str]
) -> None:
    """Note which videos a page tells of, in the transaction that has held the file and read the page."""
    marks = sorted({mark_video(video_id) for video_id in video_ids})
    row = {"tenant_id": tenant_id, "export_id": export_id, "ordinal": ordinal, "video_marks": marks}
    session.execute(insert_rows(ExportPart).values(row))


def mark_video(video_id: str) -> int:
    """Return the number that stands for a video: eight bytes of a hash, a fourth of the length of its id.

    Two ids of one number would remove a file too many, once in 2**64.
    """
    return int.from_bytes(hashlib.sha256(video_id.encode()).digest()[:_MARK_BYTES], "big", signed=True)


def finish_export(session: Session, export_id: str, n_rows: int, size_bytes: int, keep_s: float) -> Export:
    """Note a file that is whole, and until when it stays. Raises as ``hold_export``."""
    export = session.get(Export, export_id, with_for_update=True, populate_existing=True)
    if export is None or export.state is not ExportState.WRITING:
        raise _refuse(export_id)
    export.state, export.n_rows, export.size_bytes = ExportState.READY, n_rows, size_bytes
    export.purge_time = func.now() + _seconds(keep_s)
    session.flush()
    session.refresh(export)
    return export


def load_export(session: Session, export_id: str) -> Export | None:
    """Return a file of the tenant at hand that is whole."""
    export = session.get(Export, export_id, populate_existing=True)
    return export if export is not None and export.state is ExportState.READY else None


def forget_exports(session: Session, export_ids: Sequence[str]) -> None:
    """Remove the rows of files that are gone."""
    session.execute(delete(Export).where(Export.id.in_(export_ids)), execution_options=_PLAIN)


def revoke_exports(session: Session, tenant_id: str, video_id: str) -> list[HeldExport]:
    """Withdraw the files that tell of a hidden video, and return them.

    Waits for the page that a writer is at, so that all it has read is noted.
    """
    being_written = select(Export.id).where(
        Export.tenant_id == tenant_id, Export.state == ExportState.WRITING
    )
    session.execute(being_written.order_by(Export.id).with_for_update())
    told = select(ExportPart.export_id).where(
        ExportPart.tenant_id == tenant_id, literal(mark_video(video_id)) == any_(ExportPart.video_marks)
    )
    # In one order, so that two erasures at once do not wait for each other.
    found = session.scalars(
        select(Export).where(Export.id.in_(told)).order_by(Export.id).with_for_update()
    ).all()
    held = [_describe(export) for export in found]
    for export in found:
        export.state = ExportState.REVOKED
    session.flush()
    return held


def take_old_exports(session: Session, limit: int) -> list[HeldExport]:
    """Withdraw files of all tenants whose time is over, and those that nobody writes any more."""
    old = select(Export).where(Export.purge_time <= func.now()).order_by(Export.purge_time).limit(limit)
    found = session.scalars(old.with_for_update(skip_locked=True)).all()
    taken = [_describe(export) for export in found]
    for export in found:
        export.state = ExportState.REVOKED
    session.flush()
    return taken


def keep_longer(session: Session, export_ids: Sequence[str], seconds: float) -> None:
    """Put off the removal of files, so that those behind them have their turn."""
    kept = update(Export).where(Export.id.in_(export_ids))
    session.execute(kept.values(purge_time=func.now() + _seconds(seconds)), execution_options=_PLAIN)


def list_keys(session: Session, tenant_id: str) -> set[str]:
    """Return the keys of all files of a tenant that somebody knows of."""
    return set(session.scalars(select(Export.key).where(Export.tenant_id == tenant_id)))


def _describe(export: Export) -> HeldExport:
    return HeldExport(
        export.id,
        VideoRef(export.bucket, export.key),
        is_whole=export.n_rows is not None,
        is_new=export.state is not ExportState.REVOKED,
    )


def _seconds(seconds: float) -> object:
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _refuse(export_id: str) -> RequestRefused:
    seen = f"{export_id}: a video that it tells of was erased while it was written"
    return RequestRefused(Reason.STATE_CONFLICT, seen, "ask for the export again")
