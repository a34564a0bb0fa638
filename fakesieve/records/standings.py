"""The verdict that holds now, one narrow row an analysis: what lists, counts and policies read.

``verdict`` keeps what every policy has said; this table says which of them counts. It repeats what lists are
ordered and filtered by, so that a page is one walk along an index.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from engine.results import Outcome, VerdictValue, VideoScore
from fakesieve.records.table import Base, Id, TenantOwned, choice

NO_SCORE = -1.0
"""Where an analysis without a score stands in an order by score: below all that have one."""


class Standing(TenantOwned, Base):
    """An analysis as lists know it. ``score`` is the calibrated one where there is one, else the raw.

    ``create_time`` is that of the analysis. ``verdict`` is what ``policy_id`` has said, null without a score.
    """

    __tablename__ = "standing"
    __table_args__ = (
        CheckConstraint("score BETWEEN 0 AND 1", name="score"),
        CheckConstraint("(verdict IS NULL) = (score IS NULL)", name="verdict_has_score"),
        Index("ix_standing_time", "tenant_id", "create_time", "analysis_id"),
        Index("ix_standing_verdict", "tenant_id", "verdict", "create_time", "analysis_id"),
        Index("ix_standing_outcome", "tenant_id", "outcome", "create_time", "analysis_id"),
        Index(
            "ix_standing_score", "tenant_id", text("coalesce(score, (-1)::double precision)"), "analysis_id"
        ),
        Index(None, "policy_id"),
    )

    analysis_id: Mapped[Id] = mapped_column(ForeignKey("analysis.id", ondelete="CASCADE"), primary_key=True)
    create_time: Mapped[datetime] = mapped_column(server_default=func.now())
    outcome: Mapped[Outcome] = mapped_column(choice(Outcome))
    score: Mapped[float | None]
    verdict: Mapped[VerdictValue | None] = mapped_column(choice(VerdictValue, name="verdict_value"))
    policy_id: Mapped[Id] = mapped_column(ForeignKey("policy.id", ondelete="RESTRICT"))


def set_standing(
    session: Session,
    owner: Mapping[str, str],
    score: VideoScore,
    *,
    policy_id: str,
    verdict: VerdictValue | None,
) -> None:
    """Say which verdict of an analysis holds now.

    ``owner`` names ``tenant_id`` and ``analysis_id``. A new row takes the time of the transaction, which is
    that of the analysis when both are new.
    """
    row = insert(Standing).values(
        **owner,
        outcome=score.outcome,
        score=score.raw if score.calibrated is None else score.calibrated,
        verdict=verdict,
        policy_id=policy_id,
    )
    session.execute(
        row.on_conflict_do_update(
            index_elements=["analysis_id"],
            set_={"verdict": row.excluded.verdict, "policy_id": row.excluded.policy_id},
        )
    )
