"""Tables of how long videos are kept, and of erasures: what was to be cleared and what was."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from fakesieve.ids import IdPrefix
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
from fakesieve.values.erasure import ErasureCause, ErasureState

DEFAULT_CLASS = "default"


class RetentionClass(TenantOwned, CreateTime, Base):
    """How long videos of a class are kept. The one named ``default`` holds for videos without a class.

    From ``remove_time`` on a class keeps nothing: the default one keeps the videos that still name it, and
    the row goes with the last of them. Its ``keep_s`` is then the longest there is: the release before does
    not know the column, and would go on erasing by the class.
    """

    __tablename__ = "retention_class"
    __table_args__ = (
        tenant_key(),
        CheckConstraint("keep_s > 0", name="keep_s"),
        CheckConstraint("name ~ '^[a-z0-9][a-z0-9_-]{0,39}$'", name="name"),
    )

    tenant_id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    keep_s: Mapped[int]
    remove_time: Mapped[datetime | None]


class Erasure(TenantOwned, CreateTime, Base):
    """An erasure and, once completed, its receipt.

    ``plan`` lists the objects and rows to clear and is emptied at the end: a receipt must not hold what it
    says was removed. The id of the video stays, which says nothing of its content.
    """

    __tablename__ = "erasure"
    __table_args__ = (
        tenant_key(),
        CheckConstraint("(state = 'completed') = (end_time IS NOT NULL)", name="end_time"),
        CheckConstraint("(state = 'completed') = (sha256 IS NOT NULL)", name="sha256"),
        CheckConstraint("(state = 'completed') = (plan IS NULL)", name="plan"),
        Index(
            "uq_erasure_running", "video_id", unique=True, postgresql_where=text("state = 'running'")
        ),
        Index(None, "tenant_id", "create_time", "id"),
        Index(None, "video_id"),
    )  # fmt: skip

    id: Mapped[Id] = public_id(IdPrefix.ERASURE)
    video_id: Mapped[Id]
    cause: Mapped[ErasureCause] = mapped_column(choice(ErasureCause))
    requested_by: Mapped[str]
    state: Mapped[ErasureState] = mapped_column(
        choice(ErasureState), server_default=ErasureState.RUNNING.value
    )
    plan: Mapped[JsonObject | None]
    stores: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    try_time: Mapped[datetime | None]
    end_time: Mapped[datetime | None]
    sha256: Mapped[str | None]


class ErasureHost(TenantOwned, Base):
    """A worker process that may hold a copy of the video, and when it said that it does not any more."""

    __tablename__ = "erasure_host"

    erasure_id: Mapped[Id] = mapped_column(ForeignKey("erasure.id", ondelete="CASCADE"), primary_key=True)
    owner: Mapped[str] = mapped_column(primary_key=True)
    clear_time: Mapped[datetime | None]
