"""Filters that a person has kept under a name, for the lists of the console."""

from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from fakesieve.ids import IdPrefix
from fakesieve.records.table import Base, CreateTime, Id, JsonObject, TenantOwned, choice, public_id

NAME_LETTERS_MAX = 100


class ViewPage(StrEnum):
    """Which list a view is of."""

    RESULTS = "results"
    QUEUE = "queue"


class SavedView(TenantOwned, CreateTime, Base):
    """A list with its filter and order. ``query`` holds the parameters of its address as texts."""

    __tablename__ = "saved_view"
    __table_args__ = (
        UniqueConstraint("user_id", "page", "name"),
        CheckConstraint(f"length(name) BETWEEN 1 AND {NAME_LETTERS_MAX}", name="name"),
        Index(None, "tenant_id", "page", "name"),
    )

    id: Mapped[Id] = public_id(IdPrefix.VIEW)
    user_id: Mapped[Id] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"))
    page: Mapped[ViewPage] = mapped_column(choice(ViewPage))
    name: Mapped[str]
    query: Mapped[JsonObject]
    is_shared: Mapped[bool] = mapped_column(server_default=false())  # everybody of the tenant sees it
