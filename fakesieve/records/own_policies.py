"""The policies that models bring, which judge where a tenant has chosen none, as verdicts tell them.

No table has them: a worker host knows the policy of its model, or has another by its settings, and verdicts
name the one by which they were given.
"""

from dataclasses import dataclass

from sqlalchemy import Select, func, or_, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from engine.policy import Policy
from fakesieve.records.analysis_tables import Verdict
from fakesieve.records.models import Model
from fakesieve.records.policies import PolicyUse, PolicyVersion, TenantPolicy
from fakesieve.records.rulings import POLICY_IN_FORCE
from fakesieve.records.standings import Standing

_Scored = Select[str, str, PolicyVersion]
NEWEST = 1000
"""So many of the newest analyses are looked at: a model that has scored none of them judges no more."""


@dataclass(frozen=True)
class OwnPolicy:
    """The policy that a model brings. Weights of one name may bring others each, so it has the model's id."""

    model_id: str
    model: str
    policy: Policy


def list_own_policies(session: Session, tenant_id: str, active: Policy | None) -> list[OwnPolicy]:
    """Return what the models that score for a tenant now bring, by name.

    ``active`` is the policy that the tenant has chosen. Where there is none, it is the policy of each model's
    newest verdict. Where there is one, models' own policies are no longer told by what comes, and those are
    listed that earlier verdicts were given by and that are named after their model.
    """
    newest = (
        select(Standing.analysis_id)
        .where(Standing.tenant_id == tenant_id)
        .order_by(Standing.create_time.desc(), Standing.analysis_id.desc())
        .limit(NEWEST)
        .cte("newest")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    scored = (
        select(Model.id, Model.name, PolicyVersion)
        .select_from(newest)
        .join(Standing, Standing.analysis_id == newest.c.analysis_id)
        .join(Model, Model.id == Standing.model_id)
    )
    named = _name_in_force(scored, tenant_id) if active is None else _name_earlier(scored)
    kept = select(TenantPolicy.policy_id).where(TenantPolicy.tenant_id == tenant_id)
    wanted = (
        named.where(Standing.tenant_id == tenant_id, PolicyVersion.id.not_in(kept))
        .ext(distinct_on(Model.name, Model.id))
        .order_by(Model.name, Model.id, Standing.create_time.desc(), Standing.analysis_id.desc())
    )
    rows = session.execute(wanted).all()
    return [OwnPolicy(model_id, name, version.to_policy()) for model_id, name, version in rows]


def _name_in_force(scored: _Scored, tenant_id: str) -> _Scored:
    """The policies by which verdicts stand that were given since the tenant has had no choice of its own."""
    chosen = select(func.coalesce(func.max(PolicyUse.id), 0)).where(
        PolicyUse.tenant_id == tenant_id, PolicyUse.policy_id.is_not(None)
    )
    last = chosen.scalar_subquery()
    named = scored.join(PolicyVersion, PolicyVersion.id == POLICY_IN_FORCE)
    return named.where(or_(last == 0, Standing.use_id > last))


def _name_earlier(scored: _Scored) -> _Scored:
    """The policies by which verdicts were ever given: what one has said is kept when another judges."""
    return (
        scored.join(Verdict, Verdict.analysis_id == Standing.analysis_id)
        .join(PolicyVersion, PolicyVersion.id == Verdict.policy_id)
        .where(PolicyVersion.name == Model.name)
    )
