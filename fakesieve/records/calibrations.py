"""Calibrations fitted from what reviewers of a tenant decided. A fit never changes."""

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Double

from fakesieve.ids import IdPrefix
from fakesieve.records.table import Base, CreateTime, Id, TenantOwned, public_id, tenant_key


class CalibrationFit(TenantOwned, CreateTime, Base):
    """P(manipulated) = 1 / (1 + exp(-(slope * logit + intercept))) for one model, at the prior it states.

    ``ece_before`` is that of the raw score, ``ece_after`` of the fitted one on videos left out of its fit.
    """

    __tablename__ = "calibration_fit"
    __table_args__ = (
        tenant_key(),
        CheckConstraint("method IN ('platt', 'temperature')", name="method"),
        CheckConstraint("slope > 0", name="slope"),
        CheckConstraint("0 < prior AND prior < 1", name="prior"),
        CheckConstraint("0 < n_manipulated AND n_manipulated < n", name="n"),
        CheckConstraint("ece_before BETWEEN 0 AND 1", name="ece_before"),
        CheckConstraint("0 <= ece_low AND ece_low <= ece_after", name="ece_low"),
        CheckConstraint("ece_after <= ece_high AND ece_high <= 1", name="ece_high"),
        Index(None, "tenant_id", "model_id", "create_time"),
    )

    id: Mapped[Id] = public_id(IdPrefix.CALIBRATION)
    model_id: Mapped[Id] = mapped_column(ForeignKey("model.id", ondelete="RESTRICT"))
    method: Mapped[str]
    slope: Mapped[float] = mapped_column(Double())
    intercept: Mapped[float] = mapped_column(Double())
    prior: Mapped[float] = mapped_column(Double())
    n: Mapped[int]
    n_manipulated: Mapped[int]
    ece_before: Mapped[float] = mapped_column(Double())
    ece_after: Mapped[float] = mapped_column(Double())
    ece_low: Mapped[float] = mapped_column(Double())
    ece_high: Mapped[float] = mapped_column(Double())
    created_by: Mapped[str]
