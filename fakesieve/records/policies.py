"""Policies that have made a verdict, as rows that never change."""

from sqlalchemy import CheckConstraint, UniqueConstraint, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from engine.policy import Policy
from fakesieve.ids import IdPrefix
from fakesieve.records.table import Base, CreateTime, Id, public_id


class PolicyVersion(CreateTime, Base):
    """One version of a policy; all tenants share it.

    Two rows may have the same name and version where models of the same name brought different thresholds:
    what a verdict stood on must not change after it was given.
    """

    __tablename__ = "policy"
    __table_args__ = (
        UniqueConstraint(
            "name", "version", "low", "high", "min_coverage", "min_peak_frames", "extrapolated",
            name="uq_policy_content",
        ),
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("0 < low AND low <= high AND high <= 1", name="thresholds"),
        CheckConstraint("min_coverage BETWEEN 0 AND 1", name="min_coverage"),
        CheckConstraint("min_peak_frames >= 1", name="min_peak_frames"),
    )  # fmt: skip

    id: Mapped[Id] = public_id(IdPrefix.POLICY)
    name: Mapped[str]
    version: Mapped[int]
    low: Mapped[float]
    high: Mapped[float]
    min_coverage: Mapped[float]
    min_peak_frames: Mapped[int]
    extrapolated: Mapped[bool] = mapped_column()

    def to_policy(self) -> Policy:
        """Return the value that the engine decides with."""
        return Policy(
            self.name,
            self.version,
            self.low,
            self.high,
            self.min_coverage,
            self.min_peak_frames,
            extrapolated=self.extrapolated,
        )


def ensure_policy(session: Session, policy: Policy) -> str:
    """Return the id of a policy with exactly this content, whose row is made if there is none."""
    content = {
        "name": policy.name,
        "version": policy.version,
        "low": policy.low,
        "high": policy.high,
        "min_coverage": policy.min_coverage,
        "min_peak_frames": policy.min_peak_frames,
        "extrapolated": policy.extrapolated,
    }
    wanted = select(PolicyVersion.id).filter_by(**content)
    found = session.scalar(wanted)
    if found is not None:
        return found
    made = session.scalar(
        insert(PolicyVersion).values(content).on_conflict_do_nothing().returning(PolicyVersion.id)
    )
    return made or session.scalars(wanted).one()
