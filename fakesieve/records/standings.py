"""The verdict that holds now, one narrow row an analysis: what lists, counts and policies read.

``verdict`` keeps what every policy has said; this table says which of them counts. It repeats what lists are
ordered and filtered by, so that a page is one walk along an index.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from engine.policy import count_peak_frames
from engine.results import Outcome, VerdictValue, VideoScore
from fakesieve.records.table import Base, Id, TenantOwned, choice

NO_SCORE = -1.0
"""Where an analysis without a score stands in an order by score: below all that have one."""


class Standing(TenantOwned, Base):
    """An analysis as lists know it. ``score`` is the calibrated one where there is one, else the raw.

    ``create_time`` is that of the analysis. ``verdict`` is what ``policy_id`` has said, null without a score.
    ``coverage`` is the exact share of scored time and ``peak_frames`` that of the analysis: with outcome
    and score they are all that a policy asks for.
    """

    __tablename__ = "standing"
    __table_args__ = (
        CheckConstraint("score BETWEEN 0 AND 1", name="score"),
        CheckConstraint("(verdict IS NULL) = (score IS NULL)", name="verdict_has_score"),
        Index("ix_standing_time", "tenant_id", "create_time", "analysis_id"),
        Index("ix_standing_verdict", "tenant_id", "verdict", "create_time", "analysis_id"),
        Index("ix_standing_outcome", "tenant_id", "outcome", "create_time", "analysis_id"),
        # As Postgres writes the expression, so that a comparison with the migrations finds no difference.
        Index(
            "ix_standing_score",
            "tenant_id",
            text("coalesce(score, '-1'::integer::double precision)"),
            "analysis_id",
        ),
        CheckConstraint("coverage BETWEEN 0 AND 1", name="coverage"),
        # Room in the pages: what is judged again mostly keeps its verdict, and is then written in place.
        {"postgresql_with": {"fillfactor": "70"}},
    )

    analysis_id: Mapped[Id] = mapped_column(ForeignKey("analysis.id", ondelete="CASCADE"), primary_key=True)
    create_time: Mapped[datetime] = mapped_column(server_default=func.now())
    outcome: Mapped[Outcome] = mapped_column(choice(Outcome))
    score: Mapped[float | None]
    coverage: Mapped[float]
    peak_frames: Mapped[int | None]
    verdict: Mapped[VerdictValue | None] = mapped_column(choice(VerdictValue, name="verdict_value"))
    policy_id: Mapped[Id] = mapped_column(ForeignKey("policy.id", ondelete="RESTRICT"))


def build_standing_row(
    score: VideoScore, *, policy_id: str, verdict: VerdictValue | None
) -> dict[str, object]:
    """Return the columns that say which verdict holds, without those that say of which analysis."""
    return {
        "outcome": score.outcome,
        "score": score.raw if score.calibrated is None else score.calibrated,
        "coverage": score.coverage.ratio,
        "peak_frames": count_peak_frames(score),
        "verdict": verdict,
        "policy_id": policy_id,
    }


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
    columns = build_standing_row(score, policy_id=policy_id, verdict=verdict)
    row = insert(Standing).values(**owner, **columns)
    session.execute(
        row.on_conflict_do_update(
            index_elements=["analysis_id"],
            set_={"verdict": row.excluded.verdict, "policy_id": row.excluded.policy_id},
        )
    )
