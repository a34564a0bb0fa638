"""The policies that models bring, as what judges a tenant's history: each what its model has scored."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from engine.policy import Policy
from fakesieve.records.models import Model
from fakesieve.records.policies import OfModels, find_model_policies
from fakesieve.records.standings import Standing
from fakesieve.records.statement_bounds import give_memory


@dataclass(frozen=True)
class OwnPolicies:
    """``policy`` judges the most analyses of a tenant, and ``others`` those of other models.

    ``kept`` are models that have scored for the tenant and of which nobody has said by what they judge: their
    analyses stay as they stand. ``policy`` is None where it is known of no model.
    """

    policy: Policy | None
    others: tuple[OfModels, ...] = ()
    kept: tuple[str, ...] = ()


def load_own_policies(session: Session, tenant_id: str) -> OwnPolicies:
    """Return by what a tenant's analyses are judged where each model's own policy judges.

    The statements of the transaction have memory for a tenant's whole history from here on, if more than one
    policy judges, or that of a model is not known.
    """
    brought = find_model_policies(session)
    known = {model_id for models in brought.values() for model_id in models}
    unknown = [each for each in session.scalars(select(Model.id).order_by(Model.id)) if each not in known]
    counts = _count_by_model(session, tenant_id) if unknown or len(brought) > 1 else {}
    kept = tuple(model_id for model_id in unknown if model_id in counts)
    if not brought:
        return OwnPolicies(None, kept=kept)
    # The rows of all but the first are written one by one.
    first = max(brought, key=lambda policy: sum(counts.get(model_id, 0) for model_id in brought[policy]))
    others = (OfModels(policy, models) for policy, models in brought.items() if policy != first)
    return OwnPolicies(first, tuple(others), kept)


def _count_by_model(session: Session, tenant_id: str) -> dict[str, int]:
    give_memory(session)
    counted = select(Standing.model_id, func.count()).where(Standing.tenant_id == tenant_id)
    return {row[0]: row[1] for row in session.execute(counted.group_by(Standing.model_id))}
