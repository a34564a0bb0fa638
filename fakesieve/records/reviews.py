"""Tables of reviews: queues, the items people work through, and what they said, which never changes.

What a decision says stays as it was written; taking it back is another row. Where an item stands is in
``review_item``, moved by ``fakesieve/reviews`` alone.
"""

from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    SmallInteger,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Double

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
from fakesieve.values.reviews import (
    COMMENT_LETTERS_MAX,
    KNOWN_NOTE_LETTERS_MAX,
    KNOWN_SHARE_MAX,
    AutomatedMeans,
    Disposition,
    EntryKind,
    FeedbackCategory,
    QueueOrder,
    ReasonCode,
    ReviewKind,
    ReviewState,
    Truth,
)


class ReviewQueue(TenantOwned, CreateTime, Base):
    """A filter over analyses whose matches people look at. ``rule`` is a ``QueueRule`` as JSON."""

    __tablename__ = "review_queue"
    __table_args__ = (
        tenant_key(),
        UniqueConstraint("tenant_id", "name"),
        CheckConstraint("lease_s BETWEEN 30 AND 86400", name="lease_s"),
        CheckConstraint("second_opinion_rate BETWEEN 0 AND 1", name="second_opinion_rate"),
        CheckConstraint(f"known_share BETWEEN 0 AND {KNOWN_SHARE_MAX}", name="known_share"),
    )

    id: Mapped[Id] = public_id(IdPrefix.QUEUE)
    name: Mapped[str]
    rule: Mapped[JsonObject]
    order: Mapped[QueueOrder] = mapped_column(choice(QueueOrder))
    is_blind: Mapped[bool] = mapped_column(server_default=false())
    is_active: Mapped[bool] = mapped_column(server_default=true())
    lease_s: Mapped[int] = mapped_column(Integer)
    second_opinion_rate: Mapped[float] = mapped_column(Double(), server_default=text("0"))
    known_share: Mapped[float] = mapped_column(Double(), server_default=text("0"))
    fill_time: Mapped[datetime | None]


class ReviewItem(TenantOwned, CreateTime, Base):
    """One look at one analysis. The holder has it until ``claim_until``, by the database's clock.

    ``made_for`` names the only one for whom the item is there: they were given an analysis whose truth is
    known. What they say of it is no word on the analysis, and is shown to nobody else (decision 0032).
    """

    __tablename__ = "review_item"
    __table_args__ = (
        CheckConstraint(
            "(state = 'claimed') = (claimed_by IS NOT NULL)"
            " AND (state = 'claimed') = (claim_until IS NOT NULL)"
            " AND (state = 'claimed') = (claim_time IS NOT NULL)",
            name="claim",
        ),
        CheckConstraint(
            "(state = 'decided') = (decision_id IS NOT NULL)"
            " AND (state = 'decided') = (disposition IS NOT NULL)"
            " AND (state = 'decided') = (decided_by IS NOT NULL)"
            " AND (state = 'decided') = (decide_time IS NOT NULL)",
            name="decision",
        ),
        CheckConstraint("(kind = 'first') = (parent_id IS NULL)", name="parent_id"),
        CheckConstraint("reveal_time IS NULL OR is_blind", name="reveal_time"),
        CheckConstraint(
            "made_for IS NULL OR (coalesce(claimed_by, made_for) = made_for"
            " AND coalesce(decided_by, made_for) = made_for)",
            name="made_for",
        ),
        Index(
            "uq_review_item_first", "queue_id", "analysis_id", unique=True,
            postgresql_where=text("kind = 'first' AND made_for IS NULL"),
        ),
        Index(
            "uq_review_item_made_for", "made_for", "analysis_id", unique=True,
            postgresql_where=text("kind = 'first' AND made_for IS NOT NULL"),
        ),
        Index(
            "uq_review_item_parent_id_kind", "parent_id", "kind", unique=True,
            postgresql_where=text("parent_id IS NOT NULL"),
        ),
        Index(
            "ix_review_item_offered", "queue_id", "rank", "id",
            postgresql_where=text("state IN ('open', 'claimed')"),
        ),
        Index(
            "ix_review_item_blind", "analysis_id",
            postgresql_where=text("is_blind AND state <> 'decided'"),
        ),
        Index(None, "tenant_id", "state", "create_time", "id"),
        Index(None, "analysis_id"),
    )  # fmt: skip

    id: Mapped[Id] = public_id(IdPrefix.REVIEW)
    queue_id: Mapped[Id] = mapped_column(ForeignKey("review_queue.id", ondelete="RESTRICT"))
    analysis_id: Mapped[Id] = mapped_column(ForeignKey("analysis.id", ondelete="CASCADE"))
    kind: Mapped[ReviewKind] = mapped_column(choice(ReviewKind), server_default=ReviewKind.FIRST.value)
    parent_id: Mapped[Id | None] = mapped_column(ForeignKey("review_item.id", ondelete="CASCADE"))
    made_for: Mapped[str | None]
    state: Mapped[ReviewState] = mapped_column(choice(ReviewState), server_default=ReviewState.OPEN.value)
    rank: Mapped[float] = mapped_column(Double())  # lowest first
    is_blind: Mapped[bool] = mapped_column(server_default=false())
    claimed_by: Mapped[str | None]
    claim_time: Mapped[datetime | None]
    claim_until: Mapped[datetime | None]
    released_by: Mapped[str | None]  # who gave it back last: they are offered others first
    reopen_time: Mapped[datetime | None]  # skips before it count no more
    reveal_time: Mapped[datetime | None]  # when the score was shown to who claimed a blind item
    decision_id: Mapped[Id | None]
    disposition: Mapped[Disposition | None] = mapped_column(choice(Disposition))
    decided_by: Mapped[str | None]
    decide_time: Mapped[datetime | None]
    statement: Mapped[str | None]  # what an appeal says, or who has passed it on


class KnownAnalysis(TenantOwned, CreateTime, Base):
    """An analysis of whose video somebody knows for certain what it is. Taken back, the row is gone."""

    __tablename__ = "known_analysis"
    __table_args__ = (
        CheckConstraint(f"length(note) BETWEEN 1 AND {KNOWN_NOTE_LETTERS_MAX}", name="note"),
        Index(None, "tenant_id", "create_time", "analysis_id"),
    )

    analysis_id: Mapped[Id] = mapped_column(ForeignKey("analysis.id", ondelete="CASCADE"), primary_key=True)
    truth: Mapped[Truth] = mapped_column(choice(Truth))
    note: Mapped[str]
    declared_by: Mapped[str]  # id of a key or a user


class ReviewDecision(TenantOwned, CreateTime, Base):
    """What somebody said, once and for all. Rows are only ever added, and leave with their analysis."""

    __tablename__ = "review_decision"
    __table_args__ = (
        CheckConstraint(
            "(kind IN ('decision', 'blind')) = (disposition IS NOT NULL)", name="has_disposition"
        ),
        CheckConstraint("(kind IN ('decision', 'skip')) = (reason_code IS NOT NULL)", name="has_reason"),
        CheckConstraint("(kind = 'decision') = (automated_means IS NOT NULL)", name="has_means"),
        CheckConstraint("(kind = 'undo') = (undone_id IS NOT NULL)", name="undone_id"),
        CheckConstraint("(kind = 'feedback') = (category IS NOT NULL)", name="category"),
        CheckConstraint("(kind = 'feedback') = (item_id IS NULL)", name="item_id"),
        CheckConstraint("reason_code IS DISTINCT FROM 'other' OR comment IS NOT NULL", name="other"),
        CheckConstraint(f"length(comment) BETWEEN 1 AND {COMMENT_LETTERS_MAX}", name="comment"),
        CheckConstraint("seconds_spent >= 0", name="seconds_spent"),
        UniqueConstraint("undone_id"),
        Index(None, "item_id"),
        Index(None, "analysis_id"),
        Index(None, "tenant_id", "create_time", "id"),
    )

    id: Mapped[Id] = public_id(IdPrefix.DECISION)
    item_id: Mapped[Id | None] = mapped_column(ForeignKey("review_item.id", ondelete="CASCADE"))
    analysis_id: Mapped[Id] = mapped_column(ForeignKey("analysis.id", ondelete="CASCADE"))
    kind: Mapped[EntryKind] = mapped_column(choice(EntryKind))
    reviewer: Mapped[str]  # id of a key or a user
    disposition: Mapped[Disposition | None] = mapped_column(choice(Disposition))
    reason_code: Mapped[ReasonCode | None] = mapped_column(choice(ReasonCode))
    policy_ref: Mapped[str | None]  # which rule of the platform it rests on
    comment: Mapped[str | None]
    automated_means: Mapped[AutomatedMeans | None] = mapped_column(choice(AutomatedMeans))
    is_blind: Mapped[bool] = mapped_column(server_default=false())
    seconds_spent: Mapped[float | None] = mapped_column(Double())  # from the claim, by the database's clock
    undone_id: Mapped[Id | None] = mapped_column(ForeignKey("review_decision.id", ondelete="CASCADE"))
    category: Mapped[FeedbackCategory | None] = mapped_column(choice(FeedbackCategory))


class TrackDecision(TenantOwned, Base):
    """What somebody said of one face, as part of a decision on its video."""

    __tablename__ = "review_track"
    __table_args__ = (
        ForeignKeyConstraint(
            ["analysis_id", "ordinal"],
            ["face_track.analysis_id", "face_track.ordinal"],
            ondelete="CASCADE",
        ),
        Index(None, "analysis_id", "ordinal"),
    )

    decision_id: Mapped[Id] = mapped_column(
        ForeignKey("review_decision.id", ondelete="CASCADE"), primary_key=True
    )
    ordinal: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    analysis_id: Mapped[Id]
    disposition: Mapped[Disposition] = mapped_column(choice(Disposition))
    reason_code: Mapped[ReasonCode] = mapped_column(choice(ReasonCode))
