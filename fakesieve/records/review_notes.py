"""Notes that people pin to a span of a video while they look at it. They leave with their analysis."""

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from fakesieve.ids import IdPrefix
from fakesieve.records.analysis_tables import TRACK_KEY
from fakesieve.records.table import Base, CreateTime, Id, TenantOwned, public_id

NOTE_LETTERS_MAX = 1000


class ReviewNote(TenantOwned, CreateTime, Base):
    """What somebody saw in a span, in one face or, without an ordinal, anywhere in the picture."""

    __tablename__ = "review_note"
    __table_args__ = (
        ForeignKeyConstraint(["analysis_id", "ordinal"], TRACK_KEY, ondelete="CASCADE"),
        CheckConstraint("0 <= start_us AND start_us <= end_us", name="span"),
        CheckConstraint(f"length(text) BETWEEN 1 AND {NOTE_LETTERS_MAX}", name="text"),
        Index(None, "analysis_id", "start_us", "id"),
    )

    id: Mapped[Id] = public_id(IdPrefix.NOTE)
    analysis_id: Mapped[Id] = mapped_column(ForeignKey("analysis.id", ondelete="CASCADE"))
    ordinal: Mapped[int | None] = mapped_column(SmallInteger)
    start_us: Mapped[int]
    end_us: Mapped[int]
    author: Mapped[str]  # id of a user
    text: Mapped[str]
