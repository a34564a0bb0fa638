"""The policies that models bring, as what judges a tenant's history: each what its model has scored."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from engine.policy import Policy
from fakesieve.filters.check import EVERYTHING
from fakesieve.records.analysis_lists import select_standing
from fakesieve.records.filter_sql import compile_filter
from fakesieve.records.models import Model, ModelPolicy
from fakesieve.records.policies import OfModels, find_model_policies
from fakesieve.records.rulings import name_policy_in_force
from fakesieve.records.standings import Standing
from fakesieve.records.statement_bounds import HISTORY_MS_MAX, bounded, give_memory


@dataclass(frozen=True)
class OwnPolicies:
    """``policy`` judges the most analyses of a tenant, and ``others`` those of other models.

    ``kept`` are all models of which nobody has said by what they judge, also those that have scored nothing
    for the tenant: their analyses stay as they stand. ``policy`` is None where it is known of no model.
    """

    policy: Policy | None
    others: tuple[OfModels, ...] = ()
    kept: tuple[str, ...] = ()


def load_own_policies(
    session: Session, tenant_id: str, weights: Mapping[str, int] | None = None
) -> OwnPolicies:
    """Return by what a tenant's analyses are judged where each model's own policy judges.

    ``weights`` are what ``weigh_models`` has said a moment ago, for who has no time to count now; else it is
    asked.
    """
    brought = find_model_policies(session)
    counts = weigh_models(session, tenant_id) if weights is None else weights
    known = {model_id for models in brought.values() for model_id in models}
    every = session.scalars(select(Model.id).order_by(Model.id))
    kept = tuple(model_id for model_id in every if model_id not in known)
    if not brought:
        return OwnPolicies(None, kept=kept)
    # The rows of all but the first are written one by one.
    first = max(brought, key=lambda policy: sum(counts.get(model_id, 0) for model_id in brought[policy]))
    others = (OfModels(policy, models) for policy, models in brought.items() if policy != first)
    return OwnPolicies(first, tuple(others), kept)


@dataclass(frozen=True)
class Strays:
    """Verdicts of a tenant that do not stand by the policy of their model, without those of deleted videos.

    ``count`` of them stand by another one. Of those in ``unknown``, by model, it is not known.
    """

    count: int
    unknown: Mapping[str, int]


def count_strays(session: Session, tenant_id: str) -> Strays:
    """Count the verdicts that applying each model's own policy is about, in one walk over all of history.

    Raises FilterInvalid where that takes longer than a preview may.
    """
    brought = {row[0]: row[1] for row in session.execute(select(ModelPolicy.model_id, ModelPolicy.policy_id))}
    in_force = name_policy_in_force(tenant_id, Standing.use_id, Standing.policy_id).label("in_force")
    found = compile_filter(EVERYTHING, tenant_id)
    every = select_standing(found, tenant_id, Standing.model_id.expression, in_force).subquery()
    keys = every.c.model_id, every.c.in_force
    with bounded(session, HISTORY_MS_MAX):
        rows = session.execute(select(*keys, func.count()).group_by(*keys)).all()
    count, unknown = 0, dict[str, int]()
    for model_id, policy_id, verdicts in rows:
        if model_id not in brought:
            unknown[model_id] = unknown.get(model_id, 0) + verdicts
        elif policy_id != brought[model_id]:
            count += verdicts
    return Strays(count, unknown)


def weigh_models(session: Session, tenant_id: str) -> Mapping[str, int]:
    """Return how many analyses of a tenant each model has made; nothing where one policy at most judges.

    Else the statements of the transaction have memory for a tenant's whole history from here on.
    """
    if len(find_model_policies(session)) < 2:
        return {}
    give_memory(session)
    counted = select(Standing.model_id, func.count()).where(Standing.tenant_id == tenant_id)
    return {row[0]: row[1] for row in session.execute(counted.group_by(Standing.model_id))}
