"""The last change of policy over all of a tenant's history, by which its verdicts stand since then.

Most analyses keep their verdict when thresholds move. Such a change writes the rows of those that do not, and
one row here: what was judged before it, and agrees with it, stands by its policy from then on.
"""

from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, ScalarSelect, case, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import InstrumentedAttribute, Mapped, Session, mapped_column

from fakesieve.records.policies import Judge, PolicyUse
from fakesieve.records.standings import Standing
from fakesieve.records.table import Base, Id, TenantOwned


class PolicyRuling(TenantOwned, Base):
    """The policy that all verdicts of a tenant agree with that were given before ``use_id``."""

    __tablename__ = "policy_ruling"

    tenant_id: Mapped[Id] = mapped_column(ForeignKey("tenant.id", ondelete="RESTRICT"), primary_key=True)
    use_id: Mapped[int]
    policy_id: Mapped[Id] = mapped_column(ForeignKey("policy.id", ondelete="RESTRICT"))


def name_policy_in_force(tenant_id: Any, use_id: Any, policy_id: Any) -> ColumnElement[str]:
    """Return the id of the policy by which the verdict of a row of ``standing`` stands.

    The arguments are that row's columns; with the tenant as a parameter its ruling is looked up once for all
    rows. A row without ``use_id`` stands by the policy that it names: a release that knew of no rulings wrote
    it, or it stayed as it stood in a change that did not know by what its model judges.
    """
    return case(
        (use_id < _of_ruling(PolicyRuling.use_id, tenant_id), _of_ruling(PolicyRuling.policy_id, tenant_id)),
        else_=policy_id,
    )


def _of_ruling(column: InstrumentedAttribute[Any], tenant_id: Any) -> ScalarSelect[Any]:
    wanted = select(column).where(PolicyRuling.tenant_id == tenant_id)
    return wanted.correlate_except(PolicyRuling).scalar_subquery()


POLICY_IN_FORCE = name_policy_in_force(Standing.tenant_id, Standing.use_id, Standing.policy_id)
"""The same of ``standing`` itself, for statements that read it."""


def is_settled(session: Session, tenant_id: str, analysis_id: str, judge: Judge) -> bool:
    """Whether the verdict on an analysis needs no look by a judge. Its row is locked.

    It stands by the judge's policy, or was given, or ruled, since the tenant's present choice of a policy
    began: then it is by another policy because somebody said so of this part of history.
    """
    ruled = case(
        (
            Standing.use_id < _of_ruling(PolicyRuling.use_id, tenant_id),
            _of_ruling(PolicyRuling.use_id, tenant_id),
        )
    )
    uses = select(PolicyUse.policy_id).where(PolicyUse.tenant_id == tenant_id)
    choice = uses.order_by(PolicyUse.id.desc()).limit(1).scalar_subquery()
    before = select(func.coalesce(func.max(PolicyUse.id), 0)).where(
        PolicyUse.tenant_id == tenant_id, PolicyUse.policy_id.is_distinct_from(choice)
    )
    is_since = func.coalesce(ruled, Standing.use_id, 0) > before.scalar_subquery()
    wanted = or_(literal(judge.policy_id) == POLICY_IN_FORCE, is_since)
    held = select(wanted).where(Standing.analysis_id == analysis_id)
    return session.scalar(held.with_for_update(of=Standing, key_share=True)) or False


def rule(session: Session, tenant_id: str, policy_id: str, use_id: int) -> None:
    """Have all verdicts given before a use of a policy stand by it. They say what it says, each of them."""
    ruling = insert(PolicyRuling).values(tenant_id=tenant_id, use_id=use_id, policy_id=policy_id)
    newer = {"use_id": use_id, "policy_id": policy_id}
    session.execute(ruling.on_conflict_do_update(index_elements=["tenant_id"], set_=newer))
